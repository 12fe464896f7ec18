-- accepted
-- tenancy: row schema database
CREATE TABLE "Select" ("Where" int PRIMARY KEY, "a'b" text UNIQUE);
CREATE VIEW "View ""x""" AS SELECT * FROM "Select";
CREATE SEQUENCE "Seq uence";
--> account 1
INSERT INTO "View ""x""" VALUES (1, 'a');
SELECT nextval('"Seq uence"');
