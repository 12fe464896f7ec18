-- What every account's data space holds beside the application's own tables.

-- One row: whose space this is.
CREATE TABLE vestibule_account (
    account_id UUID PRIMARY KEY NOT NULL,
    step INTEGER NOT NULL,
    created_at BIGINT NOT NULL
);

-- The application's migrations that were applied here.
CREATE TABLE vestibule_migrations (
    version BIGINT PRIMARY KEY NOT NULL,
    description TEXT NOT NULL,
    checksum BYTEA NOT NULL,
    applied_at BIGINT NOT NULL
);

-- token_hash: the same token's sign-in is written down once.
CREATE TABLE vestibule_activity (
    id UUID PRIMARY KEY NOT NULL,
    at BIGINT NOT NULL,
    kind TEXT NOT NULL,
    user_id UUID,
    client_id TEXT,
    reason TEXT,
    request_id TEXT,
    token_hash BYTEA UNIQUE
);
