-- accepted
-- tenancy: row schema
-- What later migrations say of the tables that are there holds within an account too.
CREATE TABLE notes (id int PRIMARY KEY, label text, code int NOT NULL, "Odd ""name" text UNIQUE);
CREATE UNIQUE INDEX pairs ON notes (label, code);
CREATE TABLE comments (id int PRIMARY KEY, note int);
--> account 1
INSERT INTO notes VALUES (1, 'one', 1, 'x');
INSERT INTO comments VALUES (1, 1);
--> account 2
INSERT INTO notes VALUES (1, 'one', 1, 'x');
INSERT INTO comments VALUES (1, 1);
--> migration
/* REFERENCES notes /* (id) */ ; */
-- ALTER TABLE notes ADD UNIQUE (label);
CREATE TABLE replies (
    id int PRIMARY KEY,
    "don't" text DEFAULT E'it\'s REFERENCES notes; ''',
    note int NOT NULL CONSTRAINT answers REFERENCES notes(id) ON DELETE CASCADE,
    odd text REFERENCES Notes ("Odd ""name") DEFERRABLE INITIALLY DEFERRED,
    label text, code int, parent int REFERENCES replies,
    FOREIGN KEY (label, code) REFERENCES "notes" (label, code) ON UPDATE CASCADE,
    FOREIGN KEY (code, label) REFERENCES notes (code, label)
);
ALTER TABLE comments ADD CONSTRAINT comments_note FOREIGN KEY (note) REFERENCES notes,
    ADD UNIQUE (note), ADD COLUMN other int REFERENCES notes;
UPDATE comments SET other = note;
CREATE FUNCTION about() RETURNS text LANGUAGE sql AS
    $body$ SELECT 'ALTER TABLE notes ADD UNIQUE (label); don''t' $body$;
ALTER TABLE notes ADD UNIQUE (label), ADD CONSTRAINT unique_code UNIQUE (code);
CREATE UNIQUE INDEX ON notes (lower(label));
CREATE UNIQUE INDEX IF NOT EXISTS other_pairs ON notes USING btree (code, label)
    WHERE label <> 'account_id';
--> account 1
INSERT INTO replies (id, note, odd, label, code) VALUES (1, 1, 'x', 'one', 1);
UPDATE notes SET label = 'first';
DO $$ BEGIN ASSERT (SELECT label FROM replies) = 'first'; END $$;
DO $$ BEGIN ASSERT (SELECT about()) = 'ALTER TABLE notes ADD UNIQUE (label); don''t'; END $$;
INSERT INTO notes VALUES (2, 'two', 2, 'y');
--> account 2 fails: answers
INSERT INTO replies (id, note) VALUES (2, 2);
--> account 2 fails: comments_note
INSERT INTO comments VALUES (2, 2);
--> account 2 fails: notes_label_key
INSERT INTO notes VALUES (2, 'one', 2, 'y');
--> account 2 fails: unique_code
INSERT INTO notes VALUES (2, 'two', 1, 'y');
--> account 2 fails: comments_note_key
INSERT INTO comments VALUES (2, 1);
--> account 2 fails: notes_lower_idx
INSERT INTO notes VALUES (2, 'ONE', 2, 'y');
--> migration
ALTER TABLE notes DROP CONSTRAINT notes_label_key;
DROP INDEX notes_lower_idx;
ALTER TABLE notes RENAME TO pages;
ALTER TABLE pages ADD CONSTRAINT again UNIQUE (label);
CREATE TABLE notes (id int PRIMARY KEY, page int REFERENCES pages (id));
ALTER TABLE notes ADD UNIQUE (page);
CREATE TABLE marks (note int REFERENCES notes (id));
--> account 2
INSERT INTO notes VALUES (1, 1);
INSERT INTO marks VALUES (1);
--> account 2 fails: foreign key
INSERT INTO notes VALUES (2, 2);
--> owner
DO $$ BEGIN
    ASSERT (SELECT count(*) FROM pg_class WHERE relname LIKE 'vestibule_key_%') = 0;
    ASSERT 4 = (SELECT count(*) FROM pg_constraint WHERE contype = 'f'
        AND conrelid = '{space}.replies'::regclass AND confrelid = '{space}.pages'::regclass
        AND convalidated);
END $$;
