//! What a tenant session costs beside a transaction written by hand with sqlx: both begin, read
//! one row by its key and commit, in turns, in one run. The last line is the ratio.
//!
//! `eval "$(scripts/postgres start)"; cargo bench -p vestibule --bench session; scripts/postgres stop`
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "a program for developers"
)]

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use sqlx::{PgPool, postgres::PgPoolOptions};
use uuid::Uuid;
use vestibule::{
    Principal, Settings, Vestibule, clock::SystemClock, settings::SettingsReader, store::Directory,
    tenancy::TenantSpaces,
};
use vestibule_sandbox::Sandbox;
use vestibule_testbed::Postgres;

/// So many transactions at a time, then it is the other's turn.
const BATCH: usize = 200;
const ROUNDS: usize = 40;

#[tokio::main]
async fn main() {
    let sandbox = Sandbox::builder().start().await.unwrap();
    sandbox.add_demo_world();
    let database = Postgres::shared().database().await;
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
    sqlx::raw_sql("CREATE TABLE public.notes (id uuid PRIMARY KEY, text text NOT NULL)")
        .execute(&PgPool::connect(&database.superuser_url()).await.unwrap())
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
        .connect(&database.superuser_url())
        .await
        .unwrap();
    sqlx::query("INSERT INTO public.notes (id, text) VALUES ($1, 'a note')")
        .bind(id)
        .execute(&pool)
        .await
        .unwrap();

    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        ours.push(sessions(&vestibule, &principal, id).await);
        theirs.push(by_hand(&pool, id).await);
    }
    let (ours, theirs) = (median(ours), median(theirs));
    println!("tenant session  {ours:>8.1} \u{b5}s");
    println!("by hand (sqlx)  {theirs:>8.1} \u{b5}s");
    println!("ratio           {:>8.3}", ours / theirs);
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

async fn by_hand(pool: &PgPool, id: Uuid) -> Duration {
    let begun = Instant::now();
    for _ in 0..BATCH {
        let mut transaction = pool.begin().await.unwrap();
        sqlx::query("SELECT set_config('app.account', $1, true)")
            .bind("01890000-0000-7000-8000-000000000000")
            .execute(&mut *transaction)
            .await
            .unwrap();
        let _: (String,) = sqlx::query_as("SELECT text FROM public.notes WHERE id = $1")
            .bind(id)
            .fetch_one(&mut *transaction)
            .await
            .unwrap();
        transaction.commit().await.unwrap();
    }
    begun.elapsed()
}

/// Microseconds of one transaction.
fn median(mut batches: Vec<Duration>) -> f64 {
    batches.sort();
    let batch = batches[batches.len() / 2];
    batch.as_secs_f64() * 1e6 / f64::from(u32::try_from(BATCH).unwrap())
}
