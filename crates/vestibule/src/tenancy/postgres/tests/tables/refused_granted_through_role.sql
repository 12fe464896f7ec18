-- refused: because of what was granted to {stranger}
-- tenancy: row schema database
--> superuser
GRANT {stranger} TO {login};
--> migration
CREATE TABLE notes (id int PRIMARY KEY);
GRANT TRUNCATE ON notes TO {stranger};
