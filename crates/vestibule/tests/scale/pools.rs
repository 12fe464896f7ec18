//! One budget of connections for everything that a process does on PostgreSQL: all accounts, all
//! databases, all clusters.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::{StreamExt as _, stream};
use sqlx::AssertSqlSafe;
use vestibule_testbed::Postgres;

use crate::{
    server::{Lookout, Server, connections, superuser_of, tenant},
    world::{World, full_size},
};

const POOL: i64 = 6;
/// Of these, one listens for changes and two are the directory's.
const SESSIONS: usize = 3;
/// Requests of a load, at least: `SCALE_REQUESTS`.
const REQUESTS: usize = 120;
/// Requests that are there at the same time.
const AT_ONCE: usize = 32;

impl World {
    async fn pooled(tenancy: &str) -> Self {
        let mut world = Self::on(&Postgres::shared(), tenancy).await;
        world.pairs.push(("DATABASE_POOL_SIZE", POOL.to_string()));
        world.pairs.push(("DATABASE_TIMEOUT", "30".to_owned()));
        world
    }

    /// Accounts, some on another cluster where there is one, each with a person and a table.
    async fn populate(&self, accounts: usize, other: Option<&str>) {
        let (owner, spaces) = self.owned().await;
        let migrations = sqlx::migrate!("tests/scale/notes");
        spaces.migrate_tenants(&migrations).await.unwrap();
        for number in 0..accounts {
            self.add_person(number);
            let on = other.filter(|_| number % 2 == 1);
            let tenant = tenant(number);
            let created = spaces.create_account_on(on, "One", &tenant);
            created.await.unwrap();
        }
        spaces.close().await;
        owner.close().await;
    }

    /// PostgreSQL itself lets the login have no more connections.
    async fn limit_login(&self) {
        let login = self.database().application();
        let limit = format!("ALTER ROLE {login} CONNECTION LIMIT {POOL}");
        sqlx::raw_sql(AssertSqlSafe(limit))
            .execute(&mut self.superuser().await)
            .await
            .unwrap();
    }

    fn login(&self) -> String {
        self.database().application()
    }
}

/// Requests of all accounts, of which some are broken off while the database works.
async fn load(world: &World, server: &Server, accounts: usize, requests: usize) {
    let unwell = AtomicUsize::new(0);
    stream::iter(0..requests)
        .for_each_concurrent(AT_ONCE, async |number| {
            let token = world.token(number * 7 % accounts);
            if number % 30 == 0 {
                let patience = Duration::from_millis(300);
                server.get_and_leave("/hold/20000", &token, patience).await;
                return;
            }
            let path = ["/notes", "/people", "/hold/40"][number % 3];
            if !server.get(path, &token).await.is_success() {
                unwell.fetch_add(1, Ordering::Relaxed);
            }
        })
        .await;
    assert_eq!(unwell.into_inner(), 0);
}

