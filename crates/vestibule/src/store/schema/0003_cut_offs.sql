-- What counts no more. `kind` says what `key` names: a token by its digest, a user or an account by
-- its id, a service client's key by client id and kid, an issuer. Of a user, an account and an issuer
-- nothing issued before `issued_before` counts; a token or a key does not count at all.
CREATE TABLE cut_offs (
    kind TEXT NOT NULL CHECK (kind IN ('token', 'user', 'account', 'key', 'issuer')),
    key TEXT NOT NULL,
    issued_before BIGINT NOT NULL,
    -- From when on nothing can match, where that is known when it is made: a token's end.
    ends_at BIGINT,
    PRIMARY KEY (kind, key)
);
CREATE INDEX cut_offs_by_end ON cut_offs (ends_at);
