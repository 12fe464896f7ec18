-- accepted
-- tenancy: schema database
CREATE TABLE colours (name text PRIMARY KEY);
INSERT INTO colours VALUES ('red');
--> account 1
DO $$ BEGIN ASSERT (SELECT count(*) FROM colours) = 1; END $$;
INSERT INTO colours VALUES ('blue');
