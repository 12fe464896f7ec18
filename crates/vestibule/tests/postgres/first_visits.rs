//! Several processes on one database, and one person who comes to all of them at once.

use std::collections::HashSet;

use serde_json::Value;
use vestibule_sandbox::Endpoint;
use vestibule_testbed::Postgres;

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
