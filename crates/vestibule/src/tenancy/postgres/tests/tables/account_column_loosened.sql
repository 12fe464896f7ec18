-- accepted
CREATE TABLE notes (id int UNIQUE);
--> migration
ALTER TABLE notes ALTER account_id DROP NOT NULL, ALTER account_id DROP DEFAULT;
