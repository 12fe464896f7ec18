-- accepted
-- tenancy: row
CREATE EXTENSION citext;
CREATE TABLE people (id int PRIMARY KEY, mail citext UNIQUE);
--> account 1
INSERT INTO people VALUES (1, 'a@b');
--> account 1 fails: people_mail_key
INSERT INTO people VALUES (2, 'A@B');
--> account 2
INSERT INTO people VALUES (2, 'A@B');
