-- finding: policy_open
-- tenancy: row schema
CREATE TABLE notes (id int PRIMARY KEY);
--> owner
ALTER POLICY vestibule_account ON notes WITH CHECK (true);
