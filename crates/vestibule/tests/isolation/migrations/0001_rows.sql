-- No table names an account: that is the session's business.
CREATE TABLE rows (
    id UUID PRIMARY KEY NOT NULL,
    owner TEXT NOT NULL
);
-- The same few keys in every account.
CREATE TABLE keys (
    key BIGINT PRIMARY KEY NOT NULL,
    owner TEXT NOT NULL
);
