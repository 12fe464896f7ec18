//! Settings, from the environment and from a file.

use std::{collections::BTreeMap, fs, path::PathBuf, sync::LazyLock};

use tempfile::TempDir;
use vestibule::settings::{SETTINGS, SettingsError, SettingsReader, TABLES};
use vestibule_server::settings::ServeSettings;

/// Where the file lies that is read.
static DIRECTORY: LazyLock<TempDir> = LazyLock::new(|| tempfile::tempdir().expect("a directory"));

/// Lines of `NAME=value` up to the first empty line: the environment. Then the text of a file.
///
/// Settings are either accepted or reported, never both and never neither; each problem names a
/// setting and says what to do, and shows no secret. What is accepted is the same whether the
/// environment says it or the file, and the environment wins over the file.
pub fn settings(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let (environment, file) = text.split_once("\n\n").unwrap_or((text, ""));
    let environment: BTreeMap<String, String> = environment
        .lines()
        .filter_map(|line| line.split_once('='))
        // Names of files would let it read this machine's.
        .filter(|(name, _)| !name.ends_with("_FILE"))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    if file.to_ascii_lowercase().contains("_file") {
        return;
    }
    let read = read(&environment, Some(file));
    match &read {
        Ok(settings) => {
            sound(settings);
            let token = environment.get("VESTIBULE_ADMIN_TOKEN");
            let token = token.map_or("", |token| token.trim());
            assert!(token.is_empty() || token.len() >= 16, "a short admin token");
            assert_eq!(settings.server.takes_admin_token(token), !token.is_empty());
        }
        Err(error) => reported(error, &environment, file),
    }
    if file.is_empty() {
        from_either(&environment, &read);
    }
}

fn read(
    environment: &BTreeMap<String, String>,
    file: Option<&str>,
) -> Result<ServeSettings, SettingsError> {
    let reader = SettingsReader::from_pairs(environment.clone());
    let reader = match file {
        Some(text) => reader.with_file(&written(text)),
        None => reader,
    };
    ServeSettings::read(reader)
}

fn written(text: &str) -> PathBuf {
    // One for each thread, because tests run side by side.
    let name = format!("{:?}.toml", std::thread::current().id());
    let path = DIRECTORY.path().join(name.replace(['(', ')'], ""));
    fs::write(&path, text).expect("a file can be written");
    path
}

/// What the rest of the program builds on.
fn sound(settings: &ServeSettings) {
    let provider = &settings.library.provider;
    let loopback = match provider.api_url.host() {
        Some(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => panic!("no host"),
    };
    assert!(
        provider.api_url.scheme() == "https" || loopback,
        "in clear text"
    );
    assert!(provider.api_url.username().is_empty() && provider.api_url.password().is_none());
    assert!(!provider.issuers.is_empty(), "nobody is accepted");
    for issuer in &provider.issuers {
        assert!(
            !issuer.contains("/v1/clients/"),
            "a client's issuer for people"
        );
        assert!(issuer.starts_with("http"), "{issuer}");
    }
    let meanings = ["iss", "sub", "exp", "iat", "nbf", "jti"];
    assert!(!meanings.contains(&provider.tenant_claim.as_str()));
    for duration in [
        provider.token_leeway,
        provider.token_max_lifetime,
        provider.token_cache_ttl,
        provider.user_cache_ttl,
        provider.user_cache_max_age,
        provider.jwks_refresh,
        provider.jwks_max_age,
        provider.timeout,
        settings.library.database.timeout,
        settings.library.database.max_stale,
    ] {
        // Ten years: no later sum overflows.
        assert!(duration.as_secs() <= 315_360_000, "{duration:?}");
    }
    assert!(!provider.timeout.is_zero() && !settings.library.database.timeout.is_zero());
    assert!((1..=1_000).contains(&settings.library.database.pool_size));
    let server = &settings.server;
    assert!(server.listen != server.admin_listen || server.listen.port() == 0);
    assert!(
        server
            .admin_hosts
            .iter()
            .all(|host| !host.contains(['*', '/']))
    );
}

fn reported(error: &SettingsError, environment: &BTreeMap<String, String>, file: &str) {
    assert!(!error.problems.is_empty(), "neither accepted nor reported");
    let table: toml::Table = file.parse().unwrap_or_default();
    for problem in &error.problems {
        let name = problem.name.to_ascii_uppercase();
        let known = name == "--CONFIG"
            || TABLES.iter().any(|(name, _)| *name == problem.name)
            || SETTINGS
                .iter()
                .any(|setting| name.strip_suffix("_FILE").unwrap_or(&name) == setting.name)
            || table.keys().any(|key| *key == problem.name);
        assert!(known, "a problem of {}", problem.name);
        assert!(!problem.problem.trim().is_empty(), "{name} without a word");
    }
    let said = error.to_string();
    let open: String = environment
        .iter()
        .filter(|(name, _)| !is_secret(name))
        .map(|(_, value)| value.as_str())
        .chain(table.keys().map(String::as_str))
        .collect::<Vec<_>>()
        .join("\n")
        + &table
            .iter()
            .filter(|(name, _)| !is_secret(&name.to_ascii_uppercase()))
            .map(|(_, value)| value.to_string())
            .collect::<Vec<_>>()
            .join("\n");
    let in_file = table.iter().filter_map(|(name, value)| {
        let secret = is_secret(&name.to_ascii_uppercase());
        secret.then(|| value.as_str().map(str::to_owned))?
    });
    let in_environment = environment
        .iter()
        .filter(|(name, _)| is_secret(name))
        .map(|(_, value)| value.clone());
    let without = ServeSettings::read(SettingsReader::from_pairs::<&str, &str>([]));
    let usual = without.map_or_else(|error| error.to_string(), |_| String::new());
    for secret in in_environment.chain(in_file) {
        let secret = secret.trim();
        // Shorter ones are in any sentence.
        let chance = secret.len() < 24 || open.contains(secret) || usual.contains(secret);
        assert!(chance || !said.contains(secret), "a secret is shown");
    }
}

fn is_secret(name: &str) -> bool {
    SETTINGS
        .iter()
        .any(|setting| setting.name == name && setting.secret)
}

/// The same settings from a file, and over a file that says something else.
fn from_either(
    environment: &BTreeMap<String, String>,
    read_from_environment: &Result<ServeSettings, SettingsError>,
) {
    let known = |name: &str| SETTINGS.iter().any(|setting| setting.name == name);
    let table: toml::Table = environment
        .iter()
        .filter(|(name, _)| known(name))
        .map(|(name, value)| (name.to_ascii_lowercase(), toml::Value::from(value.as_str())))
        .collect();
    let shown = |read: &Result<ServeSettings, SettingsError>| format!("{read:?}");
    let from_file = read(&BTreeMap::new(), Some(&table.to_string()));
    assert_eq!(
        shown(&from_file),
        shown(read_from_environment),
        "file and environment"
    );

    // An empty variable counts as missing, so only the others win.
    let other: toml::Table = environment
        .iter()
        .filter(|(name, value)| known(name) && !value.trim().is_empty())
        .map(|(name, _)| {
            (
                name.to_ascii_lowercase(),
                toml::Value::from("something else"),
            )
        })
        .collect();
    let both = read(environment, Some(&other.to_string()));
    assert_eq!(
        shown(&both),
        shown(read_from_environment),
        "the environment wins"
    );
}
