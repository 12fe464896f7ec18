-- How entries of an account's activity go: the application's login may add and read them only. In
-- every database that holds accounts' data; run by the owner, again and again.
--
-- Anybody's SQL in a session may call the function: so what it leaves is the owner's word, and no
-- argument makes that less. It reaches the account that the transaction is bound to, and no other.

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
-- Whoever adds entries chooses their ids, in which the time stands. Those of a time to come count
-- for nothing: a few would push out all that is true, for ever.
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
REVOKE ALL ON FUNCTION vestibule.remove_old_activity(bigint, uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION vestibule.remove_old_activity(bigint, uuid) TO $LOGIN;
