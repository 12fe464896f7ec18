-- refused: a migration changed the column account_id of the table notes
CREATE TABLE notes (id int PRIMARY KEY);
--> migration
DROP POLICY vestibule_account ON notes;
ALTER TABLE notes ALTER account_id DROP DEFAULT, ALTER account_id TYPE text;
CREATE POLICY vestibule_account ON notes USING (true);
