-- refused: name all its columns in GROUP BY
CREATE TABLE notes (id int PRIMARY KEY, label text);
CREATE VIEW counts AS SELECT id, label, count(*) FROM notes GROUP BY id;
