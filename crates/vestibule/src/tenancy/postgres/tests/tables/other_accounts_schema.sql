-- accepted
-- tenancy: schema
CREATE TABLE notes (id int PRIMARY KEY, label text);
CREATE VIEW labels AS SELECT label FROM notes;
--> account 1
INSERT INTO notes VALUES (1, 'mine');
--> account 2
DO $$ BEGIN ASSERT (SELECT count(*) FROM {space}.notes) = 0; END $$;
DO $$ BEGIN ASSERT (SELECT count(*) FROM {space}.labels) = 0; END $$;
DO $$ BEGIN ASSERT (SELECT count(*) FROM {space}.vestibule_account) = 0; END $$;
UPDATE {space}.notes SET label = 'theirs';
DELETE FROM {space}.notes;
--> account 2 fails: row-level security
INSERT INTO {space}.notes VALUES (2, 'planted');
--> account 2 fails: permission denied
TRUNCATE {space}.notes;
--> account 1
DO $$ BEGIN ASSERT (SELECT label FROM notes) = 'mine'; END $$;
DO $$ BEGIN ASSERT (SELECT label FROM labels) = 'mine'; END $$;
--> no account
DO $$ BEGIN ASSERT (SELECT count(*) FROM {space}.notes) = 0; END $$;
