-- refused: the rule log of notes runs with the rights of the table's owner
-- tenancy: row schema
CREATE TABLE notes (id int);
CREATE TABLE logged (id int);
CREATE RULE log AS ON INSERT TO notes DO ALSO INSERT INTO logged VALUES (NEW.id);
