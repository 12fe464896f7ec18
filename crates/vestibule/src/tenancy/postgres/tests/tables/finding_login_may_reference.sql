-- finding: login_may_trigger_or_reference
-- tenancy: row schema database
CREATE TABLE notes (id int PRIMARY KEY);
--> owner
GRANT REFERENCES (id) ON notes TO {login};