async fn stays_within_the_budget(tenancy: &str, accounts: usize) {
    let world = World::pooled(tenancy).await;
    world.populate(accounts, None).await;
    world.limit_login().await;
    let lookout = Lookout::over(vec![(world.superuser().await, world.login())]);
    let server = Server::start(&world).await;
    let begun = Instant::now();
    // A database of its own costs a connection at every change of accounts.
    let requests = match full_size("SCALE_REQUESTS") {
        Some(requests) if tenancy == "database" => requests / 5,
        Some(requests) => requests,
        None => REQUESTS,
    };
    load(&world, &server, accounts, requests).await;
    let took = begun.elapsed();
    let most = lookout.end();
    server.end().await;
    // It was used, too.
    assert!((POOL - 1..=POOL).contains(&most), "{most}");
    if full_size("SCALE_REQUESTS").is_some() {
        println!(
            "scale: {tenancy}: at most {most} of {POOL} connections, {requests} requests of \
             {accounts} accounts in {:.1} s",
            took.as_secs_f64()
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_load_stays_within_the_budget_in_row() {
    stays_within_the_budget("row", 12).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_load_stays_within_the_budget_in_schema() {
    stays_within_the_budget("schema", 12).await;
}

/// Each account needs connections of its own here.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_load_stays_within_the_budget_in_thirty_databases() {
    stays_within_the_budget("database", 30).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_load_on_two_clusters_stays_within_one_budget() {
    let other = Postgres::own().await;
    let eu = other.database().await;
    let mut world = World::pooled("row").await;
    let named = |url: String| format!("eu={url}");
    world
        .pairs
        .push(("VESTIBULE_CLUSTERS", named(eu.application_url())));
    world
        .pairs
        .push(("VESTIBULE_ADMIN_CLUSTERS", named(eu.owner_url())));
    world.populate(8, Some("eu")).await;
    let lookout = Lookout::over(vec![
        (world.superuser().await, world.login()),
        (superuser_of(&eu.superuser_url()).await, eu.application()),
    ]);
    let server = Server::start(&world).await;
    load(&world, &server, 8, REQUESTS).await;
    let most = lookout.end();
    server.end().await;
    // A statement on another cluster is broken off over one connection more.
    assert!((POOL - 1..=POOL + 1).contains(&most), "{most}");
}

/// Fifty requests of one account wait, and another account's do not wait for them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_greedy_account_delays_nobody_else() {
    const GREEDY: usize = 50;
    const EACH: Duration = Duration::from_millis(250);
    let world = World::pooled("row").await;
    world.populate(2, None).await;
    let server = Arc::new(Server::start(&world).await);
    for number in 0..2 {
        let token = world.token(number);
        assert!(server.get("/notes", &token).await.is_success());
    }
    let left = Arc::new(AtomicUsize::new(GREEDY));
    let greedy: Vec<_> = (0..GREEDY)
        .map(|_| {
            let (server, left, token) = (Arc::clone(&server), Arc::clone(&left), world.token(0));
            tokio::spawn(async move {
                let path = format!("/hold/{}", EACH.as_millis());
                assert!(server.get(&path, &token).await.is_success());
                left.fetch_sub(1, Ordering::Relaxed);
            })
        })
        .collect();
    tokio::time::sleep(EACH).await;
    let modest = world.token(1);
    for _ in 0..5 {
        let (before, begun) = (left.load(Ordering::Relaxed), Instant::now());
        assert!(server.get("/notes", &modest).await.is_success());
        let (after, waited) = (left.load(Ordering::Relaxed), begun.elapsed());
        // Whoever asks next gets what is given back first: no more than a few may end meanwhile.
        assert!(before - after <= 2 * SESSIONS, "{before} -> {after}");
        assert!(waited < 4 * EACH, "{waited:?}");
    }
    assert!(
        left.load(Ordering::Relaxed) > GREEDY / 4,
        "nobody was greedy"
    );
    for one in greedy {
        one.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handler_that_reads_nothing_takes_no_connection() {
    let world = World::pooled("row").await;
    world.populate(2, None).await;
    let server = Server::start(&world).await;
    let tokens = [world.token(0), world.token(1)];
    // A first visit is heard of once more within a second, and read anew.
    for pause in [1_000, 0] {
        for token in &tokens {
            assert!(server.get("/v1/me", token).await.is_success());
        }
        tokio::time::sleep(Duration::from_millis(pause)).await;
    }
    // Each waits for half a second at most, which is short on a busy machine.
    for _ in 0..10 {
        server.vestibule.settle_activity().await;
    }
    let (mut superuser, login) = (world.superuser().await, world.login());
    // Whatever was opened on the way here.
    sqlx::query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1")
        .bind(&login)
        .execute(&mut superuser)
        .await
        .unwrap();
    let lookout = Lookout::over(vec![(world.superuser().await, login.clone())]);
    for number in 0..100 {
        assert!(server.get("/v1/me", &tokens[number % 2]).await.is_success());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // It listens for changes, and does nothing else.
    let most = lookout.end();
    assert!(most <= 1, "{most}");
    assert!(server.get("/notes", &tokens[0]).await.is_success());
    assert!(connections(&mut superuser, &login).await >= 2);
    server.end().await;
}
