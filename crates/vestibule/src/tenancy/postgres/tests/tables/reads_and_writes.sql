-- accepted
CREATE TABLE notes (id int PRIMARY KEY, label text);
--> account 1
INSERT INTO notes VALUES (1, 'mine');
--> account 2
DO $$ BEGIN ASSERT (SELECT count(*) FROM notes) = 0; END $$;
UPDATE notes SET label = 'theirs';
DELETE FROM notes;
INSERT INTO notes VALUES (1, 'yours');
--> account 2 fails: row-level security
INSERT INTO notes (id, label, account_id) VALUES (9, 'planted', '{account}');
--> account 2 fails: row-level security
UPDATE notes SET account_id = '{account}';
--> no account fails: row-level security
INSERT INTO notes VALUES (3, 'nobody');
--> no account fails: row-level security
INSERT INTO notes (id, label, account_id) VALUES (3, 'nobody', '{account}');
--> account 1
DO $$ BEGIN ASSERT (SELECT label FROM notes) = 'mine'; END $$;
--> no account
DO $$ BEGIN ASSERT (SELECT count(*) FROM notes) = 0; END $$;
--> owner
DO $$ BEGIN ASSERT (SELECT count(*) FROM notes) = 0; END $$;
