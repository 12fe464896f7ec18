-- finding: not_owned
-- tenancy: row schema database
CREATE TABLE notes (id int PRIMARY KEY);
--> superuser
ALTER TABLE notes OWNER TO {stranger};
