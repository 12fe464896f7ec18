-- finding: account_column_missing, key_without_account, policy_missing, rls_missing, rls_not_forced
CREATE TABLE notes (id int PRIMARY KEY);
--> owner
DROP TABLE notes;
CREATE TABLE notes (id int PRIMARY KEY);
