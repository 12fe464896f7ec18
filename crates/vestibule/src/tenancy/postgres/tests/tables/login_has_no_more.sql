-- accepted
-- tenancy: row schema database
CREATE TABLE notes (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, number serial);
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
GRANT ALL ON notes TO PUBLIC;
GRANT ALL ON notes TO {login} WITH GRANT OPTION;
GRANT REFERENCES (id), UPDATE (number) ON notes TO {login};
GRANT SELECT (id) ON notes TO PUBLIC;
GRANT ALL ON SEQUENCE notes_number_seq TO {login}, PUBLIC;
DO $$ BEGIN
    EXECUTE format('GRANT ALL ON SCHEMA %I TO PUBLIC, {login}', current_schema());
END $$;
--> account 1
INSERT INTO notes DEFAULT VALUES;
SELECT currval('notes_number_seq');
--> account 1 fails: permission denied
TRUNCATE notes;
--> account 1 fails: permission denied
CREATE TABLE mine (id int);
--> account 1 fails: permission denied
CREATE TRIGGER t BEFORE INSERT ON notes EXECUTE FUNCTION touch();
--> account 1 fails: must be owner
ALTER TABLE notes NO FORCE ROW LEVEL SECURITY;
--> account 1 fails: must be owner
CREATE POLICY open ON notes USING (true);
--> account 1 fails: permission denied
SELECT setval('notes_number_seq', 1);
--> account 1 fails: permission denied
SELECT * FROM notes_number_seq;
--> account 1 fails: permission denied
UPDATE vestibule_account SET step = 1;
--> account 1 fails: permission denied
DELETE FROM vestibule_migrations;
--> account 1
SELECT * FROM vestibule_account, vestibule_migrations;
