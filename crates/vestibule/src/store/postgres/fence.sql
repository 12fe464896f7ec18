-- What keeps sessions away from an account that is being moved, or has moved. In every database
-- that holds accounts' data; run by the owner, again and again.
--
-- The fence stays when the account has gone: a server that has not heard of the move is stopped
-- here, by the database in which it would write.
--
-- `run` is the run of `account move` that put it up: another run takes it over, and the first can
-- then do nothing more here.
CREATE TABLE IF NOT EXISTS vestibule.fences (
    account_id UUID PRIMARY KEY,
    moved_to TEXT NOT NULL,
    since TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp(),
    run UUID
);
-- ALTER TABLE waits for all sessions, even where it has nothing to do.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_attribute
            WHERE attrelid = 'vestibule.fences'::pg_catalog.regclass AND attname = 'run') THEN
        ALTER TABLE vestibule.fences ADD COLUMN run UUID;
    END IF;
END $$;

-- The number of the transaction that put up the latest fence. A sequence, because its value can be
-- seen by transactions that see an older state of everything else.
CREATE SEQUENCE IF NOT EXISTS vestibule.latest_fence MINVALUE 0 START 0;

-- Asked at the beginning of every session's transaction: a policy alone would not do, as nobody
-- asks it on a table without rows.
--
-- It leaves a mark until the transaction ends: the lock on the table of fences, which reading it
-- takes, and one with the account's number. So whoever puts up a fence finds all transactions that
-- did not see it, and waits for these and no others. The lock on the table comes before the table
-- is read: who is not found has seen the fence. The account's number only tells whom to wait for,
-- so that it does not matter if it cannot be had.
CREATE OR REPLACE FUNCTION vestibule.require_unfenced(account uuid) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    fenced boolean;
BEGIN
    PERFORM pg_try_advisory_xact_lock_shared(7012852, hashtext(account::text));
    SELECT EXISTS (SELECT 1 FROM vestibule.fences f WHERE f.account_id = account) INTO fenced;
    IF NOT fenced AND current_setting('transaction_isolation') <> 'read committed' THEN
        -- What it sees may be older than the lock.
        fenced := NOT pg_visible_in_snapshot(
            (SELECT last_value FROM vestibule.latest_fence)::text::xid8, pg_current_snapshot());
    END IF;
    IF fenced THEN
        RAISE EXCEPTION 'account % is being moved, or has moved', account USING ERRCODE = 'VB001';
    END IF;
END $$;
REVOKE ALL ON FUNCTION vestibule.require_unfenced(uuid) FROM PUBLIC;
