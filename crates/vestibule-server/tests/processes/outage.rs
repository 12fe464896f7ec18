//! The provider fails, in all the ways there are. Who is known goes on; who is not is refused, and
//! gets in by himself once it is over.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use vestibule_sandbox::{Endpoint, Fault, Target};

use crate::world::{Answer, World, eventually};

/// After an outage everything works again within this.
const RECOVERY: Duration = Duration::from_secs(5);

/// Every request asks the provider for its user, every token is verified anew, and keys are
/// fetched each second: whatever goes wrong at the provider is met at once.
const IMPATIENT: [(&str, &str); 4] = [
    ("USER_CACHE_TTL", "0"),
    ("TOKEN_CACHE_SIZE", "0"),
    ("JWKS_REFRESH", "1"),
    ("PROVIDER_TIMEOUT", "0.5"),
];

const ALL: &[Endpoint] = &[
    Endpoint::Jwks,
    Endpoint::ClientJwks,
    Endpoint::User,
    Endpoint::Tenant,
];

#[tokio::test(flavor = "multi_thread")]
async fn who_is_known_does_not_notice() {
    let elsewhere = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let redirect = format!("http://{}/", elsewhere.local_addr().unwrap());
    // An empty set of a client, and a set with other keys, are answers, not failures.
    let not_clients = &[Endpoint::Jwks, Endpoint::User, Endpoint::Tenant][..];
    let not_keys = &[Endpoint::User, Endpoint::Tenant][..];
    let outages: Vec<(Fault, &[Endpoint])> = vec![
        (Fault::Reset, ALL),
        (Fault::Hang, ALL),
        (Fault::Status(500), ALL),
        (Fault::Status(503), ALL),
        (Fault::Status(429), ALL),
        (Fault::Status(401), ALL),
        (Fault::Status(403), ALL),
        (Fault::Html, ALL),
        (Fault::NotJson, ALL),
        (Fault::Redirect(redirect), ALL),
        (Fault::Oversized, ALL),
        (Fault::Truncated, ALL),
        (Fault::Trickle(Duration::from_millis(40)), ALL),
        (Fault::EmptyKeys, not_clients),
        (Fault::WrongId, not_keys),
    ];
    let outages = outages.into_iter();
    join_all(outages.map(|(fault, endpoints)| goes_on(fault, endpoints))).await;
    let followed = tokio::time::timeout(Duration::ZERO, elsewhere.accept()).await;
    assert!(followed.is_err(), "a redirect was followed");
}

