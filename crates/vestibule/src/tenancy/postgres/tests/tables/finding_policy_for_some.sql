-- finding: policy_missing
CREATE TABLE notes (id int PRIMARY KEY);
--> owner
ALTER POLICY vestibule_account ON notes TO {login};
