-- accepted
-- tenancy: row schema database
CREATE SEQUENCE numbers;
CREATE TABLE bills (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), number bigint NOT NULL
    DEFAULT nextval('numbers') UNIQUE, gross int, net int GENERATED ALWAYS AS (gross - 1) STORED);
--> account 1
INSERT INTO bills (gross) VALUES (10);
DO $$ BEGIN ASSERT (SELECT net FROM bills) = 9; END $$;
SELECT nextval('numbers');
