-- Accounts that are being moved, from the first step until nothing is left of them where they were.
-- `run` is who does it: who finds another there has lost the account to him. `copied` is what was
-- copied, and is there from the moment at which the placement changed.
CREATE TABLE moves (
    account_id UUID PRIMARY KEY REFERENCES accounts (id) ON DELETE CASCADE,
    source TEXT NOT NULL,
    target TEXT NOT NULL,
    run UUID NOT NULL,
    copied TEXT
);
