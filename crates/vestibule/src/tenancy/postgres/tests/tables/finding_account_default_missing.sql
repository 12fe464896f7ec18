-- finding: account_default_wrong
CREATE TABLE notes (id int PRIMARY KEY);
--> owner
ALTER TABLE notes ALTER account_id DROP DEFAULT;
