-- What binds a transaction to its account. Run by the owner, again and again.
--
-- A session's SQL can set vestibule.binding to whatever it likes; only a value that a server with
-- the key has signed, a minute ago at most when the transaction began, means an account.

CREATE TABLE IF NOT EXISTS vestibule.binding_keys (
    position INTEGER PRIMARY KEY,
    inner_pad BYTEA NOT NULL,
    outer_pad BYTEA NOT NULL
);

-- HMAC-SHA-256 (RFC 2104) with nothing but core functions. What is compared are hashes of both
-- sides, so that the time it takes says nothing.
CREATE OR REPLACE FUNCTION vestibule.is_signed(message text, signature bytea) RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
    SELECT EXISTS (
        SELECT 1 FROM vestibule.binding_keys k
        WHERE sha256(sha256(k.outer_pad || sha256(k.inner_pad || convert_to(message, 'UTF8'))))
            = sha256(signature)
    )
$$;

CREATE OR REPLACE FUNCTION vestibule.bound_account() RETURNS uuid
LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    -- account.minute.signature, the last in 64 hexadecimal digits.
    binding text := current_setting('vestibule.binding', true);
    message text := left(binding, -65);
    this_minute bigint := floor(extract(epoch FROM transaction_timestamp()) / 60);
    account uuid;
BEGIN
    -- Every transaction pays for this once. It is vestibule.is_signed, but compares the text, so
    -- that nothing needs to be known of its form before it is proven to be ours.
    IF binding IS NULL OR NOT EXISTS (
        SELECT 1 FROM vestibule.binding_keys k
        WHERE sha256(convert_to(binding, 'UTF8'))
            = sha256(convert_to(message || '.' || encode(sha256(k.outer_pad || sha256(k.inner_pad
                || convert_to(E'vestibule binding\n' || message, 'UTF8'))), 'hex'), 'UTF8'))
    ) THEN
        RETURN NULL;
    END IF;
    IF split_part(message, '.', 2) NOT IN ((this_minute - 1)::text, this_minute::text) THEN
        RETURN NULL;
    END IF;
    account := split_part(message, '.', 1)::uuid;
    IF EXISTS (SELECT 1 FROM vestibule.fences f WHERE f.account_id = account) THEN
        RAISE EXCEPTION 'account % is being moved, or has moved', account USING ERRCODE = 'VB001';
    END IF;
    RETURN account;
END $$;

REVOKE ALL ON FUNCTION vestibule.is_signed(text, bytea), vestibule.bound_account() FROM PUBLIC;
