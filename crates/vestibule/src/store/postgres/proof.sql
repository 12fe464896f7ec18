-- Who calls a function of the directory must show that the server itself does, with these very
-- arguments, now: SQL that runs in a session has the same login.
CREATE OR REPLACE FUNCTION vestibule.require_proof(
    function text, arguments text[], minute bigint, proof bytea
) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    this_minute bigint := floor(extract(epoch FROM clock_timestamp()) / 60);
    list text;
BEGIN
    SELECT string_agg(
        CASE WHEN a IS NULL THEN '-' ELSE octet_length(convert_to(a, 'UTF8')) || ':' || a END,
        '' ORDER BY place
    ) INTO list FROM unnest(arguments) WITH ORDINALITY AS every (a, place);
    IF minute IS NULL OR proof IS NULL OR minute NOT IN (this_minute - 1, this_minute)
        OR NOT vestibule.is_signed(
            E'vestibule proof\n' || function || E'\n' || minute || E'\n' || coalesce(list, ''),
            proof
        )
    THEN
        RAISE EXCEPTION 'no proof for %', function USING ERRCODE = 'VB003';
    END IF;
END $$;
REVOKE ALL ON FUNCTION vestibule.require_proof(text, text[], bigint, bytea) FROM PUBLIC;
