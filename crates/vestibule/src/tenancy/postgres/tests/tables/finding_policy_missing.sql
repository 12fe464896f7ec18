-- finding: policy_missing
-- tenancy: row schema
CREATE TABLE notes (id int PRIMARY KEY);
--> owner
DROP POLICY vestibule_account ON notes;
