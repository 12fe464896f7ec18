-- finding: foreign_table
-- tenancy: row schema
--> superuser
CREATE FOREIGN DATA WRAPPER nowhere;
CREATE SERVER elsewhere FOREIGN DATA WRAPPER nowhere;
CREATE FOREIGN TABLE away (id int) SERVER elsewhere;
ALTER FOREIGN TABLE away OWNER TO {owner};
