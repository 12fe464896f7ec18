-- Written as if there were one account: vestibule applies it to each account's own data space.
CREATE TABLE notes (
    id UUID PRIMARY KEY,
    text TEXT NOT NULL,
    created_by UUID NOT NULL
);
