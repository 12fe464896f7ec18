-- refused: the function poke is SECURITY DEFINER
-- tenancy: row schema
CREATE PROCEDURE poke() SECURITY DEFINER LANGUAGE sql AS 'SELECT 1';
