//! An application with many accounts brings its migrations to all of them. It is killed in the
//! middle, and started again.

use std::{
    env,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use futures_util::{StreamExt as _, stream};
use sqlx::{
    AssertSqlSafe, ConnectOptions as _, SqlSafeStr as _,
    migrate::{Migration, MigrationType, Migrator},
    sqlite::SqliteConnectOptions,
};
use uuid::Uuid;
use vestibule::Vestibule;
use vestibule_testbed::Postgres;

use crate::world::{Place, World, full_size};

/// The acceptance's limit for 1,000 accounts.
const LIMIT: Duration = Duration::from_secs(120);
const FULL_STEPS: usize = 20;
/// Tells the application how many there are.
const STEPS: &str = "SCALE_STEPS";

struct Size {
    accounts: usize,
    steps: usize,
    /// How often it is looked whether the middle is reached.
    look: Duration,
    full: bool,
}

impl Size {
    fn from_environment() -> Self {
        let full = full_size("SCALE_SPACES");
        Self {
            accounts: full.unwrap_or(24),
            steps: if full.is_some() { FULL_STEPS } else { 5 },
            look: Duration::from_millis(if full.is_some() { 100 } else { 2 }),
            full: full.is_some(),
        }
    }
}

/// An application's history: tables with keys between them, indexes, columns, data. `progress`
/// counts what was applied: once too often, and it is more than there are steps. Where there are
/// few, each takes a while, or there would be no time to kill the application.
fn migrator(steps: usize) -> Migrator {
    let work = if steps < FULL_STEPS { 20_000 } else { 1 };
    let steps = (1..=steps).map(|step| {
        let sql = match step % 4 {
            _ if step == 1 => {
                "CREATE TABLE progress (id BIGINT PRIMARY KEY, steps BIGINT NOT NULL);
                  INSERT INTO progress (id, steps) VALUES (1, 0);"
                    .to_owned()
            }
            1 => format!(
                "CREATE TABLE orders_{step} (id UUID PRIMARY KEY, text TEXT NOT NULL UNIQUE);"
            ),
            2 => format!(
                "CREATE TABLE lines_{step} (id UUID PRIMARY KEY, number BIGINT NOT NULL,
                     of_step BIGINT NOT NULL REFERENCES progress (id));
                 CREATE INDEX lines_{step}_by_number ON lines_{step} (number);"
            ),
            3 => format!("ALTER TABLE progress ADD COLUMN column_{step} TEXT;"),
            _ => format!("CREATE VIEW seen_{step} AS SELECT id, steps FROM progress;"),
        };
        let sql = format!(
            "{sql} UPDATE progress SET steps = steps + 1 + (
                 WITH RECURSIVE rows (number) AS (
                     SELECT 1 UNION ALL SELECT number + 1 FROM rows WHERE number < {work}
                 )
                 SELECT COUNT(*) - {work} FROM rows
             ) WHERE id = 1;"
        );
        let sql = AssertSqlSafe(sql).into_sql_str();
        let version = i64::try_from(step).unwrap();
        Migration::new(version, "a step".into(), MigrationType::Simple, sql, false)
    });
    Migrator::with_migrations(steps.collect())
}

/// The application: what its `main` would do first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "the process that the other tests start and kill"]
async fn the_application() {
    let Some(steps) = full_size(STEPS) else {
        return;
    };
    let vestibule = Vestibule::from_env().await.unwrap();
    vestibule.migrate_tenants(migrator(steps)).await.unwrap();
    vestibule.shutdown().await;
}

