//! What a tenant session costs beside transactions written by hand with sqlx. All begin in one
//! message, read one row by its key under forced row-level security, and commit; in turns, in one
//! run, with the application's login, each over one connection, all on one thread:
//!
//! - *protected*: what a session sends, statement for statement, on the same table: what the library
//!   itself costs;
//! - *plain*: `BEGIN` and `set_config`, and a policy on `current_setting`;
//! - *clean*: the same, and as a session does it, what an earlier transaction may have left is
//!   cleared (`CLOSE ALL; RESET ALL`, advisory locks).
//!
//! Against these two a session also proves whose it is, to a database that believes nobody, and asks
//! whether the account has moved. That is work of the database, on this machine too; over a network
//! its part is smaller. The last lines are the ratios.
//!
//! `eval "$(scripts/postgres start)"; cargo bench -p vestibule --bench session; scripts/postgres stop`
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "a program for developers"
)]

use std::{
    fmt::Write as _,
    sync::Arc,
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use sqlx::{AssertSqlSafe, PgConnection, PgPool, Postgres, Transaction, postgres::PgPoolOptions};
use uuid::Uuid;
use vestibule::{
    Principal, Settings, Vestibule,
    clock::{Clock as _, SystemClock},
    settings::SettingsReader,
    store::Directory,
    tenancy::TenantSpaces,
};
use vestibule_sandbox::Sandbox;
use vestibule_testbed as testbed;

/// So many transactions at a time, then it is the next one's turn.
const BATCH: usize = 50;
const ROUNDS: usize = 200;

const ACCOUNT: &str = "01890000-0000-7000-8000-000000000000";
const BY_HAND: &str = "
    CREATE TABLE public.notes (
        account_id uuid NOT NULL DEFAULT nullif(current_setting('app.account', true), '')::uuid,
        id uuid NOT NULL, text text NOT NULL, PRIMARY KEY (account_id, id));
    ALTER TABLE public.notes ENABLE ROW LEVEL SECURITY;
    ALTER TABLE public.notes FORCE ROW LEVEL SECURITY;
    CREATE POLICY account ON public.notes
        USING (account_id = nullif(current_setting('app.account', true), '')::uuid)
        WITH CHECK (account_id = nullif(current_setting('app.account', true), '')::uuid);
    GRANT SELECT, INSERT ON public.notes TO ";

// One thread, so that nothing is measured of how threads wake each other.
#[tokio::main(flavor = "current_thread")]
async fn main() {
    let sandbox = Sandbox::builder().start().await.unwrap();
    sandbox.add_demo_world();
    let database = testbed::Postgres::shared().database().await;
    let mut pairs = sandbox.environment();
    pairs.push(("DATABASE_URL", database.application_url()));
    pairs.push(("DATABASE_ADMIN_URL", database.owner_url()));
    pairs.push(("VESTIBULE_BINDING_KEY", STANDARD.encode([7; 32])));
    let settings = Settings::read(SettingsReader::from_pairs(pairs)).unwrap();
    let clock = Arc::new(SystemClock);
    let owner = Directory::migrate(&settings.database, clock.clone())
        .await
        .unwrap();
    let spaces = TenantSpaces::open(&settings.database, &owner, clock).unwrap();
    spaces.prepare().await.unwrap();
    spaces.create_account("Acme", "tenant_acme").await.unwrap();
    let migrations = sqlx::migrate!("tests/postgres/migrations");
    spaces.migrate_tenants(&migrations).await.unwrap();
    let tables = format!("{BY_HAND}{}", database.application());
    sqlx::raw_sql(AssertSqlSafe(tables))
        .execute(&PgPool::connect(&database.owner_url()).await.unwrap())
        .await
        .unwrap();

    let vestibule = Vestibule::builder(settings).build().await.unwrap();
    let token = sandbox.user_token("user_ada").mint();
    let mut headers = http::HeaderMap::new();
    let bearer = format!("Bearer {token}").parse().unwrap();
    headers.insert(http::header::AUTHORIZATION, bearer);
    let principal = vestibule.authenticator().validate_token(&headers).await;
    let principal = principal.unwrap();
    let id = Uuid::now_v7();
    let session = vestibule.get_tenant_session(&principal).unwrap();
    let adding = session.query("INSERT INTO notes (id, text) VALUES ($1, 'a note')");
    adding.bind(id).execute().await.unwrap();
    session.commit().await.unwrap();

    let pool = PgPoolOptions::new()
        .max_connections(1)
        .test_before_acquire(false)
        .connect(&database.application_url())
        .await
        .unwrap();
    let bind = format!("set_config('app.account', '{ACCOUNT}', true)");
    let plain = format!("BEGIN; SELECT {bind}");
    let clean =
        format!("CLOSE ALL; RESET ALL; BEGIN; SELECT {bind}, pg_advisory_unlock_all()::text");
    let protected = protected(principal.account().id);
    let mut transaction = begin(&pool, &plain).await;
    sqlx::query("INSERT INTO public.notes (id, text) VALUES ($1, 'a note')")
        .bind(id)
        .execute(&mut *transaction)
        .await
        .unwrap();
    transaction.commit().await.unwrap();

    let (mut ours, mut protecteds, mut plains, mut cleans) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        ours.push(sessions(&vestibule, &principal, id).await);
        protecteds.push(by_hand(&pool, &protected, "notes", PROTECTED_END, id).await);
        plains.push(by_hand(&pool, &plain, "public.notes", "COMMIT", id).await);
        cleans.push(by_hand(&pool, &clean, "public.notes", "COMMIT", id).await);
    }
    let (ours, protected) = (median(ours), median(protecteds));
    let (plain, clean) = (median(plains), median(cleans));
    println!("tenant session   {ours:>8.1} \u{b5}s");
    println!("by hand, protected {protected:>6.1} \u{b5}s");
    println!("by hand, plain   {plain:>8.1} \u{b5}s");
    println!("by hand, clean   {clean:>8.1} \u{b5}s");
    println!("ratio to protected {:>6.3}", ours / protected);
    println!("ratio to plain   {:>8.3}", ours / plain);
    println!("ratio to clean   {:>8.3}", ours / clean);
    idle(&vestibule, &principal).await;
    vestibule.shutdown().await;
}

