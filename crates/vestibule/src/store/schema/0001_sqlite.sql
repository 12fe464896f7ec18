-- What other processes must forget. AUTOINCREMENT: a number is never used again.
CREATE TABLE changes (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    at BIGINT NOT NULL,
    kind TEXT NOT NULL,
    key TEXT NOT NULL,
    provider TEXT
);
