-- accepted
-- tenancy: row schema
CREATE TABLE places (id int PRIMARY KEY, place int UNIQUE DEFERRABLE INITIALLY DEFERRED);
--> account 1
INSERT INTO places VALUES (1, 1), (2, 2);
UPDATE places SET place = 3 - place;
--> account 1 fails: places_place_key
INSERT INTO places VALUES (3, 1);
