-- accepted
-- tenancy: row schema database
CREATE TABLE notes (id int PRIMARY KEY, label text CHECK (length(label) < 9),
    changed_at timestamptz, words tsvector);
CREATE TABLE counts (what text PRIMARY KEY, n int NOT NULL);
CREATE FUNCTION changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.changed_at := now();
    RETURN NEW;
END $$;
CREATE FUNCTION counted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM counts WHERE what = TG_TABLE_NAME) THEN
        INSERT INTO counts VALUES (TG_TABLE_NAME, 0);
    END IF;
    UPDATE counts SET n = n + 1 WHERE what = TG_TABLE_NAME;
    RETURN NULL;
END $$;
CREATE TRIGGER changed BEFORE INSERT OR UPDATE ON notes FOR EACH ROW EXECUTE FUNCTION changed();
CREATE TRIGGER counted AFTER INSERT ON notes FOR EACH ROW EXECUTE FUNCTION counted();
CREATE CONSTRAINT TRIGGER counted_late AFTER INSERT ON notes DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION counted();
CREATE TRIGGER words BEFORE INSERT ON notes FOR EACH ROW
    EXECUTE FUNCTION tsvector_update_trigger(words, 'pg_catalog.english', label);
--> account 1
INSERT INTO notes VALUES (1, 'words');
--> account 2
INSERT INTO notes VALUES (2, 'words'), (3, 'more');
--> account 2 fails: notes_label_check
INSERT INTO notes VALUES (4, 'too many words');
--> account 1
DO $$ BEGIN
    ASSERT (SELECT words @@ 'word' AND changed_at IS NOT NULL FROM notes WHERE id = 1);
    ASSERT (SELECT n >= 2 FROM counts);
END $$;
