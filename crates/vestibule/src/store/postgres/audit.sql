-- What the application's login can see of its own dangers. One statement, no change.
-- $1: the operations of the directory; $2: connections that this process may open;
-- $3: DATABASE_TIMEOUT in milliseconds.
WITH me AS (
    SELECT * FROM pg_catalog.pg_roles WHERE rolname = current_user
), space AS (
    SELECT n.oid, n.nspname FROM pg_catalog.pg_namespace n
    WHERE n.nspname IN ('vestibule', 'vestibule_tenants', 'tenant')
), relation AS (
    -- pg_depend has an index that leads with the schema.
    SELECT c.oid, s.nspname, c.relname FROM space s
    JOIN pg_catalog.pg_depend d ON d.refclassid = 'pg_catalog.pg_namespace'::regclass
        AND d.refobjid = s.oid AND d.classid = 'pg_catalog.pg_class'::regclass
    JOIN pg_catalog.pg_class c ON c.oid = d.objid AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
), function AS (
    SELECT p.oid, p.proname, p.prosecdef FROM pg_catalog.pg_proc p
    JOIN space s ON s.oid = p.pronamespace
    -- A trigger's function cannot be called.
    WHERE s.nspname = 'vestibule' AND p.prorettype <> 'pg_catalog.trigger'::regtype
)
SELECT 'superuser' AS finding, pg_catalog.format('%I is a superuser', rolname) AS detail
FROM me WHERE rolsuper
UNION ALL
SELECT 'server_version', 'the server is PostgreSQL ' || pg_catalog.current_setting('server_version')
WHERE pg_catalog.current_setting('server_version_num')::int < 140000
UNION ALL
SELECT 'encoding', 'the database is encoded in ' || pg_catalog.current_setting('server_encoding')
WHERE pg_catalog.current_setting('server_encoding') <> 'UTF8'
UNION ALL
SELECT 'login_settings', pg_catalog.string_agg(s.name || ' = ' || s.setting, ', ' ORDER BY s.name)
FROM pg_catalog.pg_settings s
WHERE s.name = 'default_transaction_read_only' AND s.setting = 'on'
    OR s.name IN ('row_security', 'standard_conforming_strings') AND s.setting = 'off'
    OR s.name IN ('statement_timeout', 'lock_timeout', 'transaction_timeout',
            'idle_in_transaction_session_timeout')
        AND CASE WHEN s.vartype = 'integer' THEN s.setting::bigint BETWEEN 1 AND $3::bigint - 1 END
    OR s.name = 'idle_session_timeout'
        AND CASE WHEN s.vartype = 'integer' THEN s.setting::bigint BETWEEN 1 AND 59999 END
