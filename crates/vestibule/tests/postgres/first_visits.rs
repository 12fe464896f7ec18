//! Several processes on one database, and one person who comes to all of them at once.

use std::{collections::HashSet, time::Duration};

use serde_json::Value;
use vestibule_sandbox::Endpoint;
use vestibule_testbed::{Link, Postgres};

use crate::world::{World, ask};

const REQUESTS: usize = 500;
async fn first_requests_make_one_user(pooled: bool) {
    let world = World::new(Postgres::shared().database().await, &[]).await;
    let mut servers = Vec::new();
    for _ in 0..3 {
        servers.push(if pooled {
            world
                .serve_through(&world.database.through_pgbouncer())
                .await
        } else {
            world.serve().await
        });
    }
    let requests: Vec<_> = servers
        .iter()
        .copied()
        .cycle()
        .take(REQUESTS)
        .map(|at| {
            let token = world.ada();
            tokio::spawn(async move { ask(at, "GET", "/me", &token).await })
        })
        .collect();
    let mut ids = HashSet::new();
    for request in requests {
        let answer = request.await.unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
        let me: Value = serde_json::from_str(&answer.body).unwrap();
        ids.insert(me["user"]["id"].as_str().unwrap().to_owned());
    }
    assert_eq!(ids.len(), 1);
    let rows: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM vestibule.users")
        .fetch_one(&mut world.superuser().await)
        .await
        .unwrap();
    assert_eq!(rows, 1);
    // Fewer where one process finds what another one kept.
    assert!(world.sandbox.calls(Endpoint::User) <= 3);
    assert!(world.sandbox.calls(Endpoint::Tenant) <= 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_hundred_first_requests_make_one_user() {
    first_requests_make_one_user(false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_hundred_first_requests_make_one_user_through_pgbouncer() {
    first_requests_make_one_user(true).await;
}

/// What the database is asked does not grow with the number of requests that wait for the answer:
/// it has few connections, and whoever queues for one for too long is refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_of_one_person_that_come_together_ask_once() {
    let world = World::new(Postgres::shared().database().await, &[]).await;
    let link = Link::to(Postgres::shared().address());
    let at = world
        .serve_through(&world.database.through(link.address()))
        .await;
    for who in ["a stranger", "somebody who is known, after a change"] {
        let before = link.round_trips();
        let requests: Vec<_> = (0..REQUESTS)
            .map(|_| {
                let token = world.ada();
                tokio::spawn(async move { ask(at, "GET", "/me", &token).await })
            })
            .collect();
        for request in requests {
            let answer = request.await.unwrap();
            assert_eq!(answer.status, 200, "{answer:?}");
        }
        let asked = link.round_trips() - before;
        // Signing in is noted, changes are looked for, and connections say hello.
        assert!(asked < 60, "{who}: {asked} round trips");
        world
            .owner
            .rename_account(world.acme.id, who)
            .await
            .unwrap();
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
