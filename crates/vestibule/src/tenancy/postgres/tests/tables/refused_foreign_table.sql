-- refused: the foreign table away reaches outside
-- tenancy: row schema
--> superuser
CREATE FOREIGN DATA WRAPPER nowhere;
CREATE SERVER elsewhere FOREIGN DATA WRAPPER nowhere;
GRANT USAGE ON FOREIGN SERVER elsewhere TO {owner};
--> migration
CREATE FOREIGN TABLE away (id int) SERVER elsewhere;
