-- accepted
-- tenancy: row schema
CREATE TABLE events (id int, at int, PRIMARY KEY (id, at)) PARTITION BY LIST (at);
CREATE TABLE events_1 PARTITION OF events FOR VALUES IN (1);
CREATE TABLE marks (id int PRIMARY KEY, event int, at int,
    FOREIGN KEY (event, at) REFERENCES events ON DELETE CASCADE);
--> account 1
INSERT INTO events VALUES (1, 1);
INSERT INTO marks VALUES (1, 1, 1);
--> account 2 fails: foreign key
INSERT INTO marks VALUES (1, 1, 1);
--> account 1
DELETE FROM events;
DO $$ BEGIN ASSERT (SELECT count(*) FROM marks) = 0; END $$;
