//! Spans, as a collector of OpenTelemetry gets them: OTLP over HTTP, read by the protocol's own
//! messages.

mod collector;

use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use tonic::metadata::MetadataValue;
use vestibule_sandbox::{Endpoint, Fault, Sandbox, Target};

use self::collector::{Collector, Mood, SOON, one};
use crate::{
    grpc::{self, channel, described},
    logs::{credentials, holds_one_of},
    support::Running,
    world::{Answer, World, eventually},
};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

async fn world(collector: &Collector, settings: &[(&str, &str)]) -> World {
    let url = collector.url();
    let mut all = vec![("OTEL_EXPORTER_OTLP_ENDPOINT", &*url)];
    all.extend(settings);
    World::new(&all).await
}

/// What the metric says now.
async fn counted(world: &World, server: &Running, name: &str) -> u64 {
    let text = Answer::of(world.http.get(format!("{}/metrics", server.admin))).await;
    let name = format!("{name} ");
    let line = text.text.lines().find_map(|line| line.strip_prefix(&name));
    line.unwrap().parse().unwrap()
}

async fn dropped(world: &World, server: &Running) -> u64 {
    counted(world, server, "vestibule_spans_dropped_total").await
}

async fn me_within(world: &World, server: &Running, parent: &str, state: &str) -> Answer {
    let request = world.http.get(format!("{}/v1/me", server.public));
    let request = request.bearer_auth(world.user("user_ada"));
    let request = request.header("traceparent", parent);
    Answer::of(request.header("tracestate", state)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_one_trace_down_to_the_provider_and_the_database() {
    let collector = Collector::start().await;
    let world = world(
        &collector,
        &[
            ("VESTIBULE_ACCESS_LOG", "all"),
            ("OTEL_SERVICE_NAME", "door"),
            (
                "OTEL_RESOURCE_ATTRIBUTES",
                "deployment.environment.name=a%20test",
            ),
            ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=0123456789"),
        ],
    )
    .await;
    let server = world.place.serve();
    let ada = world.user("user_ada");
    world
        .get(&server, "/v1/activity?limit=7", &ada)
        .await
        .expect_ok();
    let (root, trace) = collector.trace_of("GET /v1/activity").await;

    assert_eq!((root.kind, &*root.parent), (SpanKind::Server, ""));
    root.has(&[
        ("http.request.method", "GET"),
        ("http.route", "/v1/activity"),
        ("http.response.status_code", "200"),
        ("principal.kind", "user"),
        ("account.id", &world.acme),
    ]);
    assert!(!root.is_error && !root.attributes.contains_key("reason"));
    let line = &server.access_lines(1)[0];
    assert_eq!(line["trace_id"], root.trace);
    assert_eq!(line["request_id"], root.attributes["vestibule.request_id"]);

    let caller = one(&trace, "authenticate");
    assert_eq!(
        (caller.kind, &caller.parent),
        (SpanKind::Internal, &root.id)
    );
    caller.has(&[
        ("vestibule.token_cache", "miss"),
        ("principal.kind", "user"),
    ]);

    let user = one(&trace, "GET user");
    assert_eq!((user.kind, &user.parent), (SpanKind::Client, &caller.id));
    let port = world.sandbox.url().rsplit_once(':').unwrap().1.to_owned();
    user.has(&[
        ("http.response.status_code", "200"),
        ("vestibule.provider.endpoint", "user"),
        ("server.address", "127.0.0.1"),
        ("server.port", port.trim_end_matches('/')),
    ]);
    let calls = world.sandbox.call_log();
    let call = calls.iter().find(|call| call.endpoint == Endpoint::User);
    let sent = format!("00-{}-{}-01", root.trace, user.id);
    assert_eq!(call.unwrap().traceparent.as_deref(), Some(&*sent));

    let session = one(&trace, "session");
    assert_eq!(
        (session.kind, &session.parent),
        (SpanKind::Client, &root.id)
    );
    session.has(&[
        ("db.system.name", "sqlite"),
        ("vestibule.session.end", "commit"),
        ("account.id", &world.acme),
    ]);
    for span in &trace {
        assert!(
            span.began >= root.began && span.ended <= root.ended,
            "{span:?}\n{root:?}"
        );
    }

    // Again: nothing to find out, nobody to ask, and the short cut leaves a span too.
    for _ in 0..2 {
        world.me(&server, &ada).await.expect_ok();
    }
    eventually(SOON, "two", async || {
        collector
            .spans()
            .iter()
            .filter(|span| span.is("GET /v1/me"))
            .count()
            == 2
    })
    .await;
    let (root, trace) = collector.trace_of("GET /v1/me").await;
    one(&trace, "authenticate").has(&[("vestibule.token_cache", "hit")]);
    assert_eq!(trace.len(), 2, "{root:?}: {trace:#?}");

    let seen = collector.seen.lock().unwrap();
    assert_eq!(seen.headers["content-type"], "application/x-protobuf");
    assert_eq!(seen.headers["api-key"], "0123456789");
    assert_eq!(seen.resource["service.name"], "door");
    assert_eq!(seen.resource["deployment.environment.name"], "a test");
    assert_eq!(seen.resource["service.version"], env!("CARGO_PKG_VERSION"));
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_and_unknown_paths() {
    let collector = Collector::start().await;
    let world = world(&collector, &[]).await;
    let server = world.place.serve();
    world
        .me(&server, "a.b.c")
        .await
        .expect(401, "invalid_token");
    let (root, trace) = collector.trace_of("GET /v1/me").await;
    assert!(!root.is_error, "{root:?}");
    root.has(&[("http.response.status_code", "401")]);
    let line = &server.access_lines(1)[0];
    let reason = line["reason"].as_str().unwrap();
    root.has(&[("reason", reason)]);
    one(&trace, "authenticate").has(&[("reason", reason)]);
    assert_eq!(line["trace_id"], root.trace);

    let path = world
        .http
        .get(format!("{}/ada@acme.example", server.public));
    Answer::of(path).await.expect(404, "not_found");
    let (root, _) = collector.trace_of("GET").await;
    assert!(!root.attributes.contains_key("http.route"), "{root:?}");

    world.sandbox.fail(Target::All, Fault::Status(500));
    let other = world.user("user_alan");
    world.me(&server, &other).await.expect_undecided();
    let (call, _) = collector.trace_of("GET user").await;
    assert!(call.is_error, "{call:?}");
    call.has(&[
        ("error.type", "status"),
        ("http.response.status_code", "500"),
    ]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trusted_proxys_trace_goes_on_with_its_flag() {
    let collector = Collector::start().await;
    let settings = [
        ("VESTIBULE_TRUSTED_PROXIES", "127.0.0.1"),
        ("OTEL_TRACES_SAMPLER", "parentbased_always_off"),
    ];
    let world = world(&collector, &settings).await;
    let server = world.place.serve();
    let state = "acme=1,other=2";
    for flags in ["00", "01"] {
        let parent = format!("00-{TRACE}-{PARENT}-{flags}");
        me_within(&world, &server, &parent, state).await.expect_ok();
    }
    let (root, trace) = collector.trace_of("GET /v1/me").await;
    assert_eq!((&*root.trace, &*root.parent), (TRACE, PARENT));
    assert_eq!(root.state, state);
    assert!(trace.len() > 1);
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    let roots = collector.spans();
    assert_eq!(roots.iter().filter(|span| span.is("GET /v1/me")).count(), 1);
    // Where it is not recorded it goes on all the same.
    let mut call = world.sandbox.call_log().into_iter();
    let call = call.rfind(|call| call.endpoint == Endpoint::User).unwrap();
    let sent = call.traceparent.unwrap();
    assert!(
        sent.starts_with(&format!("00-{TRACE}-")) && sent.ends_with("-00"),
        "{sent}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_strangers_trace_goes_on_and_his_flag_decides_nothing() {
    let collector = Collector::start().await;
    for (sampler, is_recorded) in [
        ("parentbased_always_off", false),
        ("parentbased_always_on", true),
    ] {
        let world = world(&collector, &[("OTEL_TRACES_SAMPLER", sampler)]).await;
        let mut server = world.place.serve();
        for flags in ["00", "01"] {
            let parent = format!("00-{TRACE}-{PARENT}-{flags}");
            me_within(&world, &server, &parent, "acme=1")
                .await
                .expect_ok();
        }
        server.stop("-TERM");
        let spans = collector.spans();
        let roots: Vec<_> = spans.iter().filter(|span| span.is("GET /v1/me")).collect();
        assert_eq!(
            roots.len(),
            if is_recorded { 2 } else { 0 },
            "{sampler}: {spans:#?}"
        );
        for root in roots {
            assert_eq!((&*root.trace, &*root.parent), (TRACE, PARENT));
            assert_eq!(root.state, "", "his list goes nowhere");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_headers_begin_a_trace_of_its_own() {
    let collector = Collector::start().await;
    let world = world(&collector, &[("VESTIBULE_TRUSTED_PROXIES", "127.0.0.1")]).await;
    let server = world.place.serve();
    let good = format!("00-{TRACE}-{PARENT}-00");
    let malformed = [
        good.to_uppercase(),
        good.replace('-', ""),
        format!("ff{}", &good[2..]),
        format!("{good}-more"),
        format!("00-{}-{PARENT}-00", "0".repeat(32)),
        "x".repeat(10_000),
    ];
    for parent in &malformed {
        me_within(&world, &server, parent, "acme=1")
            .await
            .expect_ok();
    }
    let twice = world.http.get(format!("{}/v1/me", server.public));
    let twice = twice.bearer_auth(world.user("user_ada"));
    let twice = twice
        .header("traceparent", &good)
        .header("traceparent", &good);
    Answer::of(twice).await.expect_ok();
    let roots = || {
        let spans = collector.spans().into_iter();
        spans
            .filter(|span| span.is("GET /v1/me"))
            .collect::<Vec<_>>()
    };
    let expected = malformed.len() + 1;
    eventually(SOON, "all", async || roots().len() == expected).await;
    for root in roots() {
        assert!(
            root.trace != TRACE && root.parent.is_empty() && root.state.is_empty(),
            "{root:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn envoys_checks_belong_to_envoys_trace() {
    let collector = Collector::start().await;
    let settings = [
        grpc::LISTEN,
        ("VESTIBULE_TRUSTED_PROXIES", "127.0.0.1"),
        ("OTEL_TRACES_SAMPLER", "parentbased_always_off"),
    ];
    let world = world(&collector, &settings).await;
    let server = world.place.serve();
    let channel = channel(&server).await;
    let bearer = format!("Bearer {}", world.user("user_ada"));
    let clients = format!("00-{}-{PARENT}-01", "a".repeat(32));
    let sent = described(&[("authorization", &bearer), ("traceparent", &clients)]);
    let envoys = format!("00-{TRACE}-{PARENT}-01");
    let envoys = MetadataValue::try_from(envoys).unwrap();
    grpc::check_with(&channel, sent.clone(), |metadata| {
        metadata.insert("traceparent", envoys);
    })
    .await
    .unwrap();
    let (root, trace) = collector.trace_of("GET /v1/authorize").await;
    assert_eq!((&*root.trace, &*root.parent), (TRACE, PARENT));
    root.has(&[
        ("http.response.status_code", "200"),
        ("principal.kind", "user"),
    ]);
    one(&trace, "authenticate");
    // Without a word of Envoy's own, its client's flag is that of a stranger.
    grpc::check(&channel, sent).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    let checks = collector.spans();
    assert_eq!(
        checks
            .iter()
            .filter(|span| span.is("GET /v1/authorize"))
            .count(),
        1
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn no_token_no_key_no_e_mail_no_path_and_no_query_in_any_span() {
    let collector = Collector::start().await;
    let settings = [("VESTIBULE_TRUSTED_PROXIES", "10.0.0.1")];
    let world = world(&collector, &settings).await;
    let mut server = world.place.serve();
    let mut secrets = Vec::new();
    for (round, path) in [
        "/v1/me",
        "/v1/authorize/ada@acme.example",
        "/v1/users?q=ada@acme.example",
    ]
    .into_iter()
    .enumerate()
    {
        for credentials in credentials(&world, round) {
            let request = world.http.get(format!("{}{path}", server.public));
            let request = request.header("authorization", &credentials);
            let request = request.header("tracestate", "secret=ada@acme.example");
            Answer::of(request.header("traceparent", format!("00-{TRACE}-{PARENT}-01"))).await;
            let parts = credentials.split(['.', ' ']).filter(|part| part.len() > 24);
            secrets.extend(parts.map(str::to_owned));
        }
    }
    assert_eq!(server.stop("-TERM").0, Some(0));
    let seen = collector.seen.lock().unwrap();
    assert!(seen.spans.len() > 150, "{}", seen.spans.len());
    let text = String::from_utf8_lossy(&seen.bodies);
    assert_eq!(holds_one_of(&text, &secrets), None);
    for piece in [
        "eyJ",
        "MC4CAQAwBQYDK2Vw",
        "acme.example",
        "Bearer ",
        "user_ada",
        "tenant_acme",
    ] {
        assert!(!text.contains(piece), "{piece}");
    }
    // Among bytes that are no text it would mean nothing.
    assert!(!format!("{:?}", seen.spans).contains('@'));
    let known = [
        "account.id",
        "db.system.name",
        "error.type",
        "http.request.method",
        "http.response.status_code",
        "http.route",
        "principal.kind",
        "reason",
        "server.address",
        "server.port",
        "vestibule.provider.endpoint",
        "vestibule.request_id",
        "vestibule.session.end",
        "vestibule.token_cache",
    ];
    for span in &seen.spans {
        for name in span.attributes.keys() {
            assert!(known.contains(&&**name), "{name} of {span:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_fails_costs_spans_and_no_request() {
    let collector = Collector::start().await;
    let world = world(&collector, &[]).await;
    let server = world.place.serve();
    let ada = world.user("user_ada");
    world.me(&server, &ada).await.expect_ok();
    collector.trace_of("GET /v1/me").await;
    assert_eq!(dropped(&world, &server).await, 0);
    assert!(counted(&world, &server, "vestibule_spans_exported_total").await >= 2);

    // Refused for good: dropped at once, and one line for it.
    collector.is(Mood::Fails(400));
    world.me(&server, &ada).await.expect_ok();
    eventually(SOON, "dropped", async || {
        dropped(&world, &server).await >= 2
    })
    .await;
    let said = "spans could not be exported";
    eventually(SOON, said, async || server.log().contains(said)).await;
    assert!(!server.log().contains(&collector.address.to_string()));

    // May pass: tried again until it has.
    collector.is(Mood::Fails(503));
    let before = collector.requests();
    world.me(&server, &ada).await.expect_ok();
    eventually(SOON, "tried twice", async || {
        collector.requests() >= before + 2
    })
    .await;
    let lost = dropped(&world, &server).await;
    collector.is(Mood::RefusesTwo);
    eventually(SOON, "taken, but for two", async || {
        dropped(&world, &server).await == lost + 2
    })
    .await;

    // Hangs: what finds no place is dropped, and nobody waits.
    collector.is(Mood::Hangs);
    let begun = Instant::now();
    let mut slowest = Duration::ZERO;
    for _ in 0..1_500 {
        let began = Instant::now();
        world.me(&server, &ada).await.expect_ok();
        slowest = slowest.max(began.elapsed());
    }
    assert!(
        slowest < Duration::from_secs(1),
        "{slowest:?} of {:?}",
        begun.elapsed()
    );
    eventually(SOON, "dropped", async || {
        dropped(&world, &server).await > 100
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_is_sent_at_the_end_and_a_collector_that_hangs_is_not_waited_for() {
    let collector = Collector::start().await;
    for mood in [Mood::Takes, Mood::Hangs, Mood::Fails(503)] {
        let world = world(&collector, &[]).await;
        let mut server = world.place.serve();
        let before = collector.spans().len();
        collector.is(mood);
        for _ in 0..20 {
            world.me(&server, &world.user("user_ada")).await.expect_ok();
        }
        let (code, took) = server.stop("-TERM");
        assert_eq!(code, Some(0), "{mood:?}");
        assert!(took < Duration::from_secs(2), "{mood:?}: {took:?}");
        if mood == Mood::Takes {
            let after = collector.spans();
            let roots = after[before..].iter().filter(|span| span.is("GET /v1/me"));
            assert_eq!(roots.count(), 20);
        }
        collector.is(Mood::Takes);
    }
}

/// Nobody listens there.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_collector_everything_goes_on() {
    let world = World::new(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")]).await;
    let mut server = world.place.serve();
    for _ in 0..100 {
        world.me(&server, &world.user("user_ada")).await.expect_ok();
    }
    let (code, took) = server.stop("-TERM");
    assert_eq!(code, Some(0));
    assert!(took < Duration::from_secs(2), "{took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn off_nothing_is_read_and_nothing_sent() {
    let collector = Collector::start().await;
    let url = collector.url();
    for settings in [
        &[][..],
        &[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &*url),
            ("OTEL_SDK_DISABLED", "true"),
        ],
    ] {
        let mut all = vec![("VESTIBULE_ACCESS_LOG", "all"), ("VESTIBULE_LOG", "trace")];
        all.extend(settings);
        let world = World::new(&all).await;
        let server = world.place.serve();
        let parent = format!("00-{TRACE}-{PARENT}-01");
        me_within(&world, &server, &parent, "").await.expect_ok();
        let line = &server.access_lines(1)[0];
        assert!(line.get("trace_id").is_none(), "{line}");
        let calls = world.sandbox.call_log();
        assert!(
            calls.iter().all(|call| call.traceparent.is_none()),
            "{calls:?}"
        );
        assert!(!server.log().contains(TRACE));
    }
    assert_eq!(collector.requests(), 0);
}

/// The sandbox is no collector, but it has a certificate of the authority in `SSL_CERT_FILE`.
#[tokio::test(flavor = "multi_thread")]
async fn over_tls_by_the_named_authority_and_past_the_environments_proxies() {
    let sandbox = Sandbox::builder().tls(true).start().await.unwrap();
    let mut world = World::beside(sandbox, &[("HTTPS_PROXY", "http://127.0.0.1:1")]);
    let url = format!("{}/otlp", world.sandbox.url());
    world.place.set("OTEL_EXPORTER_OTLP_ENDPOINT", &url);
    world
        .place
        .set("OTEL_EXPORTER_OTLP_HEADERS", "api-key=hunter2");
    let server = world.place.serve();
    world.me(&server, &world.user("user_ada")).await.expect_ok();
    eventually(SOON, "asked", async || {
        world.sandbox.calls_for("/otlp/v1/traces") > 0
    })
    .await;
    let calls = world.sandbox.call_log();
    let sent = calls
        .iter()
        .find(|call| call.path == "/otlp/v1/traces")
        .unwrap();
    assert_eq!(sent.method, "POST");
    assert!(!server.log().contains("hunter2"));
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_are_shown_without_the_secret_and_change_with_the_next_start() {
    let collector = Collector::start().await;
    let mut world = world(&collector, &[]).await;
    let files = tempfile::tempdir().unwrap();
    let secret = files.path().join("headers");
    std::fs::write(&secret, "api-key=hunter2-hunter2\n").unwrap();
    world
        .place
        .set("OTEL_EXPORTER_OTLP_HEADERS_FILE", secret.to_str().unwrap());
    let said = world.place.run(&["config", "check"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(
        said.stdout
            .contains(&format!("{}/v1/traces", collector.url())),
        "{said:?}"
    );
    assert!(!said.stdout.contains("hunter2"), "{said:?}");

    let file = files.path().join("vestibule.toml");
    std::fs::write(&file, "otel_service_name = \"one\"\n").unwrap();
    let server = world
        .place
        .serve_with(&["--config", file.to_str().unwrap()]);
    world.me(&server, &world.user("user_ada")).await.expect_ok();
    collector.trace_of("GET /v1/me").await;
    let seen = || {
        let seen = collector.seen.lock().unwrap();
        (
            seen.headers["api-key"].clone(),
            seen.resource["service.name"].clone(),
        )
    };
    assert_eq!(seen().0, "hunter2-hunter2");
    assert_eq!(seen().1, "one");
    std::fs::write(&file, "otel_service_name = \"another\"\n").unwrap();
    let said = "the settings of traces (OTEL_…) change with the next start";
    eventually(SOON, "said", async || server.log().contains(said)).await;
    assert!(
        server.log().contains(r#""library":false"#),
        "{}",
        server.log()
    );
    let before = collector.spans().len();
    world.me(&server, &world.user("user_ada")).await.expect_ok();
    eventually(SOON, "more", async || collector.spans().len() > before).await;
    assert_eq!(seen().1, "one");
}
