-- refused: references public.shared, which is not in the account's space
-- tenancy: row schema
CREATE TABLE IF NOT EXISTS public.shared (id int PRIMARY KEY);
CREATE TABLE notes (id int REFERENCES public.shared);
