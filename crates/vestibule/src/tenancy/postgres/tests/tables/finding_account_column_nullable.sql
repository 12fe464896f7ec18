-- finding: account_column_nullable
CREATE TABLE notes (id int);
--> owner
ALTER TABLE notes ALTER account_id DROP NOT NULL;
