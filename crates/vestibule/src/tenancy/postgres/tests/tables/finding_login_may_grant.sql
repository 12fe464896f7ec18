-- finding: login_may_grant
-- tenancy: row schema database
CREATE TABLE notes (id int PRIMARY KEY);
--> owner
GRANT SELECT ON notes TO {login} WITH GRANT OPTION;
