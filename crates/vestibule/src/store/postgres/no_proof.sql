-- In the tenancy `database` no account's SQL runs here, so nothing has to be proven.
CREATE OR REPLACE FUNCTION vestibule.require_proof(
    function text, arguments text[], minute bigint, proof bytea
) RETURNS void LANGUAGE sql IMMUTABLE AS '';
REVOKE ALL ON FUNCTION vestibule.require_proof(text, text[], bigint, bytea) FROM PUBLIC;
