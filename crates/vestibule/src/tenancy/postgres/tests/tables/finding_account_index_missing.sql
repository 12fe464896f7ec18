-- finding: account_index_missing
CREATE TABLE notes (id int);
--> owner
DROP INDEX notes_account_id_idx;
CREATE INDEX ON notes (account_id) WHERE id > 0;
