-- refused: only one of them is in the account's space
CREATE TABLE notes (id int);
CREATE TABLE public.copy () INHERITS (notes);
