-- What other processes must forget. Numbers are given in the order of the commits: whoever writes
-- here waits until whoever did so before has committed. And then everybody who listens is told.
CREATE TABLE changes (
    seq BIGINT PRIMARY KEY,
    at BIGINT NOT NULL,
    kind TEXT NOT NULL,
    key TEXT NOT NULL,
    provider TEXT
);
CREATE SEQUENCE changes_seq OWNED BY changes.seq;
CREATE INDEX changes_by_time ON changes (at);

CREATE FUNCTION number_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_catalog.pg_advisory_xact_lock(7012850, 1);
    NEW.seq := pg_catalog.nextval('vestibule.changes_seq');
    PERFORM pg_catalog.pg_notify('vestibule_changes', '');
    RETURN NEW;
END $$;
CREATE TRIGGER number_change BEFORE INSERT ON changes
    FOR EACH ROW EXECUTE FUNCTION number_change();

CREATE INDEX kept_facts_by_time ON kept_facts (fetched_at);

-- Accounts whose data do not lie in the main cluster.
CREATE TABLE placements (
    account_id UUID PRIMARY KEY REFERENCES accounts (id) ON DELETE CASCADE,
    cluster TEXT NOT NULL
);
CREATE INDEX placements_of_cluster ON placements (cluster);
