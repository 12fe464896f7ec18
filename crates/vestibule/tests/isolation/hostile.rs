//! SQL that injected into a session would try to reach another account with.

use uuid::Uuid;

/// Whom the SQL is after, and what it knows: ids, logins and layouts are no secrets.
pub(crate) struct Target {
    pub(crate) account: Uuid,
    pub(crate) owner: String,
    pub(crate) login: String,
    /// The schemas in which its tables lie, in one tenancy or another.
    pub(crate) schemas: Vec<String>,
}

/// What no session runs, on any database, and some that is careless only.
const EVERYWHERE: &[&str] = &[
    "COMMIT",
    "ROLLBACK",
    "BEGIN",
    "/* */ COMMIT",
    "-- x\nEND",
    "-- \rCOMMIT /* \n SELECT 1 */",
    "-- \rCOMMIT; --\nSELECT 1",
    "/* /* */ SELECT 1 */ COMMIT",
    "\u{b}COMMIT",
    "\u{a0}COMMIT",
    "SELECT $$;$$; COMMIT",
    "SELECT $a$ ' $a$; COMMIT; --'",
    "SELECT E'\\'' ; COMMIT; --'",
    "WITH x AS (SELECT 1) COMMIT",
    "ABORT",
    "END",
    "PREPARE TRANSACTION 'x'",
    "SAVEPOINT a",
    "SELECT 1; COMMIT",
    "SELECT 1; SET ROLE postgres",
    "ATTACH '../vestibule.db' AS directory",
    "VACUUM INTO 'stolen.db'",
    "PRAGMA foreign_keys = OFF",
    "PRAGMA writable_schema = ON",
    "CREATE TEMP TABLE rows (id, owner)",
    "DROP TABLE rows",
    "DELETE FROM vestibule_account",
    "UPDATE vestibule_account SET account_id = NULL",
    "SELECT load_extension('x')",
    "SELECT readfile('../vestibule.db')",
    "INSERT OR ROLLBACK INTO keys SELECT key, owner FROM keys",
    "INSERT INTO rows SELECT id, owner FROM rows",
    "SELECT * FROM no_such_table",
    "DETACH main",
    "SET ROLE postgres",
    "RESET ALL",
    "RESET ROLE",
    "SET SESSION AUTHORIZATION DEFAULT",
    "SET LOCAL search_path TO public",
    "DISCARD ALL",
    "LISTEN vestibule_changes",
    "DEALLOCATE ALL",
    "PREPARE sqlx_s_1 AS SELECT 1",
    "DECLARE c CURSOR WITH HOLD FOR SELECT 1",
    "DO $$ BEGIN COMMIT; END $$",
    "COPY rows TO PROGRAM 'id'",
    "COPY rows TO STDOUT",
    "EXPLAIN ANALYZE SELECT 1",
    "TRUNCATE rows",
    "LOCK TABLE rows",
    "CALL x()",
    "",
];

/// What a session's SQL does to settings; `is_local` is left open.
const SETTINGS: &[(&str, &str)] = &[
    ("role", "$OWNER"),
    ("role", "postgres"),
    ("role", "none"),
    ("role", "pg_read_all_data"),
    ("session_authorization", "$OWNER"),
    ("session_authorization", "default"),
    ("row_security", "off"),
    ("session_replication_role", "replica"),
    ("statement_timeout", "0"),
    ("lock_timeout", "1"),
    ("default_transaction_read_only", "on"),
    ("transaction_read_only", "on"),
    ("default_transaction_isolation", "serializable"),
    ("default_transaction_deferrable", "on"),
    ("search_path", "public"),
    ("search_path", "vestibule"),
    ("search_path", "pg_temp"),
    ("search_path", ""),
    ("client_encoding", "SQL_ASCII"),
    ("TimeZone", "Pacific/Auckland"),
    ("DateStyle", "German"),
    ("standard_conforming_strings", "off"),
    ("bytea_output", "escape"),
    ("application_name", "somebody else"),
    ("vestibule.direct", "no"),
    ("vestibule.account_id", "$ACCOUNT"),
    ("local_preload_libraries", "x"),
    ("session_preload_libraries", "x"),
    ("dynamic_library_path", "/tmp"),
    ("lo_compat_privileges", "on"),
    ("allow_system_table_mods", "on"),
    ("log_statement", "all"),
    ("track_activity_query_size", "1048576"),
    ("plan_cache_mode", "force_generic_plan"),
    ("default_table_access_method", "x"),
    ("check_function_bodies", "off"),
];

