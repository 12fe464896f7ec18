-- finding: security_definer_outside
-- tenancy: row schema
CREATE OR REPLACE FUNCTION public.peek() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT 1';
