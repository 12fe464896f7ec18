-- refused: the trigger counted of comments is run by ON UPDATE of the foreign key comments_note_fkey too
CREATE TABLE notes (id int PRIMARY KEY);
CREATE TABLE comments (id int PRIMARY KEY, note int NOT NULL REFERENCES notes ON UPDATE CASCADE);
CREATE FUNCTION how_many() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM comments';
CREATE FUNCTION counted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.id := how_many();
    RETURN NEW;
END $$;
CREATE TRIGGER counted BEFORE UPDATE ON comments FOR EACH STATEMENT EXECUTE FUNCTION counted();
