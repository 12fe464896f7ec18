-- accepted
-- tenancy: row schema
CREATE TABLE notes (id int PRIMARY KEY, label text);
CREATE VIEW labels AS SELECT id, label FROM notes;
--> account 1
INSERT INTO labels VALUES (1, 'one');
--> account 2
DO $$ BEGIN ASSERT (SELECT count(*) FROM {space}.labels) = 0; END $$;
DELETE FROM {space}.labels;
INSERT INTO labels VALUES (1, 'one');
--> account 1
DO $$ BEGIN ASSERT (SELECT count(*) FROM labels) = 1; END $$;
