-- finding: key_without_account
CREATE TABLE notes (id int PRIMARY KEY, label text);
--> owner
CREATE UNIQUE INDEX ON notes (lower(label)) INCLUDE (account_id);
