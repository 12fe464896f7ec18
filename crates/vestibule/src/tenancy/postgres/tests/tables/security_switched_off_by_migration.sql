-- accepted
-- tenancy: row schema
CREATE TABLE notes (id int PRIMARY KEY);
--> migration
ALTER TABLE notes DISABLE ROW LEVEL SECURITY, NO FORCE ROW LEVEL SECURITY;
ALTER POLICY vestibule_account ON notes USING (true) WITH CHECK (true);
ALTER TABLE vestibule_activity DISABLE ROW LEVEL SECURITY;
GRANT ALL ON notes TO PUBLIC;
--> account 1
INSERT INTO notes VALUES (1);
--> account 2
DO $$ BEGIN ASSERT (SELECT count(*) FROM {space}.notes) = 0; END $$;
