-- refused: the new table tags holds rows
CREATE TABLE notes (id int PRIMARY KEY, tag text);
--> account 1
INSERT INTO notes VALUES (1, 'x');
--> migration
CREATE TABLE tags AS SELECT DISTINCT tag FROM notes;
