//! Where the database is, and how accounts are kept apart in it.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use super::{PostgresSettings, SettingsReader};

/// How accounts are kept apart (contract §6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Tenancy {
    /// SQLite: one file per account. PostgreSQL: one database per account.
    Database,
    /// PostgreSQL: one schema per account.
    Schema,
    /// PostgreSQL: shared tables with forced row-level security.
    Row,
}

impl Tenancy {
    /// `database`, `schema` or `row`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Database => "database",
            Self::Schema => "schema",
            Self::Row => "row",
        }
    }
}

/// The database section of the settings.
#[derive(Clone, Debug)]
pub struct DatabaseSettings {
    /// `DATABASE_URL`, and what belongs to its kind of database.
    pub location: DatabaseLocation,
    /// `TENANCY`.
    pub tenancy: Tenancy,
    /// `DATABASE_POOL_SIZE`: connections in all.
    pub pool_size: u32,
    /// `DATABASE_TIMEOUT`: longest wait for a connection or a statement.
    pub timeout: Duration,
    /// `PRINCIPAL_MAX_STALE`: how long remembered callers are believed while nobody can tell
    /// whether they changed.
    pub max_stale: Duration,
    /// `ACTIVITY_KEEP`: entries of activity that an account keeps; none are written where it is 0.
    pub activity_keep: u32,
    /// `ACTIVITY_MAX_AGE`: the age past which an entry of activity is neither shown nor kept.
    pub activity_max_age: Option<Duration>,
}

/// Where the directory and the accounts' data lie.
#[derive(Clone, Debug)]
pub enum DatabaseLocation {
    /// Files of this machine.
    Sqlite(SqliteSettings),
    /// Servers.
    Postgres(Box<PostgresSettings>),
}

/// The files of SQLite.
#[derive(Clone, Debug)]
pub struct SqliteSettings {
    /// `DATABASE_URL`: the main file, which holds the directory.
    pub file: PathBuf,
    /// `TENANT_DATABASE_DIR`: one file per account lies here.
    pub tenant_dir: PathBuf,
}

/// More: more statements at once, and more memory; fewer: requests wait for each other.
const POOL_SIZE: u32 = 10;
/// One listens for changes, one reads the directory, one serves sessions.
const LEAST_ON_POSTGRES: u32 = 3;
/// Longer: requests pile up behind a stuck database; shorter: a busy moment becomes a 503.
const TIMEOUT: u32 = 5;
/// Longer: a suspension may go unnoticed for longer; shorter: a database that is away for a moment
/// stops callers who do not need it.
const MAX_STALE: u32 = 60;
/// A few months of an account with a hundred people.
const ACTIVITY_KEEP: u32 = 10_000;
/// More belong into a system of their own.
const MOST_ACTIVITY: u32 = 10_000_000;
/// Below it, an ordinary pause between two looks would count as an outage.
const LEAST_STALE: Duration = Duration::from_secs(2);

