-- accepted
-- tenancy: row schema
-- postgres: 15
CREATE TABLE notes (id int, label text, UNIQUE NULLS NOT DISTINCT (label));
CREATE UNIQUE INDEX by_id ON notes (id) NULLS NOT DISTINCT WHERE label > '';
--> account 1
INSERT INTO notes VALUES (1, NULL), (NULL, 'a');
--> account 1 fails: notes_label_key
INSERT INTO notes VALUES (2, NULL);
--> account 1 fails: by_id
INSERT INTO notes VALUES (NULL, 'b');
--> account 2
INSERT INTO notes VALUES (1, NULL), (NULL, 'a');