/// Statements on each of the schemas in which the target's tables may lie.
const ON_TABLES: &[&str] = &[
    "SELECT set_config('search_path', '$SCHEMA', true)",
    "SELECT set_config('search_path', '$SCHEMA', false)",
    "SELECT owner FROM $SCHEMA.rows",
    "SELECT r::text FROM $SCHEMA.rows r WHERE true",
    "SELECT r::text FROM $SCHEMA.keys r FOR UPDATE",
    "WITH s AS (SELECT set_config('search_path', '$SCHEMA', true)) \
     SELECT owner FROM s, $SCHEMA.rows",
    "SELECT owner FROM (SELECT set_config('vestibule.binding', '$ACCOUNT.1.00', true)) s, \
     $SCHEMA.rows",
    "INSERT INTO $SCHEMA.rows (id, owner) SELECT '$ACCOUNT', 'account-thief' \
     FROM set_config('vestibule.binding', '', true)",
    "UPDATE $SCHEMA.rows SET owner = 'account-thief' \
     FROM set_config('vestibule.binding', '', true)",
    "DELETE FROM $SCHEMA.rows USING set_config('vestibule.binding', '', true)",
    "WITH d AS (DELETE FROM $SCHEMA.rows RETURNING owner) \
     SELECT owner FROM d, set_config('vestibule.binding', '', true)",
    "INSERT INTO $SCHEMA.refs (id, target) SELECT gen_random_uuid(), '$ACCOUNT'",
    "SELECT query_to_xml('SELECT * FROM $SCHEMA.rows', true, true, '')::text",
    "SELECT table_to_xml('$SCHEMA.rows', true, true, '')::text",
    "SELECT schema_to_xml('$SCHEMA', true, true, '')::text",
    "SELECT cursor_to_xml('c', 10, true, true, '')::text",
    "SELECT s::text FROM ts_stat('SELECT to_tsvector(owner) FROM $SCHEMA.rows') s",
    "SELECT ts_rewrite('a'::tsquery, \
     'SELECT to_tsquery(''a''), to_tsquery(owner) FROM $SCHEMA.rows')::text",
    "SELECT s::text FROM pg_stats s WHERE schemaname = '$SCHEMA'",
    "SELECT pg_get_expr(adbin, adrelid) FROM pg_attrdef",
    "SELECT owner INTO stolen FROM $SCHEMA.rows",
    "SELECT owner INTO pg_temp.stolen FROM $SCHEMA.rows",
    "SELECT owner INTO TEMP stolen FROM $SCHEMA.rows",
];

/// Statements that a function could run for the session, or that are tried as they are.
const INSIDE: &[&str] = &[
    "COMMIT",
    "ROLLBACK",
    "SET ROLE $OWNER",
    "RESET ALL",
    "SET row_security = off",
    "EXPLAIN SELECT * FROM rows",
    "LISTEN x",
    "DISCARD ALL",
    "DEALLOCATE ALL",
    "CREATE TEMP TABLE t (a int)",
    "UPDATE rows SET id = id",
    "COPY rows TO PROGRAM 'id'",
    "SELECT * FROM vestibule.users",
];

