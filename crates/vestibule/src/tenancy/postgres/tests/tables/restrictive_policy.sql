-- accepted
-- tenancy: row schema
CREATE TABLE notes (id int);
CREATE POLICY shown ON notes AS RESTRICTIVE USING (id < 5);
--> account 1
INSERT INTO notes VALUES (1), (2);
--> account 1 fails: row-level security
INSERT INTO notes VALUES (7);
