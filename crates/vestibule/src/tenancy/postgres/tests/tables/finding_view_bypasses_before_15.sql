-- finding: view_bypasses
-- tenancy: row schema
-- postgres: before 15
CREATE TABLE notes (id int PRIMARY KEY);
--> owner
CREATE TABLE IF NOT EXISTS public.shared (id int);
CREATE VIEW everything AS SELECT * FROM public.shared;
