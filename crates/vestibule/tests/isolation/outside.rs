//! Whoever has the application's login and runs what he likes, with no check of ours in between,
//! still forges no binding and no proof, and reads no row.

use std::fmt::Write as _;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use sqlx::{AssertSqlSafe, ConnectOptions as _, PgConnection, postgres::PgConnectOptions};
use uuid::Uuid;
use vestibule::{
    clock::{Clock as _, SystemClock},
    settings::Tenancy,
};

use crate::{
    hostile::{RUDE, statements},
    ours::Ours,
    place::{KEY, Place},
    storm::name,
};

const VICTIM: usize = 0;

struct World {
    ours: Ours,
    login: PgConnection,
    account: Uuid,
}

impl World {
    /// One account with rows, and a plain connection of the application's login.
    async fn new(tenancy: Tenancy) -> Self {
        let ours = Ours::open(Place::postgres(tenancy, false).await, 2, 2).await;
        ours.write_first_rows().await;
        let options: PgConnectOptions = ours.place.application_url().parse().unwrap();
        Self {
            login: options.connect().await.unwrap(),
            account: ours.id(VICTIM),
            ours,
        }
    }

    /// The texts of a statement in a transaction of its own, with a binding, and the settings of
    /// an honest begin.
    async fn run(&mut self, binding: &str, sql: &str) -> Result<Vec<String>, sqlx::Error> {
        let schema = self.ours.place.schema(self.account);
        let begin = format!(
            "ROLLBACK; RESET ALL; BEGIN; SELECT set_config('vestibule.binding', '{binding}', true),
             set_config('search_path', '{schema}, pg_temp', true)"
        );
        sqlx::raw_sql(AssertSqlSafe(begin))
            .execute(&mut self.login)
            .await?;
        let rows = sqlx::query_as::<_, (Option<String>,)>(AssertSqlSafe(sql))
            .fetch_all(&mut self.login)
            .await?;
        Ok(rows.into_iter().filter_map(|(text,)| text).collect())
    }
}

fn signed(key: [u8; 32], what: &str, message: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
    mac.update(format!("{what}\n{message}").as_bytes());
    let mut text = format!("{message}.");
    for byte in mac.finalize().into_bytes() {
        write!(text, "{byte:02x}").unwrap();
    }
    text
}

