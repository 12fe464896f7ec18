-- accepted
-- tenancy: row schema
CREATE TABLE events (id bigint GENERATED ALWAYS AS IDENTITY, at date NOT NULL, kind text,
    parent bigint, parent_at date,
    PRIMARY KEY (id, at), FOREIGN KEY (parent, parent_at) REFERENCES events (id, at))
    PARTITION BY RANGE (at);
CREATE UNIQUE INDEX by_kind ON events (kind, at);
CREATE TABLE events_1 PARTITION OF events FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
CREATE TABLE events_2 (LIKE events INCLUDING DEFAULTS);
ALTER TABLE events ATTACH PARTITION events_2 FOR VALUES FROM ('2027-01-01') TO ('2028-01-01');
--> account 1
INSERT INTO events (at, kind) VALUES ('2026-02-02', 'a');
--> account 2
INSERT INTO events (at, kind) VALUES ('2026-02-02', 'a');
DO $$ BEGIN ASSERT (SELECT count(*) FROM events_1) = 1; END $$;
--> account 2 fails: duplicate key
INSERT INTO events (at, kind) VALUES ('2026-02-02', 'a');
--> migration
CREATE TABLE events_3 PARTITION OF events FOR VALUES FROM ('2028-01-01') TO ('2029-01-01');
CREATE TABLE events_4 PARTITION OF events DEFAULT;
--> account 1
INSERT INTO events (at, kind) VALUES ('2028-02-02', 'b');
INSERT INTO events_3 (id, at, kind) VALUES (99, '2028-02-03', 'b');
--> account 2
DO $$ BEGIN ASSERT (SELECT count(*) FROM {other}.events_3) = 0; END $$;
INSERT INTO events_3 (id, at, kind) VALUES (99, '2028-02-03', 'b');
--> account 2 fails: foreign key
INSERT INTO events (at, kind, parent, parent_at) VALUES ('2026-03-03', 'c', 3, '2028-02-02');
