-- finding: view_bypasses
-- tenancy: row schema
-- postgres: 15
CREATE TABLE notes (id int PRIMARY KEY);
CREATE VIEW ids AS SELECT id FROM notes;
--> owner
ALTER VIEW ids RESET (security_invoker);
