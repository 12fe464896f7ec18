//! Mistakes in the settings: all of them in one report, before anything is made.

use std::{collections::BTreeSet, fs, time::Duration};

use vestibule::settings::SETTINGS;
use vestibule_sandbox::Sandbox;

use crate::{
    support::{Place, Said},
    world::{Answer, eventually, http},
};

const SECRET: &str = "hunter2";

/// Each setting with a value that it cannot have.
const WRONG: &[(&str, &str)] = &[
    (
        "AUTHRESS_API_URL",
        "https://hunter2:hunter2@auth.example.com",
    ),
    ("AUTHRESS_API_URL", "http://auth.example.com"),
    ("AUTHRESS_API_URL", "https://auth.example.com/v1"),
    ("AUTHRESS_API_URL", "auth.example.com"),
    ("AUTHRESS_ACCESS_KEY", "sc_server01.k1.hunter2"),
    ("AUTHRESS_ACCESS_KEY", "sc_server01.k1.acme.hunter2"),
    ("AUTHRESS_ACCESS_KEY", "sc_server01..acme.MC4CAQAwBQYDK2Vw"),
    ("AUTHRESS_ISSUERS", "https://hunter2@auth.example.com"),
    ("AUTHRESS_ISSUERS", "https://a.example,nonsense"),
    ("AUTHRESS_TENANT_CLAIM", "sub"),
    ("AUTHRESS_REQUIRE_TENANT", "perhaps"),
    ("AUTHRESS_ALLOW_CLIENT_ISSUED_USERS", "yes!"),
    ("USER_PROVISIONING", "always"),
    ("DATABASE_URL", "mysql://hunter2:hunter2@db.example/x"),
    ("DATABASE_URL", "vestibule.db"),
    ("TENANCY", "island"),
    ("DATABASE_POOL_SIZE", "0"),
    ("DATABASE_TIMEOUT", "soon"),
    ("ACTIVITY_KEEP", "-1"),
    ("ACTIVITY_MAX_AGE", "30d"),
    ("PRINCIPAL_MAX_STALE", "1"),
    ("TOKEN_CACHE_SIZE", "-1"),
    ("TOKEN_CACHE_TTL", "5m"),
    ("TOKEN_LEEWAY", "-30"),
    ("TOKEN_MAX_LIFETIME", "0"),
    ("TOKEN_REFUSAL_LIMIT", "-1"),
    ("USER_CACHE_TTL", "1e99"),
    ("USER_CACHE_MAX_AGE", "NaN"),
    ("JWKS_REFRESH", "0"),
    ("JWKS_MAX_AGE", "inf"),
    ("PROVIDER_TIMEOUT", "0"),
    ("PROVIDER_OUTAGE_STATUS", "502"),
    ("PROVIDER_PROXY", "ftp://hunter2:hunter2@proxy.example"),
    ("VESTIBULE_ASSERTION_AUDIENCES", "two words"),
    ("VESTIBULE_ASSERTION_ISSUER", "two words"),
    ("VESTIBULE_GRPC_LISTEN", "grpc"),
    ("VESTIBULE_LISTEN", "8080"),
    ("VESTIBULE_TRUSTED_PROXIES", "hunter2"),
    ("VESTIBULE_LISTEN", "vestibule.example:8080"),
    ("VESTIBULE_ADMIN_LISTEN", "127.0.0.1:99999"),
    ("VESTIBULE_ADMIN_HOSTS", "*"),
    ("VESTIBULE_ADMIN_TOKEN", "hunter2"),
    ("VESTIBULE_ACCEPT_ASSERTIONS", "orders,billing"),
    ("VESTIBULE_DECISION_MAX_AGE", "6"),
    ("VESTIBULE_DRAIN", "301"),
    ("VESTIBULE_ACCESS_LOG", "1.5"),
    ("VESTIBULE_LOG", "vestibule=loud"),
    ("VESTIBULE_LOG_FORMAT", "xml"),
    (
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "http://hunter2:hunter2@otel.example:4318",
    ),
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "grpc://otel.example:4317"),
    ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "otel.example:4318"),
    ("OTEL_EXPORTER_OTLP_HEADERS", "hunter2"),
    ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
    ("OTEL_RESOURCE_ATTRIBUTES", "production"),
    ("OTEL_TRACES_SAMPLER", "jaeger_remote"),
    ("OTEL_TRACES_SAMPLER_ARG", "10%"),
    ("OTEL_SDK_DISABLED", "perhaps"),
];

