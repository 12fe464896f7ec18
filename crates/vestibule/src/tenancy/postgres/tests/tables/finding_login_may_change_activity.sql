-- finding: login_may_change_activity
-- tenancy: row schema database
--> owner
GRANT DELETE, INSERT, UPDATE ON vestibule_activity TO {login};
GRANT UPDATE (reason) ON vestibule_activity TO {login};
