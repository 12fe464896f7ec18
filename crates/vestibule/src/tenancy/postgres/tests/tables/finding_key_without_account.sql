-- finding: key_without_account
CREATE TABLE notes (id int PRIMARY KEY, label text);
--> owner
ALTER TABLE notes ADD UNIQUE (label);
