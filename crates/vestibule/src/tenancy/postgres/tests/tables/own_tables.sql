-- accepted
-- tenancy: row schema
--> owner for account 1
INSERT INTO vestibule_activity (id, at, kind, token_hash)
VALUES ('00000000-0000-4000-8000-000000000001', 0, 'seen', 'a');
--> owner for account 2
INSERT INTO vestibule_activity (id, at, kind, token_hash)
VALUES ('00000000-0000-4000-8000-000000000001', 0, 'seen', 'a');
--> account 2
DO $$ BEGIN ASSERT (SELECT count(*) FROM vestibule_activity) = 1; END $$;
DO $$ BEGIN ASSERT (SELECT count(*) FROM {space}.vestibule_account WHERE account_id = '{account}')
    = 0; END $$;
