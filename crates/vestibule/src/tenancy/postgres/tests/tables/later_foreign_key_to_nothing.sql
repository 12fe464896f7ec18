-- accepted
-- A foreign key whose rows are another account's is refused by the database.
CREATE TABLE notes (id int PRIMARY KEY);
CREATE TABLE comments (note int);
--> account 1
INSERT INTO notes VALUES (1);
INSERT INTO comments VALUES (1);
--> migration
ALTER TABLE comments ADD FOREIGN KEY (note) REFERENCES notes;
--> account 2 fails: comments_note_fkey
INSERT INTO comments VALUES (1);