/// The same for settings that are read only where the database is PostgreSQL.
const WRONG_ON_POSTGRES: &[(&str, &str)] = &[
    ("DATABASE_ADMIN_URL", "mysql://hunter2:hunter2@db.example/x"),
    (
        "DATABASE_ADMIN_URL",
        "postgres://hunter2:hunter2@db.example",
    ),
    ("VESTIBULE_BINDING_KEY", "hunter2"),
    (
        "VESTIBULE_CLUSTERS",
        "postgres://hunter2:hunter2@db.example/x",
    ),
    (
        "VESTIBULE_ADMIN_CLUSTERS",
        "EU=postgres://hunter2:hunter2@db.example/x",
    ),
];

/// Any text will do.
const FREE: &[&str] = &[
    "AUTHRESS_MACHINE_AUDIENCE",
    "API_AUDIENCES",
    "AUTHRESS_APPLICATIONS",
    "TENANT_DATABASE_DIR",
    "OTEL_SERVICE_NAME",
];

/// A place with everything that `serve` requires.
async fn sound() -> (Sandbox, Place) {
    let sandbox = Sandbox::builder().start().await.unwrap();
    let mut place = Place::new().with_sandbox(&sandbox);
    place.set("VESTIBULE_LISTEN", "127.0.0.1:0");
    place.set("VESTIBULE_ADMIN_LISTEN", "127.0.0.1:0");
    (sandbox, place)
}

