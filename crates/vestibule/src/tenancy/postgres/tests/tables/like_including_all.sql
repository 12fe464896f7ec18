-- accepted
-- tenancy: row schema
CREATE TABLE notes (id int PRIMARY KEY, label text UNIQUE);
--> migration
CREATE TABLE copy (LIKE notes INCLUDING ALL);
--> account 1
INSERT INTO copy VALUES (1, 'one');
--> account 2
INSERT INTO copy VALUES (1, 'one');
DO $$ BEGIN ASSERT (SELECT count(*) FROM copy) = 1; END $$;
