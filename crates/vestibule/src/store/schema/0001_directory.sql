-- The directory. Times are milliseconds since 1970-01-01T00:00Z.

CREATE TABLE settings (
    name TEXT PRIMARY KEY NOT NULL,
    value TEXT NOT NULL
);

CREATE TABLE accounts (
    id UUID PRIMARY KEY NOT NULL,
    name TEXT NOT NULL,
    authress_tenant_id TEXT NOT NULL UNIQUE,
    status TEXT NOT NULL CHECK (status IN ('active', 'suspended')),
    created_at BIGINT NOT NULL
);

-- A user who was removed stays as a row with removed_at: role and status survive a return.
CREATE TABLE users (
    id UUID PRIMARY KEY NOT NULL,
    account_id UUID NOT NULL REFERENCES accounts (id),
    provider TEXT NOT NULL,
    subject TEXT NOT NULL,
    email TEXT,
    name TEXT,
    picture TEXT,
    role TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('active', 'suspended')),
    created_at BIGINT NOT NULL,
    removed_at BIGINT,
    UNIQUE (provider, subject)
);
CREATE INDEX users_of_account ON users (account_id, id);

-- Scopes are separated by spaces, which no scope holds (RFC 6749 §3.3).
CREATE TABLE service_clients (
    id UUID PRIMARY KEY NOT NULL,
    account_id UUID NOT NULL REFERENCES accounts (id),
    client_id TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    scopes TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('active', 'suspended')),
    created_at BIGINT NOT NULL
);
CREATE INDEX service_clients_of_account ON service_clients (account_id, id);

-- What the provider said last, for the time when it does not answer.
CREATE TABLE kept_facts (
    kind TEXT NOT NULL,
    key TEXT NOT NULL,
    body BYTEA NOT NULL,
    fetched_at BIGINT NOT NULL,
    proof BYTEA NOT NULL,
    PRIMARY KEY (kind, key)
);

-- The application's migrations, for whoever creates an account.
CREATE TABLE tenant_migrations (
    version BIGINT PRIMARY KEY NOT NULL,
    description TEXT NOT NULL,
    checksum BYTEA NOT NULL,
    sql TEXT NOT NULL,
    kept_at BIGINT NOT NULL
);
