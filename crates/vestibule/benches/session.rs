//! What a tenant session costs beside transactions written by hand with sqlx. All read one row by its
//! key under forced row-level security and commit; in turns, in one run, with the application's login,
//! each over one connection, all on one thread:
//!
//! - *usual*: as sqlx is mostly used: `pool.begin()`, `set_config` with the account as its parameter,
//!   the query, `commit()`, on a pool with sqlx's own settings;
//! - *protected*: what a session sends, statement for statement, on the same table: what the library
//!   itself costs;
//! - *batch*: `BEGIN` and `set_config` in one message, and a policy on `current_setting`: as little as
//!   the database can do;
//! - *clean*: the same, and as a session does it, what an earlier transaction may have left is
//!   cleared (`CLOSE ALL; RESET ALL`, advisory locks).
//!
//! Against the last two a session also proves whose it is, to a database that believes nobody, and
//! asks whether the account has moved. That is work of the database, on this machine too. The second
//! table is over a line that takes its time, as a network does; there round trips count.
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
use vestibule_testbed::{self as testbed, Link};

/// So many transactions at a time, then it is the next one's turn.
const BATCH: u32 = 50;
const ROUNDS: usize = 200;
const BATCH_ON_LINE: u32 = 10;
const ROUNDS_ON_LINE: usize = 20;

/// What the line takes in one direction, and the clock of its delays adds to.
const DELAY: Duration = Duration::from_micros(500);

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
    let settings = Settings::read(SettingsReader::from_pairs(pairs.clone())).unwrap();
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

    let id = Uuid::now_v7();
    println!("on this machine");
    let here = World::open(
        settings.clone(),
        &sandbox,
        &database.application_url(),
        id,
        "on this machine",
    )
    .await;
    here.add_notes().await;
    here.compare(ROUNDS, BATCH).await;
    here.idle().await;
    here.vestibule.shutdown().await;

    let line = Link::to(database.server().address());
    let url = database.through(line.address()).application_url();
    pairs.retain(|(name, _)| *name != "DATABASE_URL");
    pairs.push(("DATABASE_URL", url.clone()));
    let settings = Settings::read(SettingsReader::from_pairs(pairs)).unwrap();
    let there = World::open(settings, &sandbox, &url, id, "over a slow line").await;
    line.slow(DELAY);
    println!(
        "over a line with a round trip of {:.1} \u{b5}s",
        there.round_trip().await
    );
    there.compare(ROUNDS_ON_LINE, BATCH_ON_LINE).await;
    there.vestibule.shutdown().await;
}

/// One application's way to the database, and what is compared there.
struct World {
    vestibule: Vestibule,
    principal: Principal,
    pool: PgPool,
    usual: PgPool,
    id: Uuid,
    place: &'static str,
}

impl World {
    async fn open(
        settings: Settings,
        sandbox: &Sandbox,
        url: &str,
        id: Uuid,
        place: &'static str,
    ) -> Self {
        let vestibule = Vestibule::builder(settings).build().await.unwrap();
        let token = sandbox.user_token("user_ada").mint();
        let mut headers = http::HeaderMap::new();
        let bearer = format!("Bearer {token}").parse().unwrap();
        headers.insert(http::header::AUTHORIZATION, bearer);
        let principal = vestibule.authenticator().validate_token(&headers).await;
        let one = PgPoolOptions::new().max_connections(1);
        Self {
            vestibule,
            principal: principal.unwrap(),
            pool: one
                .clone()
                .test_before_acquire(false)
                .connect(url)
                .await
                .unwrap(),
            usual: one.connect(url).await.unwrap(),
            id,
            place,
        }
    }

    async fn add_notes(&self) {
        let session = self.vestibule.get_tenant_session(&self.principal).unwrap();
        let adding = session.query("INSERT INTO notes (id, text) VALUES ($1, 'a note')");
        adding.bind(self.id).execute().await.unwrap();
        session.commit().await.unwrap();
        let mut transaction = self.usual.begin().await.unwrap();
        bind(&mut transaction).await;
        sqlx::query("INSERT INTO public.notes (id, text) VALUES ($1, 'a note')")
            .bind(self.id)
            .execute(&mut *transaction)
            .await
            .unwrap();
        transaction.commit().await.unwrap();
    }

