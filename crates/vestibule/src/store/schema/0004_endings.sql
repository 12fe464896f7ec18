-- Accounts that are to end, and when: until then it can be undone.
CREATE TABLE endings (
    account_id UUID PRIMARY KEY NOT NULL REFERENCES accounts (id),
    ends_at BIGINT NOT NULL
);