async fn only_a_fresh_binding_binds(tenancy: Tenancy) {
    const BINDING: &str = "vestibule binding";
    let mut world = World::new(tenancy).await;
    // Good for a minute more, whatever the time.
    let minute = SystemClock.now().as_millis() / 60_000;
    let account = world.account;
    let good = format!("{account}.{minute}");
    let good = signed(KEY, BINDING, &good);
    let rows = world.run(&good, "SELECT owner FROM rows").await;
    assert_eq!(rows.unwrap(), [name(VICTIM)], "the test can sign");
    let (message, signature) = good.rsplit_once('.').unwrap();
    let other = world.ours.id(1);
    let mut forged = vec![
        String::new(),
        account.to_string(),
        message.to_owned(),
        format!("{message}."),
        format!("{message}.{}", "0".repeat(64)),
        format!("{message}.{}", &signature[..62]),
        format!("{message}.{signature}00"),
        format!("{message}.{}", signature.to_uppercase()),
        format!("{good} "),
        format!(" {good}"),
        format!("{good}.{signature}"),
        format!("{account}.0{minute}.{signature}"),
        format!("{}.{minute}.{signature}", account.simple()),
        signed(KEY, "vestibule proof", &format!("{account}.{minute}")),
        signed([0; 32], BINDING, &format!("{account}.{minute}")),
        signed(KEY, BINDING, &format!("{account}.")),
        signed(KEY, BINDING, &format!("{account}")),
    ];
    // What was copied two minutes ago, and what nobody can have yet.
    for minute in [0, minute - 60, minute - 3, minute - 2, minute + 2] {
        forged.push(signed(KEY, BINDING, &format!("{account}.{minute}")));
    }
    let swapped = signed(KEY, BINDING, &format!("{other}.{minute}"));
    forged.push(swapped.replace(&other.to_string(), &account.to_string()));
    for binding in forged {
        let rows = world.run(&binding, "SELECT owner FROM rows").await;
        assert_eq!(rows.unwrap(), [""; 0], "{binding}");
        let change = "UPDATE rows SET owner = 'account-thief' RETURNING owner";
        let rows = world.run(&binding, change).await;
        assert_eq!(rows.unwrap(), [""; 0], "{binding}");
        let add = format!("INSERT INTO rows (id, owner) VALUES ('{other}', 'account-thief')");
        assert!(world.run(&binding, &add).await.is_err(), "{binding}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_a_fresh_binding_binds_in_row() {
    only_a_fresh_binding_binds(Tenancy::Row).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_a_fresh_binding_binds_in_schema() {
    only_a_fresh_binding_binds(Tenancy::Schema).await;
}

/// What a session's text check would refuse already, and what only a plain connection can try.
const PLAIN: &[&str] = &[
    "CREATE TEMP TABLE t (a int)",
    "CREATE TEMP VIEW v AS SELECT 1",
    "CREATE TABLE t (a int)",
    "CREATE TABLE public.t (a int)",
    "CREATE TABLE vestibule.t (a int)",
    "CREATE SCHEMA mine",
    "CREATE FUNCTION public.f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE EXTENSION pgcrypto",
    "CREATE EXTENSION dblink",
    "CREATE ROLE mine",
    "CREATE DATABASE mine",
    "CREATE POLICY mine ON rows USING (true)",
    "CREATE RULE mine AS ON SELECT TO rows DO ALSO SELECT 1",
    "CREATE TRIGGER mine BEFORE INSERT ON rows EXECUTE FUNCTION suppress_redundant_updates_trigger()",
    "CREATE INDEX ON rows (owner)",
    "CREATE STATISTICS s ON id, owner FROM rows",
    "CREATE PUBLICATION mine FOR ALL TABLES",
    "ALTER TABLE rows DISABLE ROW LEVEL SECURITY",
    "ALTER TABLE rows NO FORCE ROW LEVEL SECURITY",
    "ALTER TABLE rows OWNER TO CURRENT_USER",
    "ALTER FUNCTION vestibule.bound_account() SECURITY INVOKER",
    "ALTER ROLE CURRENT_USER BYPASSRLS",
    "DROP POLICY vestibule_account ON rows",
    "DROP TABLE rows",
    "TRUNCATE rows",
    "TRUNCATE vestibule_tenants.rows",
    "ANALYZE vestibule.users",
    "CLUSTER rows",
    "REINDEX TABLE rows",
    "COMMENT ON TABLE rows IS 'mine'",
    "GRANT ALL ON rows TO PUBLIC",
    "GRANT $OWNER TO CURRENT_USER",
    "SET ROLE $OWNER",
    "SET SESSION AUTHORIZATION $OWNER",
    "SET session_replication_role = replica",
    "LOAD 'auto_explain'",
    "COPY rows TO PROGRAM 'id'",
    "COPY vestibule.binding_keys TO STDOUT",
    "DO $$ BEGIN EXECUTE 'SET ROLE $OWNER'; END $$",
    "LOCK TABLE vestibule.users",
];

async fn nothing_opens(tenancy: Tenancy) {
    let mut world = World::new(tenancy).await;
    let target = world.ours.place.target(world.account).unwrap();
    for sql in PLAIN {
        let sql = sql.replace("$OWNER", &target.owner);
        let outcome = world.run("", &sql).await;
        // These only warn of what they may not do.
        let warns = sql.starts_with("ANALYZE") || sql.starts_with("GRANT ALL");
        assert!(outcome.is_err() || warns, "{sql}: {outcome:?}");
    }
    // All that the sessions' suite tries, without the check of its text.
    for sql in statements(Some(&target)) {
        if sql == RUDE {
            continue;
        }
        for text in world.run("", &sql).await.unwrap_or_default() {
            assert!(!text.contains("account-0"), "{sql}: {text}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_opens_in_row() {
    nothing_opens(Tenancy::Row).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_opens_in_schema() {
    nothing_opens(Tenancy::Schema).await;
}

/// Every relation, by its name; a dump would do no more.
async fn no_relation_shows_anything(tenancy: Tenancy) {
    const ALL: &str = "SELECT format('%I.%I', nspname, relname) FROM pg_class c
        JOIN pg_namespace n ON n.oid = relnamespace
        WHERE relkind IN ('r', 'p', 'v', 'm', 'f', 'S', 't') AND nspname <> 'information_schema'
            AND (nspname <> 'pg_catalog' OR relname ~ 'stat|largeobject|shadow|authid|user_mapping')";
    let mut world = World::new(tenancy).await;
    let relations = world.run("", ALL).await.unwrap();
    let (mut refused, mut empty) = (0, 0);
    for relation in relations {
        let sql = format!("SELECT r::text FROM {relation} r");
        match world.run("", &sql).await {
            Ok(texts) => {
                let ours = !relation.starts_with("pg_catalog.");
                // Which migrations there were is the same for all.
                if ours && relation != "vestibule_tenants.vestibule_migrations" {
                    assert_eq!(texts, [""; 0], "{relation}");
                    empty += 1;
                }
                for text in texts {
                    let shown = text.contains("account-0") || text.contains("tenant_0");
                    assert!(!shown, "{relation}: {text}");
                }
            }
            Err(_) => refused += 1,
        }
    }
    // The directory's tables, and the accounts'.
    assert!(refused > 8 && empty > 4, "{refused} {empty}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_relation_shows_anything_in_row() {
    no_relation_shows_anything(Tenancy::Row).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_relation_shows_anything_in_schema() {
    no_relation_shows_anything(Tenancy::Schema).await;
}

/// Every function of ours, with another account's id and made-up proofs.
async fn no_function_answers(tenancy: Tenancy) {
    const ALL: &str = "SELECT format('%I.%I(%s)', nspname, proname, (
            SELECT string_agg(CASE t::regtype::text
                WHEN 'uuid' THEN quote_literal('$ACCOUNT') || '::uuid'
                WHEN 'bigint' THEN 'floor(extract(epoch FROM clock_timestamp()) / 60)::bigint'
                WHEN 'bytea' THEN 'sha256(''x'')'
                WHEN 'text' THEN quote_literal('tenant_0')
                ELSE 'NULL::' || t::regtype END, ', ' ORDER BY place)
            FROM unnest(proargtypes::oid[]) WITH ORDINALITY AS a (t, place)))
        FROM pg_proc JOIN pg_namespace n ON n.oid = pronamespace
        WHERE nspname NOT IN ('pg_catalog', 'information_schema') AND prokind = 'f'
            AND prorettype <> 'trigger'::regtype";
    let mut world = World::new(tenancy).await;
    let all = ALL.replace("$ACCOUNT", &world.account.to_string());
    let calls = world.run("", &all).await.unwrap();
    let (mut unproven, mut forbidden) = (0, 0);
    for call in calls {
        let sql = format!("SELECT f::text FROM {call} f");
        match world.run("", &sql).await {
            Ok(texts) => {
                if call.starts_with("vestibule.remove_old_activity(") {
                    // Bound to nobody, it removes nothing.
                    assert_eq!(texts, ["0"], "{call}");
                    continue;
                }
                // Whether an account has moved is no secret.
                if !call.starts_with("vestibule.require_unfenced(") {
                    assert!(call.starts_with("vestibule.bound_account("), "{call}");
                    assert_eq!(texts, [""; 0], "{call}");
                }
            }
            Err(error) => match error.as_database_error().and_then(|error| error.code()) {
                Some(code) if code == "VB003" => unproven += 1,
                Some(code) if code == "42501" => forbidden += 1,
                _ => panic!("{call}: {error}"),
            },
        }
    }
    assert!(unproven > 10 && forbidden > 5, "{unproven} {forbidden}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_function_answers_in_row() {
    no_function_answers(Tenancy::Row).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_function_answers_in_schema() {
    no_function_answers(Tenancy::Schema).await;
}
