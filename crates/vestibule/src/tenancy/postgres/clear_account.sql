-- Removes every row of one account from the shared tables: by one statement, at whose end nothing
-- refers to anything any more. Where a key does not wait for that (ON DELETE RESTRICT), table by
-- table: what another table still refers to goes in a later round.
DO $clear$
DECLARE
    shared regclass[] := (
        SELECT array_agg(c.oid::regclass) FROM pg_catalog.pg_class c
        WHERE c.relnamespace = 'vestibule_tenants'::regnamespace
          AND c.relkind IN ('r', 'p') AND NOT c.relispartition
          AND c.relname <> 'vestibule_migrations'
    );
    one regclass;
    again boolean := true;
    rounds integer := 0;
BEGIN
    BEGIN
        EXECUTE (
            SELECT 'WITH ' || string_agg(format('d%s AS (DELETE FROM %s WHERE account_id = %L)',
                place, name, $ACCOUNT), ', ') || ' SELECT 1'
            FROM unnest(shared) WITH ORDINALITY AS t (name, place));
        RETURN;
    EXCEPTION WHEN foreign_key_violation OR restrict_violation THEN
        NULL;
    END;
    WHILE again LOOP
        again := false;
        rounds := rounds + 1;
        FOREACH one IN ARRAY shared LOOP
            BEGIN
                EXECUTE format('DELETE FROM %s WHERE account_id = %L', one, $ACCOUNT);
            EXCEPTION WHEN foreign_key_violation OR restrict_violation THEN
                IF rounds > 100 THEN
                    RAISE;
                END IF;
                again := true;
            END;
        END LOOP;
    END LOOP;
END $clear$;
