use std::{path::PathBuf, time::Duration};

use super::{names, *};
use crate::provider::access_key::test_key;

fn sound() -> Vec<(&'static str, String)> {
    vec![
        ("AUTHRESS_API_URL", "https://auth.example.com".to_owned()),
        ("AUTHRESS_ACCESS_KEY", test_key(7)),
    ]
}

fn with(changes: &[(&'static str, &str)]) -> Result<Settings, SettingsError> {
    let mut pairs = sound();
    for (name, value) in changes {
        pairs.retain(|(known, _)| known != name);
        pairs.push((name, (*value).to_owned()));
    }
    Settings::read(SettingsReader::from_pairs(pairs))
}

fn names_of(error: &SettingsError) -> Vec<&str> {
    error
        .problems
        .iter()
        .map(|problem| problem.name.as_str())
        .collect()
}

#[test]
fn defaults_are_those_of_the_reference() {
    let settings = with(&[]).unwrap();
    let provider = settings.provider;
    assert_eq!(provider.origin(), "https://auth.example.com");
    assert_eq!(provider.issuers, ["https://auth.example.com".into()]);
    assert_eq!(
        provider.machine_origins,
        ["https://auth.example.com".into()]
    );
    assert_eq!(&*provider.machine_audience, "test.accounts.authress.io");
    assert_eq!(provider.tenant_claim, "aud");
    assert_eq!(provider.provisioning, Provisioning::Connection);
    assert_eq!(
        (
            provider.token_cache_size,
            provider.token_cache_ttl.as_secs()
        ),
        (10_000, 300)
    );
    assert_eq!(
        (provider.require_tenant, provider.allow_client_issued_users),
        (true, false)
    );
    let files = settings.database.sqlite().unwrap();
    assert_eq!(files.file, PathBuf::from("vestibule.db"));
    assert_eq!(files.tenant_dir, PathBuf::from("tenants"));
    assert_eq!(settings.database.timeout, Duration::from_secs(5));
}

#[test]
fn authress_hosts_have_further_names() {
    for host in ["acme.api.authress.io", "acme.api-eu-west.authress.io"] {
        let url = format!("https://{host}");
        let provider = with(&[("AUTHRESS_API_URL", &url)]).unwrap().provider;
        assert_eq!(
            provider.issuers,
            [url.clone().into(), "https://acme.login.authress.io".into()]
        );
        assert_eq!(
            provider.machine_origins,
            [url.into(), "https://test.api.authress.io".into()]
        );
    }
    let provider = with(&[("AUTHRESS_API_URL", "https://authress.io.example")])
        .unwrap()
        .provider;
    assert_eq!(provider.machine_origins.len(), 1);
}

#[test]
fn all_problems_come_at_once() {
    let error = Settings::read(SettingsReader::from_pairs([
        ("AUTHRESS_ACCESS_KEY", "not.a.key"),
        ("DATABASE_URL", "mysql://user:hunter2@db/x"),
        ("TOKEN_CACHE_TTL", "five"),
        ("DATABASE_POOL_SIZE", "0"),
        ("PROVIDER_OUTAGE_STATUS", "500"),
        ("AUTHRESS_REQUIRE_TENANT", "perhaps"),
    ]))
    .unwrap_err();
    assert_eq!(
        names_of(&error),
        [
            "AUTHRESS_API_URL",
            "AUTHRESS_ACCESS_KEY",
            "AUTHRESS_REQUIRE_TENANT",
            "TOKEN_CACHE_TTL",
            "PROVIDER_OUTAGE_STATUS",
            "DATABASE_URL",
            "DATABASE_POOL_SIZE",
        ]
    );
    let report = error.to_string();
    assert!(report.starts_with("7 settings cannot be used:"), "{report}");
    assert!(!report.contains("hunter2"), "{report}");
}

#[test]
fn every_malformed_value_is_named() {
    for (name, value) in [
        ("AUTHRESS_API_URL", "auth.example.com"),
        ("AUTHRESS_API_URL", "http://auth.example.com"),
        ("AUTHRESS_API_URL", "https://auth.example.com/v1"),
        ("AUTHRESS_API_URL", "https://user:pass@auth.example.com"),
        ("AUTHRESS_API_URL", "https://auth.example.com?x"),
        ("AUTHRESS_API_URL", "ftp://auth.example.com"),
        ("AUTHRESS_ACCESS_KEY", "a.b.c"),
        ("AUTHRESS_ISSUERS", "https://a.example,nonsense"),
        (
            "AUTHRESS_ISSUERS",
            "https://a.example/v1/clients/sc_robot01",
        ),
        ("AUTHRESS_TENANT_CLAIM", "iss"),
        ("USER_PROVISIONING", "always"),
        ("TENANCY", "row"),
        ("TENANCY", "cloud"),
        ("DATABASE_URL", "mysql://db/x"),
        ("DATABASE_URL", "sqlite::memory:"),
        ("DATABASE_URL", "sqlite:"),
        ("DATABASE_URL", "sqlite:x.db?mode=ro"),
        ("DATABASE_TIMEOUT", "0"),
        ("TOKEN_CACHE_SIZE", "-1"),
        ("TOKEN_LEEWAY", "NaN"),
        ("USER_CACHE_TTL", "inf"),
        ("JWKS_MAX_AGE", "1h"),
        ("PROVIDER_TIMEOUT", "0"),
        ("PROVIDER_PROXY", "proxy"),
    ] {
        let error = with(&[(name, value)]).map(|_| ()).unwrap_err();
        assert_eq!(names_of(&error), [name], "{value}");
    }
}

#[test]
fn plain_http_is_for_loopback_hosts() {
    for url in [
        "http://127.0.0.1:8888",
        "http://localhost",
        "http://[::1]:1",
        "http://a.localhost",
    ] {
        assert!(with(&[("AUTHRESS_API_URL", url)]).is_ok(), "{url}");
    }
    for url in [
        "http://localhost.example",
        "http://128.0.0.1",
        "http://127.0.0.1.example",
    ] {
        assert!(with(&[("AUTHRESS_API_URL", url)]).is_err(), "{url}");
    }
}

#[test]
fn empty_counts_as_missing() {
    let settings = with(&[("TOKEN_CACHE_TTL", ""), ("AUTHRESS_ISSUERS", "  ")]).unwrap();
    assert_eq!(settings.provider.token_cache_ttl, Duration::from_secs(300));
    assert_eq!(settings.provider.issuers.len(), 1);
    let error = with(&[("AUTHRESS_API_URL", " ")]).map(|_| ()).unwrap_err();
    assert_eq!(names_of(&error), ["AUTHRESS_API_URL"]);
}

#[test]
fn a_file_stands_behind_the_environment() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("vestibule.toml");
    std::fs::write(
        &file,
        "token_cache_ttl = 20\ntoken_leeway = 1.5\nauthress_require_tenant = false\n\
         api_audiences = [\"https://api.example\", \"api\"]\ntoken_cache_size = 5\n",
    )
    .unwrap();
    let mut pairs = sound();
    pairs.push(("TOKEN_CACHE_SIZE", "6".to_owned()));
    let settings = Settings::read(SettingsReader::from_pairs(pairs).with_file(&file)).unwrap();
    let provider = settings.provider;
    assert_eq!(provider.token_cache_ttl, Duration::from_secs(20));
    assert_eq!(provider.token_leeway, Duration::from_millis(1_500));
    assert!(!provider.require_tenant);
    assert_eq!(provider.api_audiences, ["https://api.example", "api"]);
    assert_eq!(provider.token_cache_size, 6);
}

#[test]
fn a_file_with_mistakes_is_reported() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("vestibule.toml");
    let read = |text: &str| {
        std::fs::write(&file, text).unwrap();
        Settings::read(SettingsReader::from_pairs(sound()).with_file(&file))
            .map(|_| ())
            .unwrap_err()
    };
    assert_eq!(names_of(&read("tokn_cache_ttl = 1")), ["tokn_cache_ttl"]);
    assert_eq!(names_of(&read("TOKEN_CACHE_TTL = 1")), ["TOKEN_CACHE_TTL"]);
    assert_eq!(names_of(&read("token_cache_ttl = {}")), ["token_cache_ttl"]);
    let error = read("token_cache_ttl = 1\nauthress_access_key = hunter2");
    assert_eq!(names_of(&error), ["--config"]);
    assert!(error.to_string().contains("line 2") && !error.to_string().contains("hunter2"));
    let missing = dir.path().join("missing.toml");
    let error = SettingsReader::from_pairs(sound())
        .with_file(&missing)
        .finish()
        .unwrap_err();
    assert_eq!(names_of(&error), ["--config"]);
}

