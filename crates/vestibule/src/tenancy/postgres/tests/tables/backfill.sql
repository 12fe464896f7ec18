-- accepted
-- tenancy: row schema database
-- A migration sees and changes the rows of all accounts.
CREATE TABLE notes (id int PRIMARY KEY, label text NOT NULL);
--> account 1
INSERT INTO notes VALUES (1, 'one');
--> account 2
INSERT INTO notes VALUES (2, 'two');
--> migration
ALTER TABLE notes ADD COLUMN length int;
UPDATE notes SET length = length(label);
ALTER TABLE notes ALTER length SET NOT NULL;
--> account 1
DO $$ BEGIN ASSERT (SELECT length FROM notes WHERE id = 1) = 3; END $$;
--> account 2
DO $$ BEGIN ASSERT (SELECT length FROM notes WHERE id = 2) = 3; END $$;
