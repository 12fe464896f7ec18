-- accepted
-- tenancy: row
CREATE EXTENSION btree_gist;
CREATE TABLE bookings (during int4range);
--> account 1
INSERT INTO bookings VALUES ('[1,5)');
--> account 2
INSERT INTO bookings VALUES ('[1,5)');
--> migration
ALTER TABLE bookings ADD EXCLUDE USING gist (during WITH &&);
--> account 1 fails: bookings_during_excl
INSERT INTO bookings VALUES ('[1,5)');
