//! An account's users and activity, and what other accounts see of them: nothing.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use serde_json::Value;
use sqlx::Connection as _;
use vestibule_sandbox::User;

use crate::{
    database::lock,
    support::Running,
    world::{Answer, World, eventually, open},
};

fn keys(value: &Value) -> BTreeSet<&str> {
    let members = value.as_object().unwrap();
    members.keys().map(String::as_str).collect()
}

fn items(page: &Value) -> &Vec<Value> {
    assert_eq!(keys(page), BTreeSet::from(["items", "next_cursor"]));
    page["items"].as_array().unwrap()
}

/// All pages of `path`, and how many there were.
async fn walk(world: &World, server: &Running, path: &str, token: &str) -> (Vec<Value>, usize) {
    let (mut all, mut pages, mut cursor) = (Vec::new(), 0, String::new());
    loop {
        let url = format!("{path}?limit=2{cursor}");
        let page = world.get(server, &url, token).await.expect_ok().json();
        assert!(items(&page).len() <= 2);
        all.extend_from_slice(items(&page));
        pages += 1;
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return (all, pages),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn users_are_paged_and_kept_apart() {
    let world = World::new(&[]).await;
    let server = world.place.serve();
    let mut expected = Vec::new();
    for number in 0..5 {
        let id = format!("user_{number}");
        world
            .sandbox
            .add_user(User::new(&*id).tenant("tenant_acme"));
        let me = world.me(&server, &world.user(&id)).await.expect_ok();
        expected.push(me.json()["user"].clone());
    }
    let grace = world.user("user_grace");
    let graces = world.me(&server, &grace).await.expect_ok().json()["user"].clone();

    let (user, robot) = (world.user("user_3"), world.robot("sc_robot01"));
    for token in [&user, &robot] {
        let (all, pages) = walk(&world, &server, "/v1/users", token).await;
        assert_eq!(all, expected, "each once, the oldest first");
        assert_eq!(pages, 3);
        for person in &expected {
            let path = format!("/v1/users/{}", person["id"].as_str().unwrap());
            let one = world.get(&server, &path, token).await.expect_ok();
            assert_eq!(one.json(), *person);
            assert_eq!(one.header("cache-control"), Some("no-store"));
        }
    }
    let (all, _) = walk(&world, &server, "/v1/users", &grace).await;
    assert_eq!(all, std::slice::from_ref(&graces));
    let page = world.get(&server, "/v1/users?limit=200", &user).await;
    assert_eq!(items(&page.json()).len(), 5);
    assert!(page.json()["next_cursor"].is_null());

    // Another account's user is answered as one who does not exist, to the byte.
    let theirs = format!("/v1/users/{}", graces["id"].as_str().unwrap());
    let nobody = "/v1/users/0190a8f2-0000-7000-8000-000000000001";
    let without_id = |text: &str| {
        let mut problem: Value = serde_json::from_str(text).unwrap();
        problem["request_id"].take();
        problem
    };
    for token in [&user, &robot] {
        let theirs = world.get(&server, &theirs, token).await;
        let nobody = world.get(&server, nobody, token).await;
        let nobody = nobody.expect(404, "not_found");
        let theirs = theirs.expect(404, "not_found");
        assert_eq!(without_id(&theirs.text), without_id(&nobody.text));
    }
    // Neither a client's id nor a subject is a user's.
    let machine = world.me(&server, &robot).await.json();
    for id in [
        machine["user"]["id"].as_str().unwrap(),
        "user_3",
        "..",
        "%00",
    ] {
        let path = format!("/v1/users/{id}");
        let answer = world.get(&server, &path, &user).await;
        assert_eq!(answer.status, 404, "{id}");
    }
    // A cursor is a place in an order, and opens no other account.
    let cursor = world.get(&server, "/v1/users?limit=1", &user).await.json();
    let path = format!(
        "/v1/users?cursor={}",
        cursor["next_cursor"].as_str().unwrap()
    );
    let with_theirs = world.get(&server, &path, &grace).await.expect_ok().json();
    assert!(items(&with_theirs).iter().all(|user| *user == graces));
}

#[tokio::test(flavor = "multi_thread")]
async fn activity_belongs_to_the_callers_own_account() {
    let world = World::new(&[]).await;
    let server = world.place.serve();
    let (ada, grace) = (world.user("user_ada"), world.user("user_grace"));
    let robot = world.robot("sc_robot01");
    let me = world.me(&server, &ada).await.expect_ok().json();
    let ada_id = me["user"]["id"].clone();
    for token in [&ada, &robot, &robot, &grace] {
        world.me(&server, token).await.expect_ok();
    }
    // Grace's token names Acme, Ada's both and then Globex: who is refused is hers alone.
    let token = world.sandbox.user_token("user_grace");
    let in_acme = token.tenant("tenant_acme").mint();
    let refused = world.me(&server, &in_acme).await;
    let graces_refusal = refused.expect(401, "tenant_mismatch").json();
    world
        .place
        .json(&["user", "suspend", ada_id.as_str().unwrap()]);
    eventually(Duration::from_secs(1), "Ada is refused", async || {
        world.me(&server, &ada).await.status == 403
    })
    .await;
    // Nobody's account: a stranger, and a token that nobody signed.
    for token in [
        world
            .sandbox
            .user_token("user_nobody")
            .tenant("tenant_acme"),
        world.sandbox.user_token("user_ada").tamper_signature(),
    ] {
        assert_eq!(world.me(&server, &token.mint()).await.status, 401);
    }

    let mut activity = Value::Null;
    eventually(Duration::from_secs(3), "all is noted", async || {
        let page = world.get(&server, "/v1/activity?limit=200", &robot).await;
        activity = page.expect_ok().json();
        items(&activity).len() >= 3
    })
    .await;
    let expected_keys = [
        "id",
        "at",
        "kind",
        "user_id",
        "client_id",
        "reason",
        "request_id",
    ];
    for entry in items(&activity) {
        assert_eq!(keys(entry), BTreeSet::from(expected_keys));
        for id in [&entry["id"], &entry["request_id"]] {
            assert_eq!(id.as_str().unwrap().as_bytes()[14], b'7', "{entry}");
        }
        let at: jiff::Timestamp = entry["at"].as_str().unwrap().parse().unwrap();
        assert!(entry["at"].as_str().unwrap().ends_with('Z'));
        let age = jiff::Timestamp::now().duration_since(at).as_secs();
        assert!((0..60).contains(&age), "{entry}");
    }
    let short: Vec<_> = items(&activity)
        .iter()
        .map(|entry| {
            let text = |name: &str| entry[name].as_str().unwrap_or("-");
            let user = if entry["user_id"] == ada_id {
                "ada"
            } else {
                text("user_id")
            };
            (text("kind"), user, text("client_id"), text("reason"))
        })
        .collect();
    // The newest first. The refused request may have been repeated, its reason may not.
    let refusals = short.iter().take_while(|entry| entry.0 == "refusal");
    let refusals = refusals.count();
    assert!(refusals >= 1, "{short:?}");
    let first = ("refusal", "ada", "app_web", "user_suspended");
    assert!(
        short[..refusals].iter().all(|entry| *entry == first),
        "{short:?}"
    );
    assert_eq!(
        short[refusals..],
        [
            ("sign_in", "-", "sc_robot01", "-"),
            ("sign_in", "ada", "app_web", "-"),
        ]
    );
    let (walked, _) = walk(&world, &server, "/v1/activity", &robot).await;
    assert_eq!(walked, *items(&activity));

    let theirs = world.get(&server, "/v1/activity", &grace).await.json();
    let theirs = items(&theirs);
    assert_eq!(theirs.len(), 2, "{theirs:?}");
    assert_eq!(theirs[0]["reason"], "tenant_mismatch");
    assert_eq!(theirs[0]["request_id"], graces_refusal["request_id"]);
    assert_eq!(theirs[1]["kind"], "sign_in");
    assert_eq!(theirs[1]["reason"], Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_looks_right_after_signing_in_finds_himself() {
    let world = World::new(&[]).await;
    let server = world.place.serve();
    let ada = world.user("user_ada");
    let me = world.me(&server, &ada).await.expect_ok().json();
    let page = world.get(&server, "/v1/activity", &ada).await;
    let activity = page.expect_ok().json();
    assert_eq!(items(&activity)[0]["kind"], "sign_in", "{activity}");
    assert_eq!(items(&activity)[0]["user_id"], me["user"]["id"]);
    // Also where the look itself is the first use.
    let grace = world.user("user_grace");
    let page = world.get(&server, "/v1/activity", &grace).await;
    assert_eq!(items(&page.expect_ok().json()).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn activity_can_be_left_out() {
    let world = World::new(&[("ACTIVITY_KEEP", "0")]).await;
    let server = world.place.serve();
    let ada = world.user("user_ada");
    world.me(&server, &ada).await.expect_ok();
    let page = world.get(&server, "/v1/activity", &ada).await;
    assert_eq!(items(&page.expect_ok().json()).len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn activity_grows_too_old() {
    let world = World::new(&[("ACTIVITY_MAX_AGE", "2")]).await;
    let server = world.place.serve();
    let ada = world.user("user_ada");
    let seen = async || {
        let page = world.get(&server, "/v1/activity", &ada).await;
        items(&page.expect_ok().json()).len()
    };
    assert_eq!(seen().await, 1);
    eventually(Duration::from_secs(5), "it grows too old", async || {
        seen().await == 0
    })
    .await;
}

/// The place where activity is kept is away: nobody waits for it, and what is lost is counted.
#[tokio::test(flavor = "multi_thread")]
async fn requests_go_on_while_activity_cannot_be_written() {
    let world = World::new(&[("DATABASE_TIMEOUT", "1")]).await;
    let server = world.place.serve();
    let ada = world.user("user_ada");
    world.me(&server, &ada).await.expect_ok();
    world.get(&server, "/v1/activity", &ada).await.expect_ok();
    let file = format!("tenants/{}.db", world.acme);
    let mut connection = open(&world.place.path().join(file)).await;
    lock(&mut connection).await;
    let sign_in = async |number: usize| {
        let token = world.sandbox.user_token("user_ada").claim("jti", number);
        let begun = Instant::now();
        world.me(&server, &token.mint()).await.expect_ok();
        begun.elapsed()
    };
    for number in 0..10 {
        let took = sign_in(number).await;
        assert!(took < Duration::from_millis(500), "{took:?}");
    }
    let lost = async || {
        let metrics = world.http.get(format!("{}/metrics", server.admin));
        let text = Answer::of(metrics).await.text;
        let name = "vestibule_activity_dropped_total ";
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.map_or(0, |count| count.parse::<usize>().unwrap())
    };
    eventually(
        Duration::from_secs(10),
        "what is lost is counted",
        async || lost().await == 10,
    )
    .await;
    connection.close().await.unwrap();
    sign_in(10).await;
    let page = world.get(&server, "/v1/activity", &ada).await.expect_ok();
    assert_eq!(items(&page.json()).len(), 2, "{page:?}");
    assert_eq!(lost().await, 10);
}
