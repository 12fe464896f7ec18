-- finding: login_may_truncate
-- tenancy: row schema database
CREATE TABLE notes (id int PRIMARY KEY);
--> owner
GRANT TRUNCATE ON notes TO {login};
