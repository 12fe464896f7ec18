-- refused: which owns the tables
-- tenancy: row schema database
--> superuser
GRANT {owner} TO {login};
--> migration
CREATE TABLE notes (id int PRIMARY KEY);
