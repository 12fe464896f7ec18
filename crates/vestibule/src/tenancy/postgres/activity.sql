-- How entries of an account's activity come, and how they go: the application's login may read them
-- and no more. In every database that holds accounts' data; run by the owner, again and again.
--
-- Anybody's SQL in a session may call these functions. They reach the account that the transaction
-- is bound to, and no other.

-- Adds an entry. Who calls it shows that the server itself does (`require_proof`): else a session's
-- SQL could tell tales, and with many of them push out what is true.
CREATE OR REPLACE FUNCTION vestibule.note_activity(
    id uuid, at bigint, kind text, user_id uuid, client_id text, reason text, request_id text,
    token_hash bytea, minute bigint, proof bytea
) RETURNS bigint
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
    account uuid := $ACCOUNT;
    activity text := $SPACE;
    touched bigint;
BEGIN
    PERFORM vestibule.require_proof('note_activity', ARRAY[id::text, at::text, kind, user_id::text,
        client_id, reason, request_id, encode(token_hash, 'hex')], minute, proof);
    IF account IS NULL THEN
        RETURN 0;
    END IF;
    EXECUTE format(
        'INSERT INTO %s (id, at, kind, user_id, client_id, reason, request_id, token_hash)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING', activity)
    USING id, at, kind, user_id, client_id, reason, request_id, token_hash;
    GET DIAGNOSTICS touched = ROW_COUNT;
    RETURN touched;
END
$function$;

-- What stays is the owner's word, and no argument makes that less.
CREATE TABLE IF NOT EXISTS vestibule.activity_limits (
    -- One row.
    position INTEGER PRIMARY KEY CHECK (position = 1),
    -- So many entries stay, the newest.
    keep BIGINT NOT NULL,
    -- In milliseconds; 0: age is no reason to remove one.
    max_age BIGINT NOT NULL
);
INSERT INTO vestibule.activity_limits (position, keep, max_age) VALUES (1, $KEEP, $MAX_AGE)
ON CONFLICT (position) DO UPDATE SET keep = excluded.keep, max_age = excluded.max_age;

-- Removes all but the newest `wanted`, and what comes before the id `first_kept`, as far as the
-- limits let it; how many these were.
--
-- In an entry's id stands its time. Those of a time to come count for nothing: a few, of a server
-- whose clock was wrong, would push out all that is true, for ever.
CREATE OR REPLACE FUNCTION vestibule.remove_old_activity(wanted bigint, first_kept uuid)
RETURNS bigint
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
    account uuid := $ACCOUNT;
    activity text := $SPACE;
    limits vestibule.activity_limits;
    now_ms bigint := floor(extract(epoch FROM clock_timestamp()) * 1000);
    -- The first ids of tomorrow, and of the oldest moment whose entries stay.
    tomorrow uuid := (lpad(to_hex(now_ms + 86400000), 12, '0') || repeat('0', 20))::uuid;
    oldest uuid;
    removed bigint;
BEGIN
    IF account IS NULL THEN
        RETURN 0;
    END IF;
    SELECT l.* INTO STRICT limits FROM vestibule.activity_limits l;
    IF first_kept IS NOT NULL AND limits.max_age > 0 THEN
        oldest := least(first_kept,
            (lpad(to_hex(greatest(now_ms - limits.max_age, 0)), 12, '0') || repeat('0', 20))::uuid);
    END IF;
    -- The owner may be one whom no policy binds.
    EXECUTE format(
        'DELETE FROM %1$s a WHERE %2$s AND a.id <= greatest($1, (
             SELECT a.id FROM %1$s a WHERE %2$s AND a.id < $2
             ORDER BY a.id DESC OFFSET $3 LIMIT 1))',
        activity, $OWN)
    USING oldest, tomorrow, greatest(wanted, limits.keep);
    GET DIAGNOSTICS removed = ROW_COUNT;
    RETURN removed;
END
$function$;

REVOKE ALL ON FUNCTION vestibule.remove_old_activity(bigint, uuid), vestibule.note_activity(
    uuid, bigint, text, uuid, text, text, text, bytea, bigint, bytea) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION vestibule.remove_old_activity(bigint, uuid), vestibule.note_activity(
    uuid, bigint, text, uuid, text, text, text, bytea, bigint, bytea) TO $LOGIN;