/// Everything else.
const OTHERS: &[&str] = &[
    "SELECT set_config('vestibule.binding', '$ACCOUNT', true)",
    "SELECT set_config('vestibule.binding', '$ACCOUNT', false)",
    "SELECT set_config('vestibule.binding', '', true)",
    "SELECT set_config('vestibule.binding', '', false)",
    "SELECT set_config('vestibule.binding', NULL, true)",
    "SELECT set_config('vestibule.binding', '$ACCOUNT.' || floor(extract(epoch FROM now()) / 60) \
     || '.' || repeat('0', 64), true)",
    "SELECT set_config('vestibule.binding', '$ACCOUNT.' || floor(extract(epoch FROM now()) / 60) \
     || '.' || repeat('0', 64), false)",
    // His own minute and signature, with another's name on them.
    "SELECT set_config('vestibule.binding', \
     '$ACCOUNT' || substr(current_setting('vestibule.binding', true), 37), true)",
    "SELECT set_config('vestibule.binding', \
     '$ACCOUNT' || substr(current_setting('vestibule.binding', true), 37), false)",
    "SELECT set_config('vestibule.binding', \
     current_setting('vestibule.binding', true) || E'\\n$ACCOUNT', true)",
    // His own binding, to stay behind for the next.
    "SELECT length(set_config('vestibule.binding', \
     current_setting('vestibule.binding', true), false))::text",
    "SELECT vestibule.bound_account()::text FROM set_config('vestibule.binding', '$ACCOUNT', true)",
    "INSERT INTO rows (account_id, id, owner) VALUES ('$ACCOUNT', '$ACCOUNT', 'account-thief')",
    "INSERT INTO keys (account_id, key, owner) VALUES ('$ACCOUNT', 1, 'account-thief') \
     ON CONFLICT (key) DO UPDATE SET owner = 'account-thief'",
    "INSERT INTO keys (key, owner) SELECT key, owner FROM keys WHERE true \
     ON CONFLICT (key) DO UPDATE SET account_id = '$ACCOUNT'",
    "UPDATE rows SET account_id = '$ACCOUNT'",
    "UPDATE keys SET account_id = '$ACCOUNT', owner = 'account-thief'",
    "UPDATE rows SET owner = 'account-thief' WHERE account_id = '$ACCOUNT'",
    "DELETE FROM rows WHERE account_id = '$ACCOUNT'",
    "SELECT owner FROM rows WHERE account_id = '$ACCOUNT'",
    "INSERT INTO refs (account_id, id, target) \
     SELECT '$ACCOUNT', gen_random_uuid(), id FROM rows",
    "SELECT owner FROM U&\"vestibule\\005Ftenants\".rows WHERE account_id = '$ACCOUNT'",
    "DELETE FROM U&\"vestibule\\005Factivity\"",
    "SELECT u::text FROM vestibule.users u",
    "SELECT a::text FROM vestibule.accounts a",
    "SELECT k::text FROM vestibule.binding_keys k",
    "SELECT f::text FROM vestibule.fences f",
    "DELETE FROM vestibule.fences",
    "INSERT INTO vestibule.fences VALUES ('$ACCOUNT', 'x')",
    "SELECT vestibule.is_signed('x', '\\x00')::text",
    "SELECT vestibule.secure_rows('rows', '$LOGIN')::text",
    "SELECT vestibule.open_rows('rows')::text",
    "SELECT r::text FROM public.rows r",
    "SELECT c.relname FROM pg_class c WHERE relkind = 'r'",
    "SELECT passwd FROM pg_shadow",
    "SELECT rolpassword FROM pg_authid",
    "SELECT l::text FROM pg_largeobject l",
    "SELECT s::text FROM pg_statistic s",
    "SELECT s::text FROM pg_stats s",
    "SELECT s::text FROM pg_stats_ext s",
    "SELECT query FROM pg_stat_activity",
    "SELECT statement FROM pg_prepared_statements",
    "SELECT statement FROM pg_cursors",
    "SELECT query_to_xml('SELECT query FROM pg_stat_activity', true, true, '')::text",
    "SELECT database_to_xmlschema(true, true, '')::text",
    "SELECT pg_advisory_lock(1)::text",
    "SELECT pg_advisory_lock_shared(2)::text",
    "SELECT pg_try_advisory_lock(7012850, 0)::text",
    "SELECT pg_advisory_unlock_all()::text",
    "SELECT pg_notify('vestibule' || '_changes', '')::text",
    "SELECT pg_export_snapshot()",
    "SELECT lo_create(0)::text",
    "SELECT lo_import('/etc/passwd')::text",
    "SELECT lo_export(1, '/tmp/stolen')::text",
    "SELECT pg_read_file('postgresql.conf')",
    "SELECT pg_ls_dir('.')",
    "SELECT pg_reload_conf()::text",
    "SELECT pg_stat_reset()::text",
    "SELECT pg_logical_emit_message(false, 'a', 'b')::text",
    "SELECT pg_create_logical_replication_slot('a', 'test_decoding')::text",
    "SELECT dblink('dbname=postgres', 'SELECT 1')::text",
    "SELECT txid_current()::text",
    "SELECT pg_sleep(0.001)::text",
    "SELECT 1 / 0",
    "SELECT pg_cancel_backend(pid)::text FROM pg_stat_activity \
     WHERE pid <> pg_backend_pid() AND usename = current_user AND random() < 0.2",
];

/// Kills every other connection of the login: rude, and no way to anybody's rows.
pub(crate) const RUDE: &str = "SELECT pg_terminate_backend(pid)::text FROM pg_stat_activity \
    WHERE pid <> pg_backend_pid() AND usename = current_user";

/// All of it against one target.
pub(crate) fn statements(target: Option<&Target>) -> Vec<String> {
    let mut all: Vec<String> = EVERYWHERE.iter().map(|sql| (*sql).to_owned()).collect();
    let Some(target) = target else {
        return all;
    };
    let mut add = |sql: &str| {
        all.push(
            sql.replace("$ACCOUNT", &target.account.to_string())
                .replace("$OWNER", &target.owner)
                .replace("$LOGIN", &target.login),
        );
    };
    for (name, value) in SETTINGS {
        for local in [true, false] {
            add(&format!("SELECT set_config('{name}', '{value}', {local})"));
        }
    }
    for sql in ON_TABLES {
        for schema in &target.schemas {
            add(&sql.replace("$SCHEMA", schema));
        }
    }
    for sql in INSIDE {
        add(sql);
        let quoted = sql.replace('\'', "''");
        add(&format!(
            "SELECT query_to_xml('{quoted}', true, true, '')::text"
        ));
        add(&format!(
            "SELECT query_to_xmlschema('{quoted}', true, true, '')::text"
        ));
        add(&format!("SELECT s::text FROM ts_stat('{quoted}') s"));
    }
    for sql in OTHERS {
        add(sql);
    }
    add(RUDE);
    all
}
