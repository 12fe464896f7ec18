-- accepted
-- A migration for row alone may write the account into its keys itself.
CREATE TABLE notes (id int PRIMARY KEY, label text);
--> migration
CREATE UNIQUE INDEX ON notes (label, account_id);
CREATE TABLE comments (id int PRIMARY KEY, note int);
