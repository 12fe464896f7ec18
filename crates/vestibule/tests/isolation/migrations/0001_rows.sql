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

-- What refers to a row: of the same account, whatever ids others have.
CREATE TABLE refs (
    id UUID PRIMARY KEY NOT NULL,
    target UUID NOT NULL REFERENCES rows (id)
);
