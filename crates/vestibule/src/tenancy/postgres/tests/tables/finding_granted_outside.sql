-- finding: granted_outside
CREATE TABLE notes (id int PRIMARY KEY);
--> migration
CREATE TABLE public.all_notes AS SELECT * FROM notes;
GRANT SELECT ON public.all_notes TO {login};
