-- accepted
-- tenancy: row schema
CREATE TABLE notes (id bigint PRIMARY KEY);
--> owner
UPDATE vestibule.activity_limits SET keep = 1;
--> owner for account 2
INSERT INTO vestibule_activity (id, at, kind)
VALUES ('019a0000-0000-7000-8000-000000000001', 1, 'refusal'),
    ('019a0000-0000-7000-8000-000000000002', 2, 'refusal');
--> owner for account 1
INSERT INTO vestibule_activity (id, at, kind)
VALUES ('019a0000-0000-7000-8000-000000000003', 1, 'refusal');
--> account 1
DO $$ BEGIN ASSERT vestibule.remove_old_activity(0, NULL) = 0; END $$;
--> no account
DO $$ BEGIN ASSERT vestibule.remove_old_activity(0, NULL) = 0; END $$;
--> account 2
DO $$ BEGIN ASSERT (SELECT count(*) FROM vestibule_activity) = 2; END $$;
DO $$ BEGIN ASSERT vestibule.remove_old_activity(0, NULL) = 1; END $$;
