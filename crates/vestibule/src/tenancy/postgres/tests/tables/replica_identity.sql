-- accepted
CREATE TABLE notes (id int PRIMARY KEY, label text NOT NULL UNIQUE);
ALTER TABLE notes REPLICA IDENTITY USING INDEX notes_label_key;
ALTER TABLE notes CLUSTER ON notes_pkey;
--> owner
DO $$ BEGIN
    ASSERT (SELECT indisreplident FROM pg_index WHERE indexrelid = 'notes_label_key'::regclass);
    ASSERT (SELECT indisclustered FROM pg_index WHERE indexrelid = 'notes_pkey'::regclass);
END $$;
