-- refused: the table notes has a column account_id of its own
CREATE TABLE notes (id int PRIMARY KEY);
--> migration
DROP TABLE notes;
CREATE TABLE notes (id int PRIMARY KEY, account_id text);
