-- accepted
-- tenancy: row schema database
CREATE TABLE notes (id bigint PRIMARY KEY);
--> owner
GRANT ALL ON vestibule_activity TO {login};
GRANT UPDATE (reason) ON vestibule_activity TO {login};
--> migration
CREATE TABLE tags (id bigint PRIMARY KEY);
--> account 1 fails: permission denied
DELETE FROM vestibule_activity;
--> account 1 fails: permission denied
UPDATE vestibule_activity SET reason = 'x';