fn start(world: &World, steps: usize) -> Child {
    Command::new(env::current_exe().unwrap())
        .args(["--exact", "migrations::the_application", "--ignored"])
        .envs(world.environment())
        .env(STEPS, steps.to_string())
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

impl World {
    /// How many steps each of the accounts has: what is written down, and what was done.
    async fn steps(&self, accounts: &[Uuid]) -> Vec<(i64, i64)> {
        let mut all = Vec::new();
        let mut server = match &self.place {
            Place::Files(_) => None,
            Place::Postgres(_) => Some(self.superuser().await),
        };
        for account in accounts {
            let of = |space: &str| {
                format!(
                    "SELECT (SELECT COUNT(*) FROM {space}vestibule_migrations),
                            (SELECT steps FROM {space}progress)"
                )
            };
            let steps = match (&self.place, &mut server) {
                (Place::Files(directory), _) => {
                    let file = directory.path().join(format!("tenants/{account}.db"));
                    let mut file = SqliteConnectOptions::new()
                        .filename(file)
                        .connect()
                        .await
                        .unwrap();
                    let query = sqlx::query_as(AssertSqlSafe(of("")));
                    query.fetch_one(&mut file).await
                }
                (_, Some(server)) => {
                    let space = format!("account_{}.", account.simple());
                    let query = sqlx::query_as(AssertSqlSafe(of(&space))).persistent(false);
                    query.fetch_one(server).await
                }
                _ => unreachable!(),
            };
            // A space without the first step has no such table.
            all.push(steps.unwrap_or_default());
        }
        all
    }
}

async fn nothing_is_lost_and_nothing_done_twice(world: World, size: Size, spaces_are: &str) {
    let (owner, spaces) = world.owned().await;
    let begun = Instant::now();
    let making = (0..size.accounts).map(async |number| {
        let tenant = format!("tenant_{number}");
        spaces.create_account("One", &tenant).await.unwrap().id
    });
    let mut accounts: Vec<_> = stream::iter(making).buffer_unordered(4).collect().await;
    // The order in which they are migrated.
    accounts.sort();
    let made = begun.elapsed();
    spaces.close().await;

    let all = i64::try_from(size.steps).unwrap();
    let mut first = start(&world, size.steps);
    // The one in the middle has its migrations: now.
    let middle = accounts[accounts.len() / 2];
    let begun = Instant::now();
    while world.steps(&[middle]).await[0].0 == 0 {
        assert!(begun.elapsed() < LIMIT, "nothing is migrated");
        assert_eq!(first.try_wait().unwrap(), None, "the application ended");
        tokio::time::sleep(size.look).await;
    }
    first.kill().unwrap();
    first.wait().unwrap();
    let killed = begun.elapsed();
    let before = world.steps(&accounts).await;
    let behind = before.iter().filter(|steps| **steps == (0, 0)).count();
    assert!(behind > 0, "the application was done when it was killed");
    let whole = before.iter().filter(|steps| **steps == (all, all)).count();
    assert_eq!(whole + behind, accounts.len(), "{before:?}");

    let begun = Instant::now();
    let second = start(&world, size.steps).wait().unwrap();
    let took = begun.elapsed();
    assert!(second.success(), "{second}");
    let after = world.steps(&accounts).await;
    assert!(after.iter().all(|steps| *steps == (all, all)), "{after:?}");

    // `vestibule migrate` finds nothing to apply, and looks at everybody's rights.
    let (_, spaces) = world.owned().await;
    let begun = Instant::now();
    let done = spaces.bring_up_to_date(|_, _| {}).await.unwrap();
    let secured = begun.elapsed();
    assert_eq!((done.accounts, done.changed), (accounts.len(), 0));
    let begun = Instant::now();
    let missing = spaces.all_migrations_missing(&accounts).await.unwrap();
    let listed = begun.elapsed();
    assert!(missing.iter().all(|missing| *missing == 0), "{missing:?}");
    spaces.close().await;
    owner.close().await;
    if size.full {
        println!(
            "scale: {} {spaces_are} x {} migrations in {:.1} s, killed at {whole}; made in {:.1} s, \
             nothing to migrate {:.1} s, --status {:.1} s",
            size.accounts,
            size.steps,
            (killed + took).as_secs_f64(),
            made.as_secs_f64(),
            secured.as_secs_f64(),
            listed.as_secs_f64(),
        );
        assert!(killed + took < LIMIT, "{:?}", killed + took);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn schemas() {
    let size = Size::from_environment();
    if size.full {
        // Nobody else's work slows it down, and `fsync` is on, as it is unless somebody says so.
        let server = Postgres::own().await;
        let world = World::on(server.postgres(), "schema").await;
        let fsync: String = sqlx::query_scalar("SHOW fsync")
            .fetch_one(&mut world.superuser().await)
            .await
            .unwrap();
        assert_eq!(fsync, "on");
        nothing_is_lost_and_nothing_done_twice(world, size, "schemas").await;
    } else {
        let world = World::on(&Postgres::shared(), "schema").await;
        nothing_is_lost_and_nothing_done_twice(world, size, "schemas").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files() {
    let world = World::files().await;
    let mut size = Size::from_environment();
    if size.full {
        // Making the files takes longer than their migrations.
        size.accounts /= 4;
    }
    nothing_is_lost_and_nothing_done_twice(world, size, "files").await;
}
