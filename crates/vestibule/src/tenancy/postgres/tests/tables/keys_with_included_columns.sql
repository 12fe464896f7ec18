-- accepted
CREATE TABLE notes (id int, label text, PRIMARY KEY (id) INCLUDE (label));
--> account 1
INSERT INTO notes VALUES (1, 'one');
--> migration
CREATE TABLE comments (note int REFERENCES notes, code int, other int REFERENCES notes (id));
CREATE UNIQUE INDEX by_code ON comments (code) INCLUDE (note);
--> migration
DO $$ BEGIN CREATE UNIQUE INDEX by_note ON comments (note) INCLUDE (account_id); END $$;
--> account 1
INSERT INTO comments VALUES (1, 1, 1);
--> account 2
INSERT INTO notes VALUES (1, 'one');
INSERT INTO comments VALUES (1, 1, 1);
--> account 2 fails: by_note
INSERT INTO comments VALUES (1, 2, 1);
--> account 2 fails: by_code
INSERT INTO comments VALUES (NULL, 1, NULL);
