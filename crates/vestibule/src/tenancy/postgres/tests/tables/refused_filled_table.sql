-- refused: the new table colours holds rows
CREATE TABLE colours (name text PRIMARY KEY);
INSERT INTO colours VALUES ('red');
