-- refused: the materialized view counts holds rows that no policy protects
-- tenancy: row schema
CREATE TABLE notes (id int);
CREATE MATERIALIZED VIEW counts AS SELECT count(*) FROM notes;
