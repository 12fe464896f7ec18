//! The admin listener: metrics under the contract's names, with labels that callers cannot grow.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::StreamExt as _;
use vestibule::error::Reason;
use vestibule_sandbox::{Tenant, User};

use crate::{
    support::Running,
    world::{Answer, World},
};

/// The contract's names, with their labels.
const NAMES: &[(&str, &[&str])] = &[
    (
        "vestibule_authentications_total",
        &["kind", "outcome", "reason"],
    ),
    ("vestibule_authentication_duration_seconds", &["path"]),
    ("vestibule_token_cache_hits_total", &[]),
    ("vestibule_token_cache_misses_total", &[]),
    ("vestibule_token_cache_evictions_total", &[]),
    ("vestibule_token_cache_entries", &[]),
    (
        "vestibule_provider_requests_total",
        &["endpoint", "outcome"],
    ),
    (
        "vestibule_provider_requests_duration_seconds",
        &["endpoint"],
    ),
    ("vestibule_users_provisioned_total", &[]),
    ("vestibule_spans_exported_total", &[]),
    ("vestibule_spans_dropped_total", &[]),
    ("vestibule_tenant_sessions_open", &[]),
    ("vestibule_tenant_sessions_opened_total", &[]),
];

type Series = BTreeMap<String, Vec<BTreeMap<String, String>>>;

async fn scrape(world: &World, server: &Running) -> String {
    let answer = Answer::of(world.http.get(format!("{}/metrics", server.admin))).await;
    answer.expect_ok().text
}

