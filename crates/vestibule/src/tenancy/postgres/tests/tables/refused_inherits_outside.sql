-- refused: only one of them is in the account's space
-- tenancy: row schema
CREATE TABLE IF NOT EXISTS public.everything (id int);
CREATE TABLE notes () INHERITS (public.everything);
