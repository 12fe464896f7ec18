-- accepted
-- tenancy: row schema database
CREATE TABLE notes (id int PRIMARY KEY, label text);
CREATE VIEW labels AS SELECT id, label FROM notes WHERE label > '' WITH CHECK OPTION;
CREATE VIEW counts AS SELECT count(*) AS n FROM labels;
CREATE FUNCTION label_in() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO notes VALUES (NEW.n, 'counted');
    RETURN NEW;
END $$;
CREATE TRIGGER label_in INSTEAD OF INSERT ON counts FOR EACH ROW EXECUTE FUNCTION label_in();
--> account 1
INSERT INTO labels VALUES (1, 'one');
INSERT INTO counts VALUES (7);
UPDATE labels SET label = 'first' WHERE id = 1;
DO $$ BEGIN ASSERT (SELECT n FROM counts) = 2; END $$;
--> owner
DO $$ BEGIN
    ASSERT NOT has_table_privilege('{login}', 'counts', 'DELETE');
    ASSERT has_table_privilege('{login}', 'labels', 'DELETE');
END $$;
