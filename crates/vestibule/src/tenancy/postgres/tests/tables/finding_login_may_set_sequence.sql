-- finding: login_may_set_sequence
-- tenancy: row schema database
CREATE TABLE notes (id serial PRIMARY KEY);
--> owner
GRANT UPDATE ON SEQUENCE notes_id_seq TO {login};
