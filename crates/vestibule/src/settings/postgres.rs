//! PostgreSQL: servers, logins, and the keys that bind a transaction to its account.

use std::{collections::BTreeMap, fmt};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use url::Url;

use super::{SettingsReader, Tenancy, database::is_postgres, url::is_loopback};

/// The servers of PostgreSQL and what is needed to use them.
#[derive(Clone, Debug)]
pub struct PostgresSettings {
    /// `DATABASE_URL` and `DATABASE_ADMIN_URL`: the cluster that holds the directory, and the
    /// data of every account that is not placed elsewhere.
    pub main: PostgresLogins,
    /// `VESTIBULE_CLUSTERS` and `VESTIBULE_ADMIN_CLUSTERS`: further clusters, by name.
    pub clusters: BTreeMap<String, PostgresLogins>,
    /// `VESTIBULE_BINDING_KEY`: the first signs, each is accepted. Empty only in the tenancy
    /// `database`.
    pub binding_keys: Vec<BindingKey>,
}

/// The two logins of one database.
#[derive(Clone, Debug)]
pub struct PostgresLogins {
    /// Of `serve`: owns nothing.
    pub application: PostgresUrl,
    /// Owns schemas and tables; none where it was not given.
    pub owner: Option<PostgresUrl>,
}

impl PostgresLogins {
    /// The login that may change tables: the application's where no other was given.
    pub fn owner(&self) -> &PostgresUrl {
        self.owner.as_ref().unwrap_or(&self.application)
    }
}

/// A database on a server, with a login. Shown without user and password.
#[derive(Clone)]
pub struct PostgresUrl(PgConnectOptions);

impl PostgresUrl {
    pub(crate) fn options(&self) -> &PgConnectOptions {
        &self.0
    }

    /// Whether the server is on this machine.
    pub(crate) fn is_local(&self) -> bool {
        is_local(&self.0)
    }

    /// The same login on the same server, in another database.
    pub(crate) fn with_database(&self, database: &str) -> Self {
        Self(self.0.clone().database(database))
    }

    /// The name of the login.
    pub fn login(&self) -> &str {
        self.0.get_username()
    }

    /// The name of the database.
    pub fn database(&self) -> &str {
        self.0.get_database().unwrap_or_else(|| self.login())
    }
}

impl fmt::Display for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let database = self.database();
        match self.0.get_socket() {
            Some(socket) => write!(f, "postgres:///{database}?host={}", socket.display()),
            None => {
                let (host, port) = (self.0.get_host(), self.0.get_port());
                write!(f, "postgres://{host}:{port}/{database}")
            }
        }
    }
}

impl fmt::Debug for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PostgresUrl({self})")
    }
}

/// 32 random bytes. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct BindingKey([u8; 32]);

impl BindingKey {
    /// The bytes themselves.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl From<[u8; 32]> for BindingKey {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl fmt::Debug for BindingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BindingKey(…)")
    }
}

const KEY_FORM: &str = "32 random bytes in base64, such as `openssl rand -base64 32` makes; two, \
                        separated by a comma, during a change: the first signs";

impl PostgresSettings {
    /// Reads what belongs to PostgreSQL; none where something was wrong.
    pub(super) fn read(
        reader: &mut SettingsReader,
        url: &str,
        tenancy: Option<Tenancy>,
    ) -> Option<Self> {
        let application = reader.noted("DATABASE_URL", postgres_url(url));
        let owner = match reader.secret("DATABASE_ADMIN_URL") {
            Some(url) => reader
                .noted("DATABASE_ADMIN_URL", postgres_url(url.expose()))
                .map(Some),
            None => Some(None),
        };
        let binding_keys = binding_keys(reader, tenancy);
        let clusters = clusters(reader);
        Some(Self {
            main: PostgresLogins {
                application: application?,
                owner: owner?,
            },
            clusters: clusters?,
            binding_keys: binding_keys?,
        })
    }
}

fn binding_keys(reader: &mut SettingsReader, tenancy: Option<Tenancy>) -> Option<Vec<BindingKey>> {
    const NAME: &str = "VESTIBULE_BINDING_KEY";
    match reader.secret(NAME) {
        Some(text) => {
            let keys = text.expose().split(',').map(|key| binding_key(key.trim()));
            let keys: Result<Vec<_>, String> = keys.collect();
            let keys = keys.and_then(|keys| match keys.len() {
                1 | 2 => Ok(keys),
                _ => Err(format!("must be {KEY_FORM}")),
            });
            reader.noted(NAME, keys)
        }
        None if tenancy == Some(Tenancy::Database) => Some(Vec::new()),
        None => {
            reader.missing_secret(NAME, KEY_FORM);
            None
        }
    }
}