#[test]
fn secrets_come_from_files_too() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("key");
    std::fs::write(&file, format!("{}\n", test_key(7))).unwrap();
    let path = file.to_str().unwrap();
    let settings = with(&[
        ("AUTHRESS_ACCESS_KEY", ""),
        ("AUTHRESS_ACCESS_KEY_FILE", path),
    ])
    .unwrap();
    assert_eq!(settings.provider.access_key.key_id(), "k1");
    let error = with(&[("AUTHRESS_ACCESS_KEY_FILE", path)])
        .map(|_| ())
        .unwrap_err();
    assert_eq!(names_of(&error), ["AUTHRESS_ACCESS_KEY"]);
    let error = with(&[
        ("AUTHRESS_ACCESS_KEY", ""),
        ("AUTHRESS_ACCESS_KEY_FILE", "/nowhere"),
    ])
    .map(|_| ())
    .unwrap_err();
    assert_eq!(names_of(&error), ["AUTHRESS_ACCESS_KEY_FILE"]);
}

#[test]
fn sqlite_urls_have_several_forms() {
    for (url, file, tenants) in [
        ("sqlite:a.db", "a.db", "tenants"),
        ("sqlite://data/a.db", "data/a.db", "data/tenants"),
        ("sqlite:///var/a.db?mode=rwc", "/var/a.db", "/var/tenants"),
    ] {
        let database = with(&[("DATABASE_URL", url)]).unwrap().database;
        let files = database.sqlite().unwrap();
        assert_eq!(files.file, PathBuf::from(file));
        assert_eq!(files.tenant_dir, PathBuf::from(tenants));
    }
}

