-- refused: the extension citext was created in the account's schema
-- tenancy: schema
CREATE EXTENSION citext;