HAVING pg_catalog.count(*) > 0
UNION ALL
SELECT 'connections', pg_catalog.format('%s connections may be opened, of which %s are wanted', found.most, $2::int)
FROM (
    SELECT LEAST(
        pg_catalog.current_setting('max_connections')::int
            - pg_catalog.current_setting('superuser_reserved_connections')::int,
        (SELECT NULLIF(rolconnlimit, -1) FROM me),
        (SELECT NULLIF(datconnlimit, -1) FROM pg_catalog.pg_database
         WHERE datname = current_database())
    ) AS most
) found WHERE found.most < $2::int
UNION ALL
-- A superuser may all of what follows.
SELECT f.finding, f.detail FROM me CROSS JOIN LATERAL (
    SELECT 'superuser' AS finding,
        pg_catalog.format('%I may become %I, a superuser', me.rolname, r.rolname) AS detail
    FROM pg_catalog.pg_roles r
    WHERE r.rolsuper AND pg_catalog.pg_has_role(me.oid, r.oid, 'MEMBER')
    UNION ALL
    SELECT 'bypass_rls', pg_catalog.format('%I has BYPASSRLS', r.rolname)
    FROM pg_catalog.pg_roles r
    WHERE r.rolbypassrls AND NOT r.rolsuper AND pg_catalog.pg_has_role(me.oid, r.oid, 'MEMBER')
    UNION ALL
    SELECT 'create_role', pg_catalog.format('%I has CREATEROLE', r.rolname)
    FROM pg_catalog.pg_roles r
    WHERE r.rolcreaterole AND NOT r.rolsuper AND pg_catalog.pg_has_role(me.oid, r.oid, 'MEMBER')
    UNION ALL
    -- A role that the login may take on reads changes through functions.
    SELECT 'replication', pg_catalog.format('%I has REPLICATION', r.rolname)
    FROM pg_catalog.pg_roles r
    WHERE r.rolreplication AND NOT r.rolsuper AND pg_catalog.pg_has_role(me.oid, r.oid, 'MEMBER')
    UNION ALL
    SELECT 'privileged_role',
        pg_catalog.format('%I is a member of %I', me.rolname, r.rolname)
    FROM pg_catalog.pg_roles r
    WHERE r.rolname IN ('pg_read_all_data', 'pg_write_all_data', 'pg_execute_server_program',
            'pg_read_server_files', 'pg_write_server_files', 'pg_monitor', 'pg_read_all_stats',
            'pg_signal_backend', 'pg_maintain', 'pg_create_subscription', 'pg_checkpoint')
      AND pg_catalog.pg_has_role(me.oid, r.oid, 'MEMBER')
    UNION ALL
    SELECT 'login_owns', pg_catalog.format('%I owns %s', me.rolname, pg_catalog.string_agg(o.name, ', '))
    FROM (
        SELECT pg_catalog.pg_describe_object(d.classid, d.objid, d.objsubid) AS name
        FROM pg_catalog.pg_shdepend d
        WHERE d.refclassid = 'pg_catalog.pg_authid'::regclass AND d.refobjid = me.oid
          AND d.deptype = 'o'
          AND d.dbid = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())
        UNION ALL
        SELECT 'the database' FROM pg_catalog.pg_database b
        WHERE b.datname = current_database() AND b.datdba = me.oid
        LIMIT 5
    ) o HAVING pg_catalog.count(*) > 0
    UNION ALL
    SELECT 'member_of_owner', pg_catalog.format('%I is a member of %I, which owns the tables',
        me.rolname, n.nspowner::regrole)
    FROM pg_catalog.pg_namespace n JOIN space s ON s.oid = n.oid
    WHERE n.nspowner <> me.oid AND pg_catalog.pg_has_role(me.oid, n.nspowner, 'MEMBER')
    GROUP BY n.nspowner
    UNION ALL
    SELECT 'create_in_database', pg_catalog.format('%I may make schemas in the database', me.rolname)
    WHERE pg_catalog.has_database_privilege(me.oid, current_database(), 'CREATE')
    UNION ALL
    SELECT 'temporary_tables',
        pg_catalog.format('%I may make temporary tables in the database', me.rolname)
    WHERE pg_catalog.has_database_privilege(me.oid, current_database(), 'TEMPORARY')
    UNION ALL
    SELECT 'create_in_schema', pg_catalog.format('%I may make objects in the schema %s',
        me.rolname, pg_catalog.string_agg(c.name, ', '))
    FROM (
        SELECT pg_catalog.quote_ident(n.nspname) AS name FROM pg_catalog.pg_namespace n
        WHERE n.nspname !~ '^pg_(temp|toast)_'
          AND pg_catalog.has_schema_privilege(me.oid, n.oid, 'CREATE')
        LIMIT 5
    ) c HAVING pg_catalog.count(*) > 0
    UNION ALL
    SELECT 'table_rights', pg_catalog.format('%I may TRUNCATE, REFERENCE or attach a TRIGGER to %s',
        me.rolname, pg_catalog.string_agg(r.nspname || '.' || r.relname, ', '))
    FROM (
        SELECT * FROM relation r
        WHERE pg_catalog.has_table_privilege(me.oid, r.oid, 'TRUNCATE, TRIGGER')
           OR pg_catalog.has_any_column_privilege(me.oid, r.oid, 'REFERENCES')
        LIMIT 5
    ) r HAVING pg_catalog.count(*) > 0
    UNION ALL
    SELECT 'activity_rights', pg_catalog.format('%I may change what stands in %s',
        me.rolname, pg_catalog.string_agg(r.nspname || '.' || r.relname, ', '))
    FROM relation r
    WHERE r.relname = 'vestibule_activity'
      AND (pg_catalog.has_any_column_privilege(me.oid, r.oid, 'INSERT, UPDATE')
        OR pg_catalog.has_table_privilege(me.oid, r.oid, 'DELETE'))
    HAVING pg_catalog.count(*) > 0
    UNION ALL
    SELECT 'directory_tables', pg_catalog.format('%I has rights on the tables %s themselves',
        me.rolname, pg_catalog.string_agg(r.nspname || '.' || r.relname, ', '))
    FROM (
        SELECT * FROM relation r
        WHERE r.nspname = 'vestibule'
          AND (pg_catalog.has_any_column_privilege(me.oid, r.oid, 'SELECT, INSERT, UPDATE')
            OR pg_catalog.has_table_privilege(me.oid, r.oid, 'DELETE'))
        LIMIT 5
    ) r HAVING pg_catalog.count(*) > 0
    UNION ALL
    SELECT 'directory_functions', pg_catalog.format('%I may call vestibule.%s, which is no operation',
        me.rolname, pg_catalog.string_agg(f.proname, ', vestibule.'))
    FROM (
        SELECT f.proname FROM function f
        WHERE NOT (f.prosecdef AND f.proname = ANY ($1::text[] || '{bound_account,require_unfenced,remove_old_activity,note_activity}'::text[]))
          AND pg_catalog.has_function_privilege(me.oid, f.oid, 'EXECUTE')
        LIMIT 5
    ) f HAVING pg_catalog.count(*) > 0
) f WHERE NOT me.rolsuper
