-- finding: login_may_change_ours
-- tenancy: row schema database
--> owner
GRANT INSERT ON vestibule_migrations TO {login};