/// The names in the report, in its order.
#[track_caller]
fn reported(place: &Place, said: &Said) -> Vec<String> {
    assert_eq!(said.code, 2, "{said:?}");
    assert_eq!(said.stdout, "", "{said:?}");
    assert!(place.is_untouched(), "{said:?}");
    assert!(!said.stderr.contains(SECRET), "{said:?}");
    let mut lines = said.stderr.lines();
    let head = lines.next().unwrap();
    assert!(head.contains("nothing was created or changed"), "{said:?}");
    let problems = lines.map(|line| line.trim().split_once(": ").unwrap());
    problems
        .map(|(name, problem)| {
            let advises = ["must", "set ", "remove", "use ", "keep ", "such as"];
            let advised = advises.iter().any(|word| problem.contains(word));
            assert!(advised, "{name}: {problem}: what is to be done?");
            name.to_owned()
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_wrong_value_is_named() {
    let on_postgres = WRONG_ON_POSTGRES.iter();
    let tried: BTreeSet<_> = WRONG
        .iter()
        .chain(on_postgres)
        .map(|(name, _)| *name)
        .collect();
    let known: BTreeSet<_> = SETTINGS.iter().map(|setting| setting.name).collect();
    let free: BTreeSet<_> = FREE.iter().copied().collect();
    assert_eq!(&tried | &free, known, "a setting is not tried here");
    assert!(tried.is_disjoint(&free));

    let (_sandbox, mut place) = sound().await;
    let key = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";
    for (index, (name, value)) in WRONG.iter().chain(WRONG_ON_POSTGRES).enumerate() {
        if index == WRONG.len() {
            place.set("DATABASE_URL", "postgres://a:hunter2@127.0.0.1:1/x");
            place.set("VESTIBULE_BINDING_KEY", key);
        }
        let before = place.set(name, value);
        assert_eq!(reported(&place, &place.run(&["serve"])), [*name], "{value}");
        match before {
            Some(before) => drop(place.set(name, &before)),
            None => place.unset(name),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_at_once_and_what_is_missing_too() {
    let (_sandbox, mut place) = sound().await;
    for name in ["AUTHRESS_API_URL", "AUTHRESS_ACCESS_KEY"] {
        let value = place.set(name, "").unwrap();
        assert_eq!(reported(&place, &place.run(&["serve"])), [name]);
        place.unset(name);
        assert_eq!(reported(&place, &place.run(&["serve"])), [name]);
        place.set(name, &value);
    }
    // The last wrong value of each.
    for (name, value) in WRONG {
        place.set(name, value);
    }
    place.unset("AUTHRESS_API_URL");
    let said = place.run(&["serve"]);
    let named: BTreeSet<_> = reported(&place, &said).into_iter().collect();
    let wrong: BTreeSet<_> = WRONG.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(named, wrong);
}

#[tokio::test(flavor = "multi_thread")]
async fn mistakes_in_a_file_stand_in_the_same_report() {
    let (_sandbox, mut place) = sound().await;
    let files = tempfile::tempdir().unwrap();
    let file = files.path().join("vestibule.toml");
    let path = file.to_str().unwrap().to_owned();
    place.set("JWKS_REFRESH", "often");
    place.set("TOKEN_CACHE_TTL", "17");
    let report = |text: &str| {
        fs::write(&file, text).unwrap();
        reported(&place, &place.run(&["serve", "--config", &path]))
    };
    assert_eq!(
        report(
            "tokn_cache_size = 1\nTOKEN_LEEWAY = 1\ntoken_cache_size = 1.5\n\
             token_cache_ttl = \"overruled\"\nvestibule_admin_token = \"hunter2\"\n\
             database_pool_size = { most = 3 }\n"
        ),
        [
            "TOKEN_LEEWAY",
            "database_pool_size",
            "tokn_cache_size",
            "TOKEN_CACHE_SIZE",
            "JWKS_REFRESH",
            "VESTIBULE_ADMIN_TOKEN",
        ]
    );
    let broken = report("token_cache_ttl = 1\nauthress_access_key = hunter2");
    assert_eq!(broken, ["--config", "JWKS_REFRESH"]);
    fs::remove_file(&file).unwrap();
    let missing = reported(&place, &place.run(&["--config", &path, "serve"]));
    assert_eq!(missing, ["--config", "JWKS_REFRESH"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_may_come_from_files() {
    let (sandbox, mut place) = sound().await;
    let files = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let file = files.path().join(name);
        fs::write(&file, text).unwrap();
        file.to_str().unwrap().to_owned()
    };
    let key = write("key", &format!("{}\n", sandbox.access_key()));
    let weak = write("weak", "hunter2\n");
    let database = place.database();
    let url = write("url", &format!("sqlite:{}", database.display()));

    place.set("AUTHRESS_ACCESS_KEY_FILE", &key);
    let both = reported(&place, &place.run(&["serve"]));
    assert_eq!(both, ["AUTHRESS_ACCESS_KEY"]);
    place.unset("AUTHRESS_ACCESS_KEY");
    place.set("VESTIBULE_ADMIN_TOKEN_FILE", &weak);
    let weak = reported(&place, &place.run(&["serve"]));
    assert_eq!(weak, ["VESTIBULE_ADMIN_TOKEN"]);
    place.set("VESTIBULE_ADMIN_TOKEN_FILE", "nowhere");
    let nowhere = reported(&place, &place.run(&["serve"]));
    assert_eq!(nowhere, ["VESTIBULE_ADMIN_TOKEN_FILE"]);
    let long = write("long", "0123456789abcdef");
    place.set("VESTIBULE_ADMIN_TOKEN_FILE", &long);

    let proxy = write("proxy", "http://hunter2:hunter2@proxy.example:port");
    place.set("PROVIDER_PROXY_FILE", &proxy);
    let proxy = reported(&place, &place.run(&["serve"]));
    assert_eq!(proxy, ["PROVIDER_PROXY"]);
    place.unset("PROVIDER_PROXY_FILE");

    place.unset("DATABASE_URL");
    place.set("DATABASE_URL_FILE", &url);
    let server = place.serve();
    assert!(database.exists());
    let ready = format!("{}/readyz", server.public);
    eventually(Duration::from_secs(5), "ready", async || {
        Answer::of(http().get(&ready)).await.status == 200
    })
    .await;
    // In a settings file too, where the path is a setting like any other.
    place.unset("AUTHRESS_ACCESS_KEY_FILE");
    let file = write("toml", &format!("authress_access_key_file = \"{key}\""));
    place.serve_with(&["--config", &file]);
}

/// A command on the directory needs no provider and no listener, and looks at neither.
#[test]
fn a_command_needs_only_what_it_uses() {
    let mut place = Place::new();
    for (name, value) in WRONG {
        let used = [
            "ACTIVITY",
            "DATABASE",
            "TENAN",
            "PRINCIPAL",
            "VESTIBULE_LOG",
        ];
        if !used.iter().any(|used| name.starts_with(used)) {
            place.set(name, value);
        }
    }
    let id = place.account("Acme", "tenant_acme");
    for command in [
        &["migrate"][..],
        &["migrate", "--status"],
        &["account", "list"],
        &["account", "show", &id],
        &["account", "rename", &id, "Acme"],
        &["account", "suspend", &id],
        &["account", "resume", &id],
        &["account", "export", &id],
        &["user", "list", "--account", &id],
        &["client", "list"],
        &["account", "delete", &id, "--yes"],
    ] {
        place.json(command);
    }
}
