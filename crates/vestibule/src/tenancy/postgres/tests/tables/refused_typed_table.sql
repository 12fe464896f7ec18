-- refused: the table notes is of a type
CREATE TYPE note AS (id int, label text);
CREATE TABLE notes OF note;