#[test]
fn the_settings_show_no_secret() {
    let shown = format!("{:?}", with(&[]).unwrap());
    let key = test_key(7);
    assert!(!shown.contains(key.rsplit('.').next().unwrap()));
}

#[test]
fn every_name_is_listed_once() {
    let mut listed: Vec<_> = names::SETTINGS.iter().map(|setting| setting.name).collect();
    listed.sort_unstable();
    let number = listed.len();
    listed.dedup();
    assert_eq!(listed.len(), number);
}

/// One connection listens for changes; the directory and the sessions share the others.
#[test]
fn the_connections_to_postgresql_are_as_many_as_the_setting_says() {
    let key = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, [7; 32]);
    let of_size = |size: &str| {
        with(&[
            ("DATABASE_URL", "postgres://app:pass@127.0.0.1/app"),
            ("VESTIBULE_BINDING_KEY", &key),
            ("DATABASE_POOL_SIZE", size),
        ])
    };
    for size in 3..100 {
        let settings = of_size(&size.to_string()).unwrap().database;
        let (directory, sessions) = (
            settings.directory_connections(),
            settings.session_connections(),
        );
        assert!(directory > 0 && sessions > 0, "{size}");
        assert_eq!(1 + directory + sessions, size);
    }
    assert_eq!(names_of(&of_size("2").unwrap_err()), ["DATABASE_POOL_SIZE"]);
}