async fn goes_on(fault: Fault, endpoints: &[Endpoint]) {
    let world = World::new(&IMPATIENT).await;
    let sandbox = &world.sandbox;
    let server = world.place.serve();
    let (ada, robot) = (world.user("user_ada"), world.robot("sc_robot01"));
    let alan = world.user("user_alan");
    world.me(&server, &ada).await.expect_ok();
    world.me(&server, &robot).await.expect_ok();

    let asked: Vec<u64> = endpoints.iter().map(|&kind| sandbox.calls(kind)).collect();
    for &endpoint in endpoints {
        sandbox.fail(endpoint, fault.clone());
    }
    // Until the server has met the fault everywhere; the tenant is asked for new users only.
    eventually(Duration::from_secs(8), "the fault is met", async || {
        world.me(&server, &ada).await.expect_ok();
        world.me(&server, &robot).await.expect_ok();
        endpoints
            .iter()
            .zip(&asked)
            .all(|(&kind, &before)| kind == Endpoint::Tenant || sandbox.calls(kind) > before)
    })
    .await;
    let refused = world.me(&server, &alan).await.expect_undecided();
    assert_eq!(
        refused.header("www-authenticate"),
        Some(r#"Bearer realm="vestibule", error="invalid_token""#)
    );
    if endpoints.contains(&Endpoint::Jwks) {
        // Whether there is such a key nobody can say now.
        let unknown = sandbox.user_token("user_ada").kid("k-new").mint();
        world.me(&server, &unknown).await.expect_undecided();
    }
    if endpoints.contains(&Endpoint::ClientJwks) {
        let unknown = sandbox.client_token("sc_robot01").kid("k-new").mint();
        world.me(&server, &unknown).await.expect_undecided();
    }
    world.me(&server, &ada).await.expect_ok();
    world.me(&server, &robot).await.expect_ok();

    sandbox.heal();
    world.is_let_in(&server, &alan, RECOVERY).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_may_be_a_503() {
    let world = World::new(&[("PROVIDER_OUTAGE_STATUS", "503")]).await;
    let server = world.place.serve();
    let ada = world.user("user_ada");
    world.sandbox.fail(Endpoint::User, Fault::Status(500));
    let refused = world.me(&server, &ada).await;
    let refused = refused.expect(503, "provider_unavailable");
    let seconds = refused.header("retry-after").unwrap();
    assert!(seconds.parse::<u32>().unwrap() > 0);
    assert_eq!(refused.header("www-authenticate"), None);
    assert_eq!(refused.json()["status"], 503);
    // Only this refusal: the others stay what they are.
    let nobody = world.me(&server, "a.b.c").await;
    nobody.expect(401, "invalid_token");
    world.sandbox.heal();
    world.is_let_in(&server, &ada, RECOVERY).await;
}

/// Past the hard ages nobody is let in on the old word, a restart does not make it younger, and
/// the end of the outage is noticed without help.
#[tokio::test(flavor = "multi_thread")]
async fn an_outage_is_bridged_up_to_the_hard_ages() {
    let settings = [
        ("TOKEN_CACHE_SIZE", "0"),
        ("USER_CACHE_TTL", "1"),
        ("USER_CACHE_MAX_AGE", "1.5"),
        ("JWKS_REFRESH", "1"),
        ("JWKS_MAX_AGE", "2.5"),
    ];
    let world = World::new(&settings).await;
    let server = world.place.serve();
    let (ada, robot) = (world.user("user_ada"), world.robot("sc_robot01"));
    let fetched = Instant::now();
    world.me(&server, &ada).await.expect_ok();
    world.me(&server, &robot).await.expect_ok();
    world.sandbox.fail(Target::All, Fault::Reset);
    let failing = Instant::now();

    for (token, age) in [(&ada, 1.5), (&robot, 2.5)] {
        let age = Duration::from_secs_f64(age);
        eventually(age + Duration::from_secs(1), "ends", async || {
            let answer = world.me(&server, token).await;
            answer.status != 200 && answer.expect_undecided().status == 401
        })
        .await;
        assert!(fetched.elapsed() >= age, "{:?}", fetched.elapsed());
        assert!(failing.elapsed() < age + Duration::from_secs(1));
    }
    let not_ready = Answer::of(world.http.get(format!("{}/readyz", server.public))).await;
    assert_eq!(not_ready.status, 503);
    assert_eq!(not_ready.json()["missing"], serde_json::json!(["keys"]));

    server.kill();
    let server = world.place.serve();
    for token in [&ada, &robot] {
        world.me(&server, token).await.expect_undecided();
    }
    world.sandbox.heal();
    world.is_let_in(&server, &ada, RECOVERY).await;
    world.is_let_in(&server, &robot, RECOVERY).await;
}

/// Only 404 means gone, and what is gone does not come back with an outage or a restart.
#[tokio::test(flavor = "multi_thread")]
async fn a_user_deleted_at_the_provider_is_refused() {
    let world = World::new(&[("USER_CACHE_TTL", "1")]).await;
    let server = world.place.serve();
    let ada = world.user("user_ada");
    world.me(&server, &ada).await.expect_ok();
    world.sandbox.remove_user("user_ada").unwrap();
    // A TTL, and a moment for the fetch behind it.
    eventually(Duration::from_millis(1_300), "is refused", async || {
        let answer = world.me(&server, &ada).await;
        answer.status != 200 && answer.expect(401, "unknown_user").status == 401
    })
    .await;
    world.sandbox.fail(Target::All, Fault::Reset);
    world.me(&server, &ada).await.expect(401, "unknown_user");
    let mut server = server;
    server.stop("-TERM");
    let server = world.place.serve();
    world.me(&server, &ada).await.expect_undecided();
}

#[tokio::test(flavor = "multi_thread")]
async fn withdrawn_keys_of_a_client_are_refused() {
    let world = World::new(&[("TOKEN_CACHE_SIZE", "0"), ("JWKS_REFRESH", "1")]).await;
    let (sandbox, place) = (&world.sandbox, &world.place);
    let server = place.serve();
    let first = world.robot("sc_robot01");
    let second_kid = sandbox.rotate_client_key("sc_robot01").unwrap();
    let second = world.robot("sc_robot01");
    let other = world.robot("sc_robot02");
    for token in [&first, &second, &other] {
        world.me(&server, token).await.expect_ok();
    }
    let refused = async |token: &str, why: &str| {
        eventually(Duration::from_secs(3), why, async || {
            let answer = world.me(&server, token).await;
            answer.status != 200 && answer.expect(401, "invalid_token").status == 401
        })
        .await;
    };
    // One key of two, then the last: an empty set is an answer, and so is 404.
    sandbox
        .remove_client_key("sc_robot01", &second_kid)
        .unwrap();
    refused(&second, "a withdrawn key").await;
    world.me(&server, &first).await.expect_ok();
    sandbox.remove_client_keys("sc_robot01").unwrap();
    sandbox.remove_client("sc_robot02").unwrap();
    refused(&first, "an empty set").await;
    refused(&other, "a client that is gone").await;

    sandbox.fail(Target::All, Fault::Reset);
    let mut server = server;
    server.stop("-TERM");
    let server = place.serve();
    for token in [&first, &second, &other] {
        world.me(&server, token).await.expect_undecided();
    }
}
