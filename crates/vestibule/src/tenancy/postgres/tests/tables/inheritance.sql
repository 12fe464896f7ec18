-- accepted
-- tenancy: row schema
CREATE TABLE places (id int PRIMARY KEY, name text);
CREATE TABLE cities (size int, UNIQUE (name)) INHERITS (places);
--> account 1
INSERT INTO cities VALUES (1, 'a', 3);
--> account 2
INSERT INTO cities VALUES (1, 'a', 3);
DO $$ BEGIN ASSERT (SELECT count(*) FROM places) = 1; END $$;
--> migration
CREATE TABLE towns () INHERITS (places);
--> account 1
INSERT INTO towns VALUES (5, 'b');
DO $$ BEGIN ASSERT (SELECT count(*) FROM places) = 2; END $$;
