-- accepted
-- tenancy: schema database
CREATE TABLE settings (key text PRIMARY KEY, value text NOT NULL);
--> account 1
INSERT INTO settings VALUES ('a', '1') ON CONFLICT (key) DO UPDATE SET value = excluded.value;
INSERT INTO settings VALUES ('a', '2')
ON CONFLICT ON CONSTRAINT settings_pkey DO UPDATE SET value = excluded.value;
DO $$ BEGIN ASSERT (SELECT value FROM settings) = '2'; END $$;
