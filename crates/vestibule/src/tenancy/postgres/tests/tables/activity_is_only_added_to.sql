-- accepted
-- tenancy: row schema database
CREATE TABLE notes (id bigint PRIMARY KEY);
--> owner for account 1
INSERT INTO vestibule_activity (id, at, kind, token_hash)
VALUES ('019a0000-0000-7000-8000-000000000001', 1, 'refusal', 'a'),
    ('019a0000-0000-7000-8000-000000000002', 2, 'refusal', NULL),
    ('019a0000-0000-7000-8000-000000000003', 3, 'refusal', NULL);
--> account 1 fails: permission denied
UPDATE vestibule_activity SET at = 0;
--> account 1 fails: permission denied
UPDATE vestibule_activity SET reason = 'x' WHERE false;
--> account 1 fails: permission denied
DELETE FROM vestibule_activity;
--> account 1 fails: permission denied
TRUNCATE vestibule_activity;
--> account 1 fails: permission denied
INSERT INTO vestibule_activity (id, at, kind, token_hash)
VALUES ('019a0000-0000-7000-8000-000000000001', 0, 'sign_in', 'a')
ON CONFLICT ON CONSTRAINT vestibule_activity_pkey DO UPDATE SET kind = excluded.kind;
--> account 1 fails: permission denied
SELECT * FROM vestibule_activity FOR UPDATE;
--> account 1 fails: permission denied
LOCK TABLE vestibule_activity IN EXCLUSIVE MODE;
--> account 1 fails: must be owner
ALTER TABLE vestibule_activity DISABLE ROW LEVEL SECURITY;
--> account 1 fails: must be owner
DROP TABLE vestibule_activity;
--> account 1 fails: permission denied
INSERT INTO vestibule_activity (id, at, kind)
VALUES ('019a0000-0000-7000-8000-000000000004', 0, 'sign_in');
--> account 1 fails: no proof for note_activity
SELECT vestibule.note_activity('019a0000-0000-7000-8000-000000000004', 0, 'sign_in', NULL, NULL,
    NULL, NULL, NULL, (extract(epoch FROM now()) / 60)::bigint, '');
--> account 1 fails: no proof for note_activity
SELECT vestibule.note_activity('019a0000-0000-7000-8000-000000000004', 0, 'sign_in', NULL, NULL,
    NULL, NULL, NULL, NULL, NULL);
--> account 1 fails: permission denied
SELECT vestibule.require_proof('note_activity', '{}', 0, '');
--> account 1 fails: permission denied
SELECT * FROM vestibule.binding_keys;
--> account 1 fails: permission denied
UPDATE vestibule.activity_limits SET keep = 0;
--> account 1 fails: permission denied
SELECT * FROM vestibule.activity_limits;
--> account 1 fails: must be owner
ALTER FUNCTION vestibule.remove_old_activity(bigint, uuid) RESET search_path;
--> account 1
-- What the owner keeps stays, whatever is asked for.
SELECT vestibule.remove_old_activity(0, 'ffffffff-ffff-ffff-ffff-ffffffffffff');
SELECT vestibule.remove_old_activity(-1, NULL);
SELECT vestibule.remove_old_activity(NULL, 'ffffffff-ffff-ffff-ffff-ffffffffffff');
DO $$ BEGIN ASSERT (SELECT count(*) FROM vestibule_activity) = 3; END $$;
--> no account
SELECT vestibule.remove_old_activity(0, 'ffffffff-ffff-ffff-ffff-ffffffffffff');
--> migration
CREATE TABLE tags (id bigint PRIMARY KEY);
--> account 1 fails: permission denied
DELETE FROM vestibule_activity;
--> account 1 fails: permission denied
UPDATE vestibule_activity SET at = 0;
--> account 1
DO $$ BEGIN ASSERT (SELECT count(*) FROM vestibule_activity) = 3; END $$;
