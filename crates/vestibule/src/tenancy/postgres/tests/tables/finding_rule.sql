-- finding: rule
-- tenancy: row schema
CREATE TABLE notes (id int PRIMARY KEY);
CREATE TABLE logged (id int PRIMARY KEY);
--> owner
CREATE RULE log AS ON INSERT TO notes DO ALSO INSERT INTO logged VALUES (NEW.id);
