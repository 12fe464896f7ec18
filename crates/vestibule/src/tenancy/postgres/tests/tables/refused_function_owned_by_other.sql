-- refused: the function f belongs to {stranger}
CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1';
GRANT CREATE ON SCHEMA {space} TO {stranger};
ALTER FUNCTION f() OWNER TO {stranger};
