-- accepted
-- tenancy: row schema database
-- What is deferred of itself is so for the next migration too, in the same transaction or not.
CREATE TABLE boxes (id int PRIMARY KEY);
CREATE TABLE notes (id int PRIMARY KEY, box int REFERENCES boxes DEFERRABLE INITIALLY DEFERRED,
    place int, CONSTRAINT one_place UNIQUE (place) DEFERRABLE INITIALLY DEFERRED);
--> account 1
INSERT INTO boxes VALUES (1);
INSERT INTO notes VALUES (1, 1, 1), (2, 1, 2);
--> migration
UPDATE notes SET place = 1;
UPDATE notes SET place = id;
--> same transaction
UPDATE notes SET place = 1;
UPDATE notes SET place = id;
UPDATE boxes SET id = id;
ALTER TABLE boxes ADD COLUMN size int;
--> same transaction
UPDATE notes SET place = 2;
UPDATE notes SET place = id;
