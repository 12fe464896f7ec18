-- refused: the trigger counted of comments is run by ON DELETE of the foreign key comments_note_fkey too
CREATE TABLE notes (id int PRIMARY KEY);
CREATE TABLE comments (id int PRIMARY KEY, note int NOT NULL REFERENCES notes ON DELETE CASCADE);
CREATE TABLE counts (n int);
CREATE FUNCTION counted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE counts SET n = n - 1;
    RETURN OLD;
END $$;
CREATE TRIGGER counted BEFORE DELETE ON comments FOR EACH ROW EXECUTE FUNCTION counted();
