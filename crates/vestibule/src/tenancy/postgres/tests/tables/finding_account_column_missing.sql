-- finding: account_column_missing, key_without_account, policy_missing
CREATE TABLE notes (id int PRIMARY KEY);
--> owner
ALTER TABLE notes DROP COLUMN account_id CASCADE;
ALTER TABLE notes ADD PRIMARY KEY (id);
