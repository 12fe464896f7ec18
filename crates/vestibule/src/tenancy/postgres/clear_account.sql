-- Removes every row of one account from the shared tables. What another table still refers to goes
-- in a later round.
DO $clear$
DECLARE
    shared regclass;
    again boolean := true;
    rounds integer := 0;
BEGIN
    WHILE again LOOP
        again := false;
        rounds := rounds + 1;
        FOR shared IN
            SELECT c.oid::regclass FROM pg_catalog.pg_class c
            WHERE c.relnamespace = 'vestibule_tenants'::regnamespace
              AND c.relkind IN ('r', 'p') AND NOT c.relispartition
              AND c.relname <> 'vestibule_migrations'
        LOOP
            BEGIN
                EXECUTE format('DELETE FROM %s WHERE account_id = %L', shared, $ACCOUNT);
            EXCEPTION WHEN foreign_key_violation THEN
                IF rounds > 100 THEN
                    RAISE;
                END IF;
                again := true;
            END;
        END LOOP;
    END LOOP;
END $clear$;
