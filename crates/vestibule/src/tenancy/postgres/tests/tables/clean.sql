-- accepted
-- tenancy: row schema database
CREATE TABLE notes (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    label text NOT NULL UNIQUE,
    parent bigint REFERENCES notes (id) ON DELETE CASCADE
);
CREATE VIEW labels AS SELECT label FROM notes;
