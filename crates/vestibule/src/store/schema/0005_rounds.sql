-- Work that goes through all accounts, and when somebody last was at it: one replica does it.
CREATE TABLE rounds (
    name TEXT PRIMARY KEY NOT NULL,
    at BIGINT NOT NULL
);
