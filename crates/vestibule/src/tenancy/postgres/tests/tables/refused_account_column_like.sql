-- refused: the table copy has a column account_id of its own
CREATE TABLE notes (id int PRIMARY KEY);
--> migration
CREATE TABLE copy (LIKE notes);
