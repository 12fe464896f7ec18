-- finding: materialized_view
-- tenancy: row schema
CREATE TABLE notes (id int PRIMARY KEY);
--> owner
CREATE MATERIALIZED VIEW ids AS SELECT id FROM notes;
