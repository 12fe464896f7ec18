-- refused: the function peek is SECURITY DEFINER
-- tenancy: row schema
CREATE FUNCTION peek() RETURNS bigint SECURITY DEFINER LANGUAGE sql AS 'SELECT 1::bigint';