fn binding_key(text: &str) -> Result<BindingKey, String> {
    let bytes = STANDARD.decode(text).ok();
    let bytes: Option<[u8; 32]> = bytes.and_then(|bytes| bytes.try_into().ok());
    bytes
        .map(BindingKey)
        .ok_or_else(|| format!("must be {KEY_FORM}"))
}

fn clusters(reader: &mut SettingsReader) -> Option<BTreeMap<String, PostgresLogins>> {
    let application = named_urls(reader, "VESTIBULE_CLUSTERS");
    let owners = named_urls(reader, "VESTIBULE_ADMIN_CLUSTERS");
    let (application, mut owners) = (application?, owners?);
    if let Some(name) = owners.keys().find(|name| !application.contains_key(*name)) {
        let problem = format!("must name clusters of VESTIBULE_CLUSTERS only; {name} is none");
        reader.problem("VESTIBULE_ADMIN_CLUSTERS", problem);
        return None;
    }
    let logins = application.into_iter().map(|(name, application)| {
        let owner = owners.remove(&name);
        (name, PostgresLogins { application, owner })
    });
    Some(logins.collect())
}

/// `eu=postgres://…;us=postgres://…`.
fn named_urls(reader: &mut SettingsReader, name: &str) -> Option<BTreeMap<String, PostgresUrl>> {
    let Some(text) = reader.secret(name) else {
        return Some(BTreeMap::new());
    };
    let mut urls = BTreeMap::new();
    for part in text.expose().split(';').map(str::trim) {
        if part.is_empty() {
            continue;
        }
        let parsed = match part.split_once('=') {
            Some((cluster, url)) if is_cluster_name(cluster) => {
                postgres_url(url).map(|url| (cluster.to_owned(), url))
            }
            _ => Err(
                "must look like eu=postgres://…;us=postgres://…; a name has 1 to 32 lower-case \
                 letters, digits and hyphens, and is not main"
                    .to_owned(),
            ),
        };
        let (cluster, url) = reader.noted(name, parsed)?;
        if urls.insert(cluster.clone(), url).is_some() {
            reader.problem(name, format!("must name {cluster} once"));
            return None;
        }
    }
    Some(urls)
}

/// `main` is the cluster of `DATABASE_URL`.
fn is_cluster_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=32).contains(&name.len()) && name.bytes().all(plain) && name != "main"
}

/// Never shows the URL itself, which holds a password.
fn postgres_url(text: &str) -> Result<PostgresUrl, String> {
    const FORM: &str = "must be a URL such as postgres://login:password@host:5432/database";
    let url = Url::parse(text).map_err(|_| FORM)?;
    if !is_postgres(text) {
        return Err(FORM.to_owned());
    }
    let options: PgConnectOptions = text
        .parse()
        .map_err(|_| format!("{FORM}; one of its options cannot be used"))?;
    if options.get_database().is_none_or(str::is_empty) {
        return Err("must name a database, behind the host".to_owned());
    }
    let names_ssl_mode = url
        .query_pairs()
        .any(|(key, _)| matches!(&*key, "sslmode" | "ssl-mode"));
    let options = match (names_ssl_mode, is_local(&options)) {
        (true, _) => options,
        (false, true) => options.ssl_mode(PgSslMode::Prefer),
        // Nobody between us and the server may read or change what passes.
        (false, false) => options.ssl_mode(PgSslMode::VerifyFull),
    };
    Ok(PostgresUrl(options))
}

/// Whether the server is on this machine.
fn is_local(options: &PgConnectOptions) -> bool {
    options.get_socket().is_some()
        || options.get_host().starts_with('/')
        || is_loopback_host(options.get_host())
}

