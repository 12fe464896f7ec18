//! The database goes away under load: who needs it hears so in time, who does not goes on, and all
//! is well again by itself.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use sqlx::{Connection as _, PgConnection};
use tokio::task::JoinHandle;
use vestibule_testbed::{Link, OwnServer, PgBouncer, Postgres, Stop};

use crate::world::{Answer, Gauges, TIMEOUT, World, ask, within};

/// What a busy machine may add to every limit.
const SLACK: Duration = Duration::from_millis(1_500);
/// Everything works again within this after the end.
const RECOVERY: Duration = Duration::from_secs(5);
/// A stock PgBouncer that found its server gone tries again after 15 s.
const RECOVERY_OF_PGBOUNCER: Duration = Duration::from_secs(20);
/// How long the database is away: longer than anybody waits for it.
const AWAY: Duration = Duration::from_secs(4);

/// Requests without end, of callers who are known.
struct Load {
    stop: Arc<AtomicBool>,
    needing: Vec<JoinHandle<Vec<Answer>>>,
    cached: JoinHandle<Vec<Answer>>,
}

impl Load {
    /// All need the database.
    fn needing(at: SocketAddr, token: &str) -> Self {
        Self {
            cached: tokio::spawn(async { Vec::new() }),
            ..Self::on(at, token)
        }
    }

    fn on(at: SocketAddr, token: &str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let caller = |method: &'static str, path: &'static str| {
            let (stop, token) = (Arc::clone(&stop), token.to_owned());
            tokio::spawn(async move {
                let mut answers = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    answers.push(ask(at, method, path, &token).await);
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                answers
            })
        };
        let methods = ["GET", "POST"].into_iter().cycle();
        Self {
            needing: methods
                .take(10)
                .map(|method| caller(method, "/notes"))
                .collect(),
            cached: caller("GET", "/me"),
            stop: Arc::clone(&stop),
        }
    }

    /// Ends it; how many were refused that began between the two moments, while the database was
    /// away.
    async fn end(self, away: Instant, back: Instant) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        let mut refused = 0;
        for caller in self.needing {
            for answer in caller.await.unwrap() {
                assert!(answer.took <= TIMEOUT + SLACK, "{answer:?}");
                if matches!(answer.status, 200 | 201) {
                    continue;
                }
                assert_eq!(answer.status, 503, "{answer:?}");
                assert_eq!(answer.code, "storage_unavailable", "{answer:?}");
                assert!(answer.retry_after, "{answer:?}");
                if answer.begun > away && answer.begun < back {
                    refused += 1;
                }
            }
        }
        for answer in self.cached.await.unwrap() {
            assert_eq!(answer.status, 200, "{answer:?}");
            assert!(answer.took < SLACK, "{answer:?}");
        }
        refused
    }
}

