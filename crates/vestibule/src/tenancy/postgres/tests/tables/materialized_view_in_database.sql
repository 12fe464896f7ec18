-- accepted
-- tenancy: database
CREATE TABLE notes (id int);
CREATE MATERIALIZED VIEW counts AS SELECT count(*) FROM notes;
--> account 1
SELECT * FROM counts;
