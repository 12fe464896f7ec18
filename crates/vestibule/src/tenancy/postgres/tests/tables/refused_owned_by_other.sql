-- refused: notes belongs to {stranger}
-- tenancy: row schema database
CREATE TABLE notes (id int);
GRANT CREATE ON SCHEMA {space} TO {stranger};
ALTER TABLE notes OWNER TO {stranger};
