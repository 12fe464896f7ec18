-- finding: login_may_truncate
-- tenancy: row schema database
CREATE TABLE notes (id int PRIMARY KEY);
--> superuser
GRANT TRUNCATE ON notes TO {stranger};
GRANT {stranger} TO {login};