async fn sessions(vestibule: &Vestibule, principal: &Principal, id: Uuid) -> Duration {
    let begun = Instant::now();
    for _ in 0..BATCH {
        let session = vestibule.get_tenant_session(principal).unwrap();
        let query = session.query("SELECT text FROM notes WHERE id = $1");
        let _: (String,) = query.bind(id).fetch_one().await.unwrap();
        session.commit().await.unwrap();
    }
    begun.elapsed()
}

/// A session that no statement uses.
async fn idle(vestibule: &Vestibule, principal: &Principal) {
    const TIMES: u32 = 10_000;
    let begun = Instant::now();
    for _ in 0..TIMES {
        let session = vestibule.get_tenant_session(principal).unwrap();
        session.commit().await.unwrap();
    }
    let each = begun.elapsed().as_secs_f64() * 1e6 / f64::from(TIMES);
    println!("without a query  {each:>8.1} \u{b5}s");
}

async fn begin(pool: &PgPool, how: &str) -> Transaction<'static, Postgres> {
    let sql = AssertSqlSafe(how.to_owned());
    pool.begin_with(sql).await.unwrap()
}

/// What a session sends to begin, and to end.
fn protected(account: Uuid) -> String {
    let minute = SystemClock.now().as_secs() / 60;
    let message = format!("{account}.{minute}");
    let mut signature = Hmac::<Sha256>::new_from_slice(&[7; 32]).unwrap();
    signature.update(format!("vestibule binding\n{message}").as_bytes());
    let signature = signature.finalize().into_bytes();
    let binding = signature.iter().fold(message + ".", |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    });
    format!(
        "/*{}*/ CLOSE ALL; RESET ALL; BEGIN; \
         SELECT pg_catalog.set_config('vestibule.binding', '{binding}', true), \
         pg_catalog.set_config('search_path', 'vestibule_tenants, pg_temp', true), \
         pg_catalog.set_config('statement_timeout', '5000', true), \
         vestibule.require_unfenced('{account}'), pg_catalog.pg_backend_pid()",
        "-".repeat(1024)
    )
}

const PROTECTED_END: &str =
    "COMMIT; CLOSE ALL; RESET ALL; SELECT pg_catalog.pg_advisory_unlock_all()";

async fn by_hand(pool: &PgPool, how: &str, table: &str, end: &str, id: Uuid) -> Duration {
    let select = format!("SELECT text FROM {table} WHERE id = $1");
    let begun = Instant::now();
    for _ in 0..BATCH {
        let mut connection = pool.acquire().await.unwrap();
        run(&mut connection, how).await;
        let _: (String,) = sqlx::query_as(AssertSqlSafe(select.clone()))
            .bind(id)
            .fetch_one(&mut *connection)
            .await
            .unwrap();
        run(&mut connection, end).await;
    }
    begun.elapsed()
}

async fn run(connection: &mut PgConnection, sql: &str) {
    let sql = AssertSqlSafe(sql.to_owned());
    sqlx::raw_sql(sql).execute(connection).await.unwrap();
}

/// Microseconds of one transaction.
fn median(mut batches: Vec<Duration>) -> f64 {
    batches.sort();
    let batch = batches[batches.len() / 2];
    batch.as_secs_f64() * 1e6 / f64::from(u32::try_from(BATCH).unwrap())
}
