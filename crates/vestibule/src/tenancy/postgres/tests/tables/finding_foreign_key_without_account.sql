-- finding: foreign_key_without_account, key_without_account
CREATE TABLE notes (id int PRIMARY KEY, parent int);
--> owner
ALTER TABLE notes ADD UNIQUE (id);
ALTER TABLE notes ADD FOREIGN KEY (parent) REFERENCES notes (id);
