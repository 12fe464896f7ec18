CREATE TABLE notes (
    id UUID PRIMARY KEY,
    text TEXT NOT NULL
);
