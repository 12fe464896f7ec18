-- finding: rls_not_forced
-- tenancy: row schema
CREATE TABLE notes (id int PRIMARY KEY);
--> owner
ALTER TABLE notes NO FORCE ROW LEVEL SECURITY;