impl DatabaseSettings {
    /// Reads the section; none where something was wrong, which `reader` then knows.
    pub fn read(reader: &mut SettingsReader) -> Option<Self> {
        let url = reader.secret("DATABASE_URL");
        let url = url
            .as_ref()
            .map_or("sqlite:vestibule.db", |url| url.expose());
        let on_postgres = is_postgres(url);
        let tenancy = if on_postgres {
            reader.parsed("TENANCY", Tenancy::Row, |text| match text {
                "row" => Ok(Tenancy::Row),
                "schema" => Ok(Tenancy::Schema),
                "database" => Ok(Tenancy::Database),
                _ => Err("must be row, schema or database".to_owned()),
            })
        } else {
            reader.parsed("TENANCY", Tenancy::Database, |text| match text {
                "database" => Ok(Tenancy::Database),
                "schema" | "row" => Err("on SQLite must be database".to_owned()),
                _ => Err("must be database".to_owned()),
            })
        };
        let location = if on_postgres {
            PostgresSettings::read(reader, url, tenancy)
                .map(Box::new)
                .map(DatabaseLocation::Postgres)
        } else {
            SqliteSettings::read(reader, url).map(DatabaseLocation::Sqlite)
        };
        let least = if on_postgres { LEAST_ON_POSTGRES } else { 1 };
        let pool_size = reader.count("DATABASE_POOL_SIZE", POOL_SIZE, least, 1_000);
        let timeout = reader.seconds("DATABASE_TIMEOUT", TIMEOUT, Duration::from_millis(100));
        let max_stale = reader.seconds("PRINCIPAL_MAX_STALE", MAX_STALE, LEAST_STALE);
        let activity_keep = reader.count("ACTIVITY_KEEP", ACTIVITY_KEEP, 0, MOST_ACTIVITY);
        let activity_max_age = reader.seconds("ACTIVITY_MAX_AGE", 0, Duration::ZERO);
        Some(Self {
            location: location?,
            tenancy: tenancy?,
            pool_size: pool_size?,
            timeout: timeout?,
            max_stale: max_stale?,
            activity_keep: activity_keep?,
            activity_max_age: activity_max_age.map(|age| (!age.is_zero()).then_some(age))?,
        })
    }

    /// Those of the connections in all that read and write the directory on PostgreSQL: one
    /// listens for its changes, and of the others these are a third. A request that holds a
    /// session's connection may ask the directory too: were they the same, all could wait for each
    /// other.
    pub(crate) fn directory_connections(&self) -> u32 {
        self.pool_size.saturating_sub(1).div_ceil(3).max(1)
    }

    /// The others, for tenant sessions; at least one.
    pub(crate) fn session_connections(&self) -> u32 {
        let directory = self.directory_connections() + 1;
        self.pool_size.saturating_sub(directory).max(1)
    }

    /// The files, where it is SQLite.
    pub fn sqlite(&self) -> Option<&SqliteSettings> {
        match &self.location {
            DatabaseLocation::Sqlite(files) => Some(files),
            DatabaseLocation::Postgres(_) => None,
        }
    }

    /// The servers, where it is PostgreSQL.
    pub fn postgres(&self) -> Option<&PostgresSettings> {
        match &self.location {
            DatabaseLocation::Sqlite(_) => None,
            DatabaseLocation::Postgres(servers) => Some(servers),
        }
    }
}

impl SqliteSettings {
    fn read(reader: &mut SettingsReader, url: &str) -> Option<Self> {
        let tenant_dir = reader.text("TENANT_DATABASE_DIR").map(PathBuf::from);
        let file = reader.noted("DATABASE_URL", sqlite_file(url))?;
        Some(Self {
            tenant_dir: tenant_dir.unwrap_or_else(|| beside(&file)),
            file,
        })
    }
}

pub(super) fn is_postgres(url: &str) -> bool {
    url.starts_with("postgres:") || url.starts_with("postgresql:")
}

fn beside(file: &Path) -> PathBuf {
    file.with_file_name("tenants")
}

/// `sqlite:relative.db`, `sqlite:/absolute.db`, and both with `//` after the colon.
fn sqlite_file(url: &str) -> Result<PathBuf, String> {
    let Some(rest) = url.strip_prefix("sqlite:") else {
        // Never the URL itself: it may hold a password.
        return Err(
            "must begin with sqlite: or postgres://, such as sqlite:vestibule.db".to_owned(),
        );
    };
    let rest = rest.strip_prefix("//").unwrap_or(rest);
    let (path, options) = rest.split_once('?').unwrap_or((rest, ""));
    if !matches!(options, "" | "mode=rwc") {
        return Err("takes no options after the file's name".to_owned());
    }
    if path.is_empty() || path == ":memory:" || path.ends_with('/') {
        return Err("must name a file, such as sqlite:vestibule.db".to_owned());
    }
    Ok(PathBuf::from(path))
}
