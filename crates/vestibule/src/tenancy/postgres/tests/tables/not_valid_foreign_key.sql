-- accepted
-- tenancy: row schema
CREATE TABLE a (id int PRIMARY KEY);
CREATE TABLE b (id int PRIMARY KEY, a int);
--> account 1
INSERT INTO b VALUES (1, 99);
--> migration
ALTER TABLE b ADD CONSTRAINT b_a FOREIGN KEY (a) REFERENCES a (id) NOT VALID;
--> account 1 fails: b_a
INSERT INTO b VALUES (2, 98);
--> owner
DO $$ BEGIN ASSERT (SELECT NOT convalidated FROM pg_constraint WHERE conname = 'b_a'
    AND conrelid = 'b'::regclass); END $$;
