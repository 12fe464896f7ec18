-- finding: login_may_change_activity
-- tenancy: row schema database
--> owner
GRANT DELETE, UPDATE ON vestibule_activity TO {login};
GRANT UPDATE (reason) ON vestibule_activity TO {login};
