-- accepted
-- tenancy: row
CREATE EXTENSION btree_gist;
CREATE TABLE bookings (room int, during int4range,
    CONSTRAINT free EXCLUDE USING gist (room WITH =, during WITH &&) WHERE (room > 0));
--> account 1
INSERT INTO bookings VALUES (1, '[1,5)');
--> account 1 fails: free
INSERT INTO bookings VALUES (1, '[4,6)');
--> account 2
INSERT INTO bookings VALUES (1, '[4,6)');
