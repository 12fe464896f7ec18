-- accepted
-- postgres: 15
-- Those that touch their row only, and those that run after, by the rights of the session.
CREATE TABLE notes (id int PRIMARY KEY);
CREATE TABLE comments (id int PRIMARY KEY, changed timestamptz,
    note int REFERENCES notes ON DELETE CASCADE,
    other int REFERENCES notes ON DELETE SET NULL ON UPDATE CASCADE);
CREATE TABLE counts (n int);
CREATE FUNCTION changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- Says when it was last updated.
    IF TG_OP = 'UPDATE' AND NEW.other IS DISTINCT FROM OLD.other THEN
        NEW.changed := now();
    END IF;
    RETURN NEW;
END $$;
CREATE FUNCTION counted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE counts SET n = n - 1;
    RETURN NULL;
END $$;
CREATE TRIGGER changed BEFORE UPDATE ON comments FOR EACH ROW EXECUTE FUNCTION changed();
CREATE TRIGGER counted AFTER DELETE OR UPDATE ON comments FOR EACH ROW EXECUTE FUNCTION counted();
--> account 1
INSERT INTO counts VALUES (10);
INSERT INTO notes VALUES (1), (2);
INSERT INTO comments (id, note, other) VALUES (1, 1, NULL), (2, NULL, 2);
--> account 2
INSERT INTO counts VALUES (10);
--> account 1
DELETE FROM notes;
DO $$ BEGIN
    ASSERT (SELECT changed IS NOT NULL FROM comments);
    ASSERT (SELECT n FROM counts) = 8;
END $$;
--> account 2
DO $$ BEGIN ASSERT (SELECT n FROM counts) = 10; END $$;
