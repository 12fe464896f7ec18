-- finding: policy_open
-- tenancy: row schema
CREATE TABLE notes (id int PRIMARY KEY);
--> owner
CREATE POLICY everyone ON notes FOR SELECT USING (true);
