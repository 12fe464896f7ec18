-- accepted
CREATE TABLE settings (key text PRIMARY KEY, value text NOT NULL);
--> account 1
INSERT INTO settings VALUES ('a', '1');
--> account 2
INSERT INTO settings VALUES ('a', '2')
ON CONFLICT (account_id, key) DO UPDATE SET value = excluded.value;
INSERT INTO settings VALUES ('a', '3')
ON CONFLICT (account_id, key) DO UPDATE SET value = excluded.value;
INSERT INTO settings VALUES ('a', '4') ON CONFLICT DO NOTHING;
INSERT INTO settings VALUES ('a', '5')
ON CONFLICT ON CONSTRAINT settings_pkey DO UPDATE SET value = excluded.value;
DO $$ BEGIN ASSERT (SELECT value FROM settings) = '5'; END $$;
--> account 2 fails: row-level security
INSERT INTO settings VALUES ('a', '2')
ON CONFLICT (account_id, key) DO UPDATE SET account_id = '{account}';
--> account 1
DO $$ BEGIN ASSERT (SELECT value FROM settings) = '1'; END $$;
