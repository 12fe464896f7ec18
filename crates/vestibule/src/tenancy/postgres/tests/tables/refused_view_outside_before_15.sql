-- refused: the view everything reads public.shared
-- tenancy: row schema
-- postgres: before 15
CREATE TABLE IF NOT EXISTS public.shared (id int);
CREATE VIEW everything AS SELECT * FROM public.shared;
