-- accepted
-- tenancy: row schema database
CREATE TABLE notes (id bigint PRIMARY KEY);
--> owner
UPDATE vestibule.activity_limits SET keep = 2;
--> owner for account 1
INSERT INTO vestibule_activity (id, at, kind)
VALUES ('019a0000-0000-7000-8000-000000000021', 1, 'refusal'),
    ('019a0000-0000-7000-8000-000000000022', 2, 'refusal'),
    ('019a0000-0000-7000-8000-000000000023', 3, 'refusal');
--> account 1
-- As many as the server wants, where these are more.
DO $$ BEGIN ASSERT vestibule.remove_old_activity(5, NULL) = 0; END $$;
--> owner for account 1
-- Of a time to come: they push nothing out.
INSERT INTO vestibule_activity (id, at, kind)
VALUES ('fffffffe-0000-7000-8000-000000000021', 1, 'x'),
    ('fffffffe-0000-7000-8000-000000000022', 2, 'x'),
    ('fffffffe-0000-7000-8000-000000000023', 3, 'x');
--> account 1
SELECT vestibule.remove_old_activity(0, NULL);
DO $$ BEGIN
    ASSERT (SELECT array_agg(at ORDER BY at) FROM vestibule_activity WHERE kind = 'refusal')
        = '{2,3}';
    ASSERT (SELECT count(*) FROM vestibule_activity WHERE kind = 'x') = 3;
END $$;
--> no account
DO $$ BEGIN ASSERT vestibule.remove_old_activity(0, NULL) = 0; END $$;
--> owner
-- Of the last ten days everything stays. The oldest entries of the case are older than that.
UPDATE vestibule.activity_limits SET keep = 2, max_age = 864000000;
--> owner for account 1
INSERT INTO vestibule_activity (id, at, kind)
SELECT (lpad(to_hex(floor(extract(epoch FROM now()) * 1000 - 3600000)::bigint), 12, '0')
    || '7000800000000000aaaa')::uuid, 5, 'refusal';
--> account 1
DO $$ BEGIN
    -- The server, or whoever calls it, asks for more to go than the owner lets.
    PERFORM vestibule.remove_old_activity(0, 'ffffffff-ffff-ffff-ffff-ffffffffffff');
    ASSERT (SELECT array_agg(at) FROM vestibule_activity WHERE kind = 'refusal') = '{5}';
END $$;
