-- finding: rls_missing
-- tenancy: row schema
CREATE TABLE notes (id int PRIMARY KEY);
--> owner
ALTER TABLE notes DISABLE ROW LEVEL SECURITY;