/// Label sets by metric, those of a histogram's parts under its own name.
fn series(text: &str) -> Series {
    let mut found = Series::new();
    for line in text
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
    {
        let (name, value) = line.rsplit_once(' ').unwrap();
        value.parse::<f64>().unwrap();
        let (name, labels) = match name.split_once('{') {
            Some((name, labels)) => (name, labels.strip_suffix('}').unwrap()),
            None => (name, ""),
        };
        let labels = labels.split(',').filter(|label| !label.is_empty());
        let labels = labels.map(|label| {
            let (name, value) = label.split_once('=').unwrap();
            (name.to_owned(), value.trim_matches('"').to_owned())
        });
        let parts = ["_bucket", "_sum", "_count"];
        let stem = parts.iter().find_map(|part| name.strip_suffix(part));
        let stem = stem
            .filter(|stem| stem.ends_with("_seconds"))
            .unwrap_or(name);
        found
            .entry(stem.to_owned())
            .or_default()
            .push(labels.collect());
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_there_and_labels_are_bounded() {
    let world = World::new(&[("TOKEN_CACHE_SIZE", "4")]).await;
    let server = world.place.serve();
    let (ada, robot) = (world.user("user_ada"), world.robot("sc_robot01"));
    for token in [&ada, &ada, &robot, &robot] {
        world.get(&server, "/v1/activity", token).await.expect_ok();
    }
    // All manner of refusals, each with names of its own.
    let hostile = |n: usize| {
        let user = world.sandbox.user_token("user_ada").claim("jti", n);
        [
            user.clone().issuer(format!("https://{n}.example")),
            user.clone().kid(format!("kid{n}")),
            user.clone().tamper_signature(),
            user.clone().typ(format!("type{n}")),
            user.clone().audience(format!("tenant_{n}")),
            user.clone().sub(format!("user_{n}")),
            user.clone().expires_in(-100).client_id(format!("app_{n}")),
            world.sandbox.client_token(&format!("sc_none{n}")),
            user,
        ]
    };
    let mut first = None;
    for round in 0..2 {
        for number in 0..8 {
            for token in hostile(round * 8 + number) {
                world.me(&server, &token.mint()).await;
            }
        }
        world.me(&server, "a.b.c").await;
        let text = scrape(&world, &server).await;
        let found = series(&text);
        let all = found
            .into_iter()
            .flat_map(|(name, all)| all.into_iter().map(move |labels| (name.clone(), labels)));
        let all: BTreeSet<_> = all.collect();
        let first = first.get_or_insert_with(|| all.clone());
        let grown: Vec<_> = all.difference(first).collect();
        assert!(grown.is_empty(), "with what strangers send: {grown:?}");
    }

    let text = scrape(&world, &server).await;
    let found = series(&text);
    for (name, labels) in NAMES {
        let all = found
            .get(*name)
            .unwrap_or_else(|| panic!("{name}:\n{text}"));
        let expected: BTreeSet<_> = labels.iter().map(|label| (*label).to_owned()).collect();
        for series in all {
            let mut names: BTreeSet<_> = series.keys().cloned().collect();
            names.remove("le");
            assert_eq!(names, expected, "{name}");
        }
        assert!(text.contains(&format!("# TYPE {name} ")), "{name}");
    }
    let reasons: BTreeSet<_> = Reason::ALL
        .iter()
        .map(|it| it.as_str())
        .chain([""])
        .collect();
    let values: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::from([
        ("outcome", ["accepted", "refused"].into()),
        ("kind", ["user", "machine", "unknown"].into()),
        ("reason", reasons),
    ]);
    for series in &found["vestibule_authentications_total"] {
        for (label, value) in series {
            assert!(
                values[label.as_str()].contains(value.as_str()),
                "{series:?}"
            );
        }
    }
    for series in &found["vestibule_provider_requests_total"] {
        let endpoints = ["jwks", "client_jwks", "user", "tenant", "client"];
        assert!(
            endpoints.contains(&series["endpoint"].as_str()),
            "{series:?}"
        );
    }
    for name in [
        "user_ada",
        "sc_robot",
        "tenant_acme",
        "example",
        &world.acme,
    ] {
        assert!(!text.contains(name), "{name}:\n{text}");
    }
    let value = |name: &str| {
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(&format!("{name} ")));
        line.unwrap().parse::<u32>().unwrap()
    };
    // Gauges are those of the moment, and the cache is no larger than it may be.
    assert!(value("vestibule_token_cache_entries") <= 4);
    assert!(value("vestibule_token_cache_evictions_total") > 0);
    assert_eq!(value("vestibule_users_provisioned_total"), 1);
    assert_eq!(value("vestibule_tenant_sessions_open"), 0);
    assert!(value("vestibule_tenant_sessions_opened_total") >= 4);
}

/// Counters exist before anything was counted, so that a rate can be taken of the first event.
#[tokio::test(flavor = "multi_thread")]
async fn a_fresh_server_has_its_counters() {
    let world = World::new(&[]).await;
    let server = world.place.serve();
    let found = series(&scrape(&world, &server).await);
    for (name, labels) in NAMES {
        if labels.is_empty() {
            assert!(found.contains_key(*name), "{name}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_else_is_there() {
    let world = World::new(&[]).await;
    let server = world.place.serve();
    let ada = world.user("user_ada");
    for path in [
        "/",
        "/v1/me",
        "/v1/authorize",
        "/healthz",
        "/metrics/",
        "/admin",
    ] {
        let request = world.http.get(format!("{}{path}", server.admin));
        let answer = Answer::of(request.bearer_auth(&ada)).await;
        answer.expect(404, "not_found");
    }
    let posted = Answer::of(world.http.post(format!("{}/metrics", server.admin))).await;
    let posted = posted.expect(405, "method_not_allowed");
    assert_eq!(posted.header("allow"), Some("GET,HEAD"));
    for host in ["evil.example", "127.0.0.1.evil.example", "user@localhost"] {
        for path in ["/metrics", "/"] {
            let request = world.http.get(format!("{}{path}", server.admin));
            let answer = Answer::of(request.header("host", host)).await;
            let answer = answer.expect(400, "invalid_request");
            assert!(!answer.text.contains("vestibule_token"), "{host}");
        }
    }
    // And the public listener has no metrics.
    let public = Answer::of(world.http.get(format!("{}/metrics", server.public))).await;
    public.expect(404, "not_found");
}

/// However many accounts there are. `SERIES_ACCOUNTS` says how many.
#[tokio::test(flavor = "multi_thread")]
async fn accounts_make_no_series() {
    let accounts = std::env::var("SERIES_ACCOUNTS").map_or(40, |count| count.parse().unwrap());
    let world = World::new(&[]).await;
    let server = world.place.serve();
    let count = async || {
        let found = series(&scrape(&world, &server).await);
        found.values().map(Vec::len).sum::<usize>()
    };
    let records = (0..accounts).map(|number| {
        format!("{{\"kind\":\"account\",\"name\":\"Customer {number}\",\"tenant\":\"tenant_{number}\"}}\n")
    });
    let records: String = records.collect();
    let import = ["import", "-", "--format", "jsonl"];
    let imported = world.place.run_with(&import, &records);
    assert_eq!(imported.code, 0, "{imported:?}");
    let visit = async |number: usize| {
        let tenant = format!("tenant_{number}");
        let user = format!("user_of_{number}");
        world.sandbox.add_tenant(Tenant::new(&tenant));
        world.sandbox.add_user(User::new(&user));
        let token = world.sandbox.user_token(&user).tenant(&tenant).mint();
        world.me(&server, &token).await.expect_ok();
        world.get(&server, "/v1/activity", &token).await.expect_ok();
    };
    visit(0).await;
    let first = count().await;
    futures_util::stream::iter(1..accounts)
        .for_each_concurrent(16, &visit)
        .await;
    let all = count().await;
    println!("series: {all} of {accounts} accounts with traffic, {first} of the first one");
    assert_eq!(all, first, "of {accounts} accounts");
    assert!(all <= 2_000, "{all}");
}
