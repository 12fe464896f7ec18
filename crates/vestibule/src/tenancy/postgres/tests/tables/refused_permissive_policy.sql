-- refused: the policy everyone of notes is permissive
-- tenancy: row schema
CREATE TABLE notes (id int);
CREATE POLICY everyone ON notes USING (true);
