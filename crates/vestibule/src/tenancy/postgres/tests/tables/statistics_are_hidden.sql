-- accepted
-- tenancy: row schema
CREATE TABLE notes (label text);
--> account 1
INSERT INTO notes SELECT 'secret' FROM generate_series(1, 100);
--> superuser
ANALYZE notes;
--> account 2
DO $$ BEGIN ASSERT (SELECT count(*) FROM pg_stats WHERE tablename = 'notes') = 0; END $$;
