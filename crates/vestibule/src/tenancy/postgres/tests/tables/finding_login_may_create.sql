-- finding: login_may_create
-- tenancy: row schema database
CREATE TABLE notes (id int PRIMARY KEY);
--> owner
GRANT CREATE ON SCHEMA {space} TO {login};
