-- finding: policy_other_account
-- tenancy: schema
CREATE TABLE notes (id int PRIMARY KEY);
--> owner
ALTER POLICY vestibule_account ON {space}.notes
    USING ('{other_account}'::uuid = (SELECT vestibule.bound_account()))
    WITH CHECK ('{other_account}'::uuid = (SELECT vestibule.bound_account()));
