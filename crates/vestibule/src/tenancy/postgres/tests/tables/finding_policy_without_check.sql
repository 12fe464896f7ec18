-- finding: policy_without_check
CREATE TABLE notes (id int PRIMARY KEY);
--> owner
DROP POLICY vestibule_account ON notes;
CREATE POLICY vestibule_account ON notes
    USING (account_id = (SELECT vestibule.bound_account()));
