-- refused: the new table colours holds rows
-- The migration's own policies do not hide the rows.
CREATE TABLE colours (name text PRIMARY KEY);
INSERT INTO colours VALUES ('red');
ALTER TABLE colours ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
