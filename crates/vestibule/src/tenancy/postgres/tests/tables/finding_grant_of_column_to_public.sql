-- finding: grant_to_public
-- tenancy: row schema database
CREATE TABLE notes (id int PRIMARY KEY);
--> owner
GRANT SELECT (id) ON notes TO PUBLIC;
