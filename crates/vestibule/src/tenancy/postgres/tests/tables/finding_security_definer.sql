-- finding: security_definer
-- tenancy: row schema
CREATE FUNCTION peek() RETURNS int LANGUAGE sql AS 'SELECT 1';
--> owner
ALTER FUNCTION peek() SECURITY DEFINER;
