//! Several processes on one database.

use std::{collections::HashSet, net::SocketAddr, time::Duration};

use serde_json::Value;
use vestibule_sandbox::Endpoint;
use vestibule_testbed::{Link, Postgres};

use crate::world::{World, ask, within};

const REQUESTS: usize = 500;
/// A change reaches every process within this.
const SOON: Duration = Duration::from_secs(1);

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

/// Suspends and resumes Ada: both reach every server soon.
async fn changes_arrive(world: &World, servers: &[SocketAddr]) {
    let ada = world.ada();
    let found = world.owner.find_user("authress", "user_ada").await.unwrap();
    let id = found.unwrap().0.id;
    world.owner.suspend_user(id).await.unwrap();
    answered(servers, &ada, 403).await;
    world.owner.resume_user(id).await.unwrap();
    answered(servers, &ada, 200).await;
    world.owner.suspend_account(world.acme.id).await.unwrap();
    answered(servers, &ada, 403).await;
    world.owner.resume_account(world.acme.id).await.unwrap();
    answered(servers, &ada, 200).await;
}

async fn answered(servers: &[SocketAddr], token: &str, status: u16) {
    within(SOON, &format!("all answer {status}"), async || {
        for at in servers {
            if ask(*at, "GET", "/me", token).await.status != status {
                return false;
            }
        }
        true
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_reach_every_process() {
    let world = World::new(Postgres::shared().database().await, &[]).await;
    let link = Link::to(Postgres::shared().address());
    let servers = [
        world.serve().await,
        world
            .serve_through(&world.database.through_pgbouncer())
            .await,
        world
            .serve_through(&world.database.through(link.address()))
            .await,
    ];
    answered(&servers, &world.ada(), 200).await;
    changes_arrive(&world, &servers).await;

    // All connections of the application are gone, those that listen among them.
    sqlx::query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1")
        .bind(world.database.application())
        .execute(&mut world.superuser().await)
        .await
        .unwrap();
    changes_arrive(&world, &servers).await;

    // The line is silent for a moment.
    link.hang();
    tokio::time::sleep(Duration::from_millis(700)).await;
    link.resume();
    changes_arrive(&world, &servers).await;
}
