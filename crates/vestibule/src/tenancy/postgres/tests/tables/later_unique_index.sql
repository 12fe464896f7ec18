-- accepted
-- tenancy: row schema
CREATE TABLE notes (id int, label text);
--> account 1
INSERT INTO notes VALUES (1, 'one');
--> migration
CREATE UNIQUE INDEX notes_by_label ON notes (label);
ALTER TABLE notes ADD PRIMARY KEY (id);
ALTER TABLE notes ADD COLUMN code int CONSTRAINT one_code UNIQUE;
--> account 1 fails: notes_by_label
INSERT INTO notes VALUES (2, 'one');
--> account 2
INSERT INTO notes (id, label, code) VALUES (1, 'one', 5);
--> account 2 fails: notes_pkey
INSERT INTO notes VALUES (1, 'two');
--> account 2 fails: one_code
INSERT INTO notes (id, label, code) VALUES (2, 'two', 5);
