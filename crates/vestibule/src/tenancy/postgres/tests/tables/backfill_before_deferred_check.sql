-- accepted
-- tenancy: row schema database
-- A deferred key of rows that the migration itself changed is checked before tables are altered.
CREATE TABLE boxes (id int PRIMARY KEY);
CREATE TABLE notes (id int PRIMARY KEY, box int REFERENCES boxes DEFERRABLE INITIALLY DEFERRED);
--> account 1
INSERT INTO notes VALUES (1, 7);
INSERT INTO boxes VALUES (7);
--> migration
UPDATE notes SET box = 7;
ALTER TABLE boxes ADD COLUMN size int;
--> account 1
INSERT INTO notes VALUES (2, 8);
INSERT INTO boxes VALUES (8);
--> account 1 fails: foreign key
INSERT INTO notes VALUES (3, 9);