/// Load, an outage, and its end.
async fn outage(
    world: &World,
    at: SocketAddr,
    recovery: Duration,
    begin: impl AsyncFnOnce(),
    end: impl AsyncFnOnce(),
) {
    let gauges = Gauges::install();
    let ada = world.ada();
    let first = ask(at, "GET", "/notes", &ada).await;
    assert_eq!(first.status, 200, "{first:?}");
    let load = Load::on(at, &ada);
    tokio::time::sleep(Duration::from_millis(500)).await;
    begin().await;
    let away = Instant::now();
    tokio::time::sleep(AWAY).await;
    let back = Instant::now();
    end().await;
    within(recovery, "it works again", async || {
        ask(at, "POST", "/notes", &ada).await.status == 201
    })
    .await;
    // Not only once: all connections.
    tokio::time::sleep(Duration::from_secs(1)).await;
    for _ in 0..20 {
        let answer = ask(at, "GET", "/notes", &ada).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    assert!(load.end(away, back).await > 0, "nobody noticed");
    comes_to_rest(world, &gauges).await;
}

async fn comes_to_rest(world: &World, gauges: &Gauges) {
    within(RECOVERY, "no session is left", async || {
        gauges.sessions_open() == 0.0 && world.busy().await == 0
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_server_crashes_and_starts_again() {
    let server = Postgres::own().await;
    let world = World::new(server.database().await, &[]).await;
    let at = world.serve().await;
    let stop = async || server.stop(Stop::Immediate).await;
    outage(&world, at, RECOVERY, stop, async || server.start().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_server_hangs() {
    let server = Postgres::own().await;
    let world = World::new(server.database().await, &[]).await;
    let at = world.serve().await;
    let hang = async || server.hang().await;
    outage(&world, at, RECOVERY, hang, async || server.resume().await).await;
}

async fn the_line_goes_bad(how: impl Fn(&Link)) {
    let world = World::new(Postgres::shared().database().await, &[]).await;
    let link = Link::to(Postgres::shared().address());
    let route = world.database.through(link.address());
    let at = world.serve_through(&route).await;
    let resume = async || link.resume();
    outage(&world, at, RECOVERY, async || how(&link), resume).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_line_is_cut() {
    the_line_goes_bad(Link::cut).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_line_hangs() {
    the_line_goes_bad(Link::hang).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_server_behind_pgbouncer_crashes() {
    let server = Postgres::own_with_pgbouncer().await;
    let world = World::new(server.database().await, &[]).await;
    let at = world
        .serve_through(&world.database.through_pgbouncer())
        .await;
    let stop = async || server.stop(Stop::Immediate).await;
    let start = async || server.start().await;
    outage(&world, at, RECOVERY_OF_PGBOUNCER, stop, start).await;
}

async fn pgbouncer_goes_away(
    begin: impl AsyncFnOnce(&PgBouncer),
    end: impl AsyncFnOnce(&PgBouncer),
) {
    let server = Postgres::own_with_pgbouncer().await;
    let world = World::new(server.database().await, &[]).await;
    let at = world
        .serve_through(&world.database.through_pgbouncer())
        .await;
    let pgbouncer = server.pgbouncer();
    let (begin, end) = (
        async || begin(pgbouncer).await,
        async || end(pgbouncer).await,
    );
    outage(&world, at, RECOVERY, begin, end).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pgbouncer_stops_and_starts_again() {
    pgbouncer_goes_away(PgBouncer::stop, PgBouncer::start).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pgbouncer_hangs() {
    pgbouncer_goes_away(PgBouncer::hang, PgBouncer::resume).await;
}

/// As it is done to give it other settings: away for a moment, again and again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pgbouncer_is_restarted() {
    let server = Postgres::own_with_pgbouncer().await;
    let world = World::new(server.database().await, &[]).await;
    let at = world
        .serve_through(&world.database.through_pgbouncer())
        .await;
    let gauges = Gauges::install();
    let ada = world.ada();
    assert_eq!(ask(at, "GET", "/notes", &ada).await.status, 200);
    let load = Load::on(at, &ada);
    let begun = Instant::now();
    for _ in 0..4 {
        tokio::time::sleep(Duration::from_millis(500)).await;
        server.pgbouncer().stop().await;
        server.pgbouncer().start().await;
        // What lay idle is lost, and no reason to refuse anybody who comes now.
        tokio::time::sleep(Duration::from_millis(500)).await;
        let answer = ask(at, "POST", "/notes", &ada).await;
        assert_eq!(answer.status, 201, "{answer:?}");
    }
    load.end(begun, Instant::now()).await;
    comes_to_rest(&world, &gauges).await;
}

/// The address leads to another server, whose data lack what was written last: sessions of the old
/// one end, whoever comes now is on the new one, and what is remembered is what that one says.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_server_takes_over() {
    let old = Postgres::own().await;
    let world = World::new(old.database().await, &[]).await;
    let link = Link::to(old.address());
    let at = world
        .serve_through(&world.database.through(link.address()))
        .await;
    let gauges = Gauges::install();
    let ada = world.ada();
    assert_eq!(ask(at, "POST", "/notes", &ada).await.status, 201);
    old.stop(Stop::Fast).await;
    let new = old.copy().await;
    old.start().await;
    // A connection that was in use less than a second ago is not asked whether it lives.
    within(RECOVERY, "the owner is connected again", async || {
        world.owner.find_user("authress", "user_ada").await.is_ok()
    })
    .await;
    // Only the old one hears of this.
    let found = world.owner.find_user("authress", "user_ada").await.unwrap();
    world.owner.suspend_user(found.unwrap().0.id).await.unwrap();
    within(RECOVERY, "she is refused", async || {
        ask(at, "GET", "/me", &ada).await.status == 403
    })
    .await;
    // Word of the change has arrived, too: from here on she is remembered as suspended.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(ask(at, "GET", "/me", &ada).await.status, 403);
    let alan = world.token_of("user_alan");
    assert_eq!(ask(at, "POST", "/notes", &alan).await.status, 201);

    let load = Load::needing(at, &alan);
    tokio::time::sleep(Duration::from_millis(300)).await;
    link.cut();
    let away = Instant::now();
    link.lead_to(new.address());
    link.resume();
    within(RECOVERY, "she is let in, as the new one says", async || {
        ask(at, "GET", "/me", &ada).await.status == 200
    })
    .await;
    let there = notes(&world, &old).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    load.end(away, Instant::now()).await;
    assert_eq!(ask(at, "POST", "/notes", &alan).await.status, 201);
    assert_eq!(
        notes(&world, &old).await,
        there,
        "the old one is written to"
    );
    let (notes,): (i64,) =
        serde_json::from_str(&format!("[{}]", ask(at, "GET", "/notes", &ada).await.body)).unwrap();
    assert_eq!(notes, self::notes(&world, &new).await);
    within(RECOVERY, "no session is left", async || {
        gauges.sessions_open() == 0.0 && world.busy().await == 0
    })
    .await;
}

/// How many notes lie on this server.
async fn notes(world: &World, on: &OwnServer) -> i64 {
    let url = world.database.through(on.address()).superuser_url();
    let mut connection = PgConnection::connect(&url).await.unwrap();
    sqlx::query_scalar("SELECT COUNT(*) FROM vestibule_tenants.notes")
        .fetch_one(&mut connection)
        .await
        .unwrap()
}

/// A caller's first visit is a change, after which he is read again.
async fn is_remembered(at: SocketAddr, token: &str) {
    for _ in 0..2 {
        assert_eq!(ask(at, "GET", "/me", token).await.status, 200);
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// Who could not listen for long takes everything for changed, though nothing tells of a change.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_remembered_is_read_anew_after_a_long_silence() {
    let world = World::new(Postgres::shared().database().await, &[]).await;
    let link = Link::to(Postgres::shared().address());
    let route = world.database.through(link.address());
    let at = world.serve_through(&route).await;
    let ada = world.ada();
    is_remembered(at, &ada).await;
    link.cut();
    sqlx::query("UPDATE vestibule.users SET status = 'suspended'")
        .execute(&mut world.superuser().await)
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(ask(at, "GET", "/me", &ada).await.status, 200);
    link.resume();
    within(RECOVERY, "she is read anew", async || {
        ask(at, "GET", "/me", &ada).await.code == "user_suspended"
    })
    .await;
}

/// Known callers are let in on what is remembered, but not for ever (`PRINCIPAL_MAX_STALE`).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn remembered_callers_are_believed_for_a_while() {
    let world = World::new(
        Postgres::shared().database().await,
        &[("PRINCIPAL_MAX_STALE", "3")],
    )
    .await;
    let link = Link::to(Postgres::shared().address());
    let route = world.database.through(link.address());
    let at = world.serve_through(&route).await;
    let ada = world.ada();
    is_remembered(at, &ada).await;
    let staying = tokio::spawn({
        let ada = ada.clone();
        async move { ask(at, "GET", "/stay", &ada).await }
    });
    // It has begun by then.
    tokio::time::sleep(Duration::from_millis(300)).await;
    link.cut();
    let away = Instant::now();
    let refused = loop {
        let answer = ask(at, "GET", "/me", &ada).await;
        if answer.status != 200 {
            break answer;
        }
        assert!(away.elapsed() < Duration::from_secs(3) + SLACK);
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_eq!(refused.status, 503, "{refused:?}");
    assert_eq!(refused.code, "storage_unavailable", "{refused:?}");
    assert!(refused.retry_after, "{refused:?}");
    let lasted = refused.begun.duration_since(away);
    assert!(lasted > Duration::from_secs(2), "{lasted:?}");
    // Nor does a connection that is open go on for ever. It looks every five seconds.
    let stayed = staying.await.unwrap();
    assert_eq!(stayed.code, "storage_unavailable", "{stayed:?}");
    let lasted = (stayed.begun + stayed.took).duration_since(away);
    assert!(lasted > Duration::from_secs(2), "{lasted:?}");
    assert!(
        lasted < Duration::from_secs(3 + 5) + TIMEOUT + SLACK,
        "{lasted:?}"
    );

    link.resume();
    within(RECOVERY, "she is let in again", async || {
        ask(at, "GET", "/me", &ada).await.status == 200
    })
    .await;
}