    async fn compare(&self, rounds: usize, batch: u32) {
        let bind = format!("set_config('app.account', '{ACCOUNT}', true)");
        let plain = format!("BEGIN; SELECT {bind}");
        let clean =
            format!("CLOSE ALL; RESET ALL; BEGIN; SELECT {bind}, pg_advisory_unlock_all()::text");
        let protected = protected(self.principal.account().id);
        let mut times: [Vec<Duration>; 5] = Default::default();
        for _ in 0..rounds {
            let one_round = [
                self.sessions(batch).await,
                self.usual(batch).await,
                self.by_hand(&protected, "notes", PROTECTED_END, batch)
                    .await,
                self.by_hand(&plain, "public.notes", "COMMIT", batch).await,
                self.by_hand(&clean, "public.notes", "COMMIT", batch).await,
            ];
            for (all, one) in times.iter_mut().zip(one_round) {
                all.push(one);
            }
        }
        let each = times.map(|all| median(all, batch));
        let names = ["tenant session", "usual", "protected", "batch", "clean"];
        for (name, time) in names.iter().zip(each) {
            let ratio = each[0] / time;
            println!("  {name:<15}{time:>9.1} \u{b5}s  the session is {ratio:.3} of it");
            println!(
                "bench: {{\"name\": \"{name}, {}\", \"median_ns\": {:.0}, \"the_session_is\": {ratio:.3}}}",
                self.place,
                time * 1e3
            );
        }
    }

    async fn sessions(&self, batch: u32) -> Duration {
        let begun = Instant::now();
        for _ in 0..batch {
            let session = self.vestibule.get_tenant_session(&self.principal).unwrap();
            let query = session.query("SELECT text FROM notes WHERE id = $1");
            let _: (String,) = query.bind(self.id).fetch_one().await.unwrap();
            session.commit().await.unwrap();
        }
        begun.elapsed()
    }

    async fn usual(&self, batch: u32) -> Duration {
        let begun = Instant::now();
        for _ in 0..batch {
            let mut transaction = self.usual.begin().await.unwrap();
            bind(&mut transaction).await;
            let _: (String,) = sqlx::query_as("SELECT text FROM public.notes WHERE id = $1")
                .bind(self.id)
                .fetch_one(&mut *transaction)
                .await
                .unwrap();
            transaction.commit().await.unwrap();
        }
        begun.elapsed()
    }

    async fn by_hand(&self, how: &str, table: &str, end: &str, batch: u32) -> Duration {
        let select = format!("SELECT text FROM {table} WHERE id = $1");
        let begun = Instant::now();
        for _ in 0..batch {
            let mut connection = self.pool.acquire().await.unwrap();
            run(&mut connection, how).await;
            let _: (String,) = sqlx::query_as(AssertSqlSafe(select.clone()))
                .bind(self.id)
                .fetch_one(&mut *connection)
                .await
                .unwrap();
            run(&mut connection, end).await;
        }
        begun.elapsed()
    }

    /// A session that no statement uses.
    async fn idle(&self) {
        const TIMES: u32 = 10_000;
        let begun = Instant::now();
        for _ in 0..TIMES {
            let session = self.vestibule.get_tenant_session(&self.principal).unwrap();
            session.commit().await.unwrap();
        }
        println!(
            "  without a query {:>8.1} \u{b5}s",
            each(begun.elapsed(), TIMES)
        );
    }

    /// Microseconds of the smallest question.
    async fn round_trip(&self) -> f64 {
        let mut connection = self.pool.acquire().await.unwrap();
        let begun = Instant::now();
        for _ in 0..BATCH_ON_LINE {
            run(&mut connection, "SELECT 1").await;
        }
        each(begun.elapsed(), BATCH_ON_LINE)
    }
}

async fn bind(transaction: &mut Transaction<'static, Postgres>) {
    sqlx::query("SELECT set_config('app.account', $1, true)")
        .bind(ACCOUNT)
        .execute(&mut **transaction)
        .await
        .unwrap();
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

async fn run(connection: &mut PgConnection, sql: &str) {
    let sql = AssertSqlSafe(sql.to_owned());
    sqlx::raw_sql(sql).execute(connection).await.unwrap();
}

/// Microseconds of one transaction.
fn median(mut batches: Vec<Duration>, batch: u32) -> f64 {
    batches.sort();
    each(batches[batches.len() / 2], batch)
}

fn each(all: Duration, times: u32) -> f64 {
    all.as_secs_f64() * 1e6 / f64::from(times)
}
