//! A known caller of whom nothing is remembered costs the same in a large directory as in a small
//! one.

use std::time::{Duration, Instant};

use sqlx::AssertSqlSafe;
use vestibule::clock::{Clock as _, SystemClock};
use vestibule_testbed::Postgres;

use crate::{
    server::Server,
    world::{World, full_size},
};

/// For the full size: 1,000,000 users and a tenth of it accounts, beside 1,000 users.
const FULL: &str = "SCALE_USERS";
const SMALL_DIRECTORY: usize = 1_000;
const USERS: usize = 10_000;
const USERS_OF_AN_ACCOUNT: usize = 10;
/// Callers in each directory.
const CALLERS: usize = 40;
/// The acceptance's bound.
const AT_MOST: f64 = 1.3;

/// A directory of so many users, and a process that serves them.
struct Population {
    world: World,
    server: Server,
    /// Those who are going to call, from all over the table.
    callers: Vec<usize>,
}

impl Population {
    async fn new(on: &Postgres, users: usize, callers: usize) -> Self {
        let mut world = World::on(on, "row").await;
        world.pairs.push(("DATABASE_TIMEOUT", "60".to_owned()));
        let (owner, spaces) = world.owned().await;
        spaces.close().await;
        owner.close().await;
        let accounts = users / USERS_OF_AN_ACCOUNT;
        let now = SystemClock.now().as_millis();
        let fill = include_str!("fill.sql")
            .replace("$NOW", &now.to_string())
            .replace("$ACCOUNTS", &accounts.to_string())
            .replace("$USERS", &users.to_string());
        let mut superuser = world.superuser().await;
        for sql in [fill.as_str(), "VACUUM (ANALYZE)", "CHECKPOINT"] {
            sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))
                .execute(&mut superuser)
                .await
                .unwrap();
        }
        let callers: Vec<_> = (0..callers)
            .map(|caller| caller * (users / callers))
            .collect();
        for caller in &callers {
            world.add_person_of(*caller, caller % accounts);
        }
        let server = Server::start(&world).await;
        Self {
            world,
            server,
            callers,
        }
    }

    /// A first call of somebody of whom this process remembers nothing.
    async fn call(&self, caller: usize) -> Duration {
        let token = self.world.token(self.callers[caller]);
        let begun = Instant::now();
        let status = self.server.get("/v1/me", &token).await;
        assert!(status.is_success(), "{status}");
        begun.elapsed()
    }
}

impl World {
    /// How often the growing tables were read from end to end.
    async fn scans(&self) -> Vec<(String, i64)> {
        sqlx::query_as(
            "SELECT relname::text, seq_scan FROM pg_stat_user_tables
             WHERE relname IN ('accounts', 'users', 'service_clients', 'kept_facts', 'changes',
                 'placements', 'vestibule_account', 'vestibule_activity') ORDER BY relname",
        )
        .fetch_all(&mut self.superuser().await)
        .await
        .unwrap()
    }

    async fn users(&self) -> i64 {
        sqlx::query_scalar("SELECT COUNT(*) FROM vestibule.users")
            .fetch_one(&mut self.superuser().await)
            .await
            .unwrap()
    }
}

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort();
    times[times.len() / 2].as_secs_f64() * 1e3
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_known_is_found_as_fast_among_many() {
    let full = full_size(FULL);
    let users = full.unwrap_or(USERS);
    let callers = full.map_or(CALLERS, |_| SMALL_DIRECTORY);
    let own = match full {
        Some(_) => Some(Postgres::own().await),
        None => None,
    };
    let on = own
        .as_ref()
        .map_or_else(Postgres::shared, |own| own.postgres().clone());
    let begun = Instant::now();
    let large = Population::new(&on, users, callers).await;
    let filled = begun.elapsed();
    let small = Population::new(&on, SMALL_DIRECTORY, callers).await;
    let scans = large.world.scans().await;
    let (mut among_few, mut among_many) = (Vec::new(), Vec::new());
    for caller in 0..callers {
        // Whoever comes second finds the machine as the first left it.
        if caller % 2 == 0 {
            among_few.push(small.call(caller).await);
            among_many.push(large.call(caller).await);
        } else {
            among_many.push(large.call(caller).await);
            among_few.push(small.call(caller).await);
        }
    }
    small.server.end().await;
    large.server.end().await;
    // A connection that has ended has told of what it did.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(large.world.scans().await, scans, "a table was scanned");
    // They were known: nobody was made anew.
    let there = large.world.users().await;
    assert_eq!(there, i64::try_from(users).unwrap());
    if full.is_some() {
        let (few, many) = (median(among_few), median(among_many));
        let ratio = many / few;
        println!(
            "scale: a known, uncached caller of {users} users: {many:.2} ms, of \
             {SMALL_DIRECTORY}: {few:.2} ms, ratio {ratio:.2} ({callers} each; filled in {:.1} s)",
            filled.as_secs_f64()
        );
        assert!(ratio <= AT_MOST, "{ratio}");
    }
}
