-- finding: policy_open
CREATE TABLE notes (id int PRIMARY KEY);
--> owner
ALTER POLICY vestibule_account ON notes
    USING (account_id = (SELECT vestibule.bound_account())
        OR (SELECT vestibule.bound_account()) IS NULL);