fn is_loopback_host(host: &str) -> bool {
    // An IPv6 address stands in brackets in a URL.
    let bracketed = host.contains(':') && !host.starts_with('[');
    let host = if bracketed {
        format!("[{host}]")
    } else {
        host.to_owned()
    };
    Url::parse(&format!("http://{host}")).is_ok_and(|url| is_loopback(&url))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(url: &str) -> PgSslMode {
        postgres_url(url).unwrap().0.get_ssl_mode()
    }

    #[test]
    fn encryption_is_verified_away_from_this_machine() {
        for url in [
            "postgres://a:b@db.example.com/app",
            "postgres://a:b@10.0.0.1:6432/app",
            "postgresql://a:b@localhost.example.com/app",
        ] {
            assert!(matches!(mode(url), PgSslMode::VerifyFull), "{url}");
        }
        for url in [
            "postgres://a:b@localhost/app",
            "postgres://a:b@127.0.0.1:6432/app",
            "postgres://a:b@[::1]/app",
            "postgres:///app?host=/run/postgresql",
        ] {
            assert!(matches!(mode(url), PgSslMode::Prefer), "{url}");
        }
        let told = "postgres://a:b@db.example.com/app?sslmode=require";
        assert!(matches!(mode(told), PgSslMode::Require));
    }

    #[test]
    fn a_url_is_shown_without_its_login() {
        let url = postgres_url("postgres://ada:s3cret@db.example.com:6432/app?sslmode=require");
        let shown = format!("{0} {0:?}", url.unwrap());
        assert_eq!(
            shown,
            "postgres://db.example.com:6432/app PostgresUrl(postgres://db.example.com:6432/app)"
        );
    }

    #[test]
    fn wrong_urls_are_refused_without_being_shown() {
        for url in [
            "postgres://",
            "postgres://ada:s3cret@host:port/app",
            "postgres://ada:s3cret@localhost/app?sslmode=s3cret",
            "postgres://ada:s3cret@localhost/",
        ] {
            let refused = postgres_url(url).unwrap_err();
            assert!(!refused.contains("s3cret"), "{refused}");
        }
    }

    #[test]
    fn keys_are_32_bytes() {
        let key = STANDARD.encode([7; 32]);
        assert_eq!(binding_key(&key).unwrap().expose(), &[7; 32]);
        for wrong in ["", "AAAA", "not base64", &STANDARD.encode([7; 33])] {
            assert!(binding_key(wrong).is_err(), "{wrong}");
        }
        assert_eq!(format!("{:?}", BindingKey([7; 32])), "BindingKey(…)");
    }

    fn read(pairs: &[(&str, &str)]) -> Result<PostgresSettings, Vec<String>> {
        let pairs: Vec<(String, String)> = pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let mut reader = SettingsReader::from_pairs(pairs);
        let read = super::super::DatabaseSettings::read(&mut reader);
        match reader.finish() {
            Ok(()) => Ok(read.unwrap().postgres().unwrap().clone()),
            Err(error) => Err(error
                .problems
                .into_iter()
                .map(|problem| problem.name)
                .collect()),
        }
    }

    #[test]
    fn clusters_have_names_and_may_have_owners() {
        let key = STANDARD.encode([7; 32]);
        let main = ("DATABASE_URL", "postgres://a:b@localhost/app");
        let key = ("VESTIBULE_BINDING_KEY", key.as_str());
        let eu = "eu=postgres://a:b@127.0.0.2/app; us=postgres://a:b@127.0.0.3/app;";
        let settings = read(&[
            main,
            key,
            ("VESTIBULE_CLUSTERS", eu),
            (
                "VESTIBULE_ADMIN_CLUSTERS",
                "eu=postgres://owner:b@127.0.0.2/app",
            ),
        ])
        .unwrap();
        assert_eq!(settings.clusters.len(), 2);
        assert_eq!(settings.clusters["eu"].owner().login(), "owner");
        assert_eq!(settings.clusters["us"].owner().login(), "a");
        for wrong in [
            "main=postgres://a:b@h/app",
            "postgres://a:b@h/app",
            "EU=x",
            "a=b",
        ] {
            let refused = read(&[main, key, ("VESTIBULE_CLUSTERS", wrong)]).unwrap_err();
            assert_eq!(refused, ["VESTIBULE_CLUSTERS"], "{wrong}");
        }
        let stranger = (
            "VESTIBULE_ADMIN_CLUSTERS",
            "eu=postgres://a:b@127.0.0.2/app",
        );
        assert_eq!(
            read(&[main, key, stranger]).unwrap_err(),
            ["VESTIBULE_ADMIN_CLUSTERS"]
        );
    }

    #[test]
    fn the_binding_key_is_required_where_rows_or_schemas_share_a_database() {
        let main = ("DATABASE_URL", "postgres://a:b@localhost/app");
        assert_eq!(read(&[main]).unwrap_err(), ["VESTIBULE_BINDING_KEY"]);
        assert_eq!(
            read(&[main, ("TENANCY", "schema")]).unwrap_err(),
            ["VESTIBULE_BINDING_KEY"]
        );
        assert!(read(&[main, ("TENANCY", "database")]).is_ok());
    }
}
