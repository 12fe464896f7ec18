//! Where the database is, and how accounts are kept apart in it.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use super::SettingsReader;

/// How accounts are kept apart (contract §6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Tenancy {
    /// One file per account.
    Database,
}

/// The database section of the settings.
#[derive(Clone, Debug)]
pub struct DatabaseSettings {
    /// `DATABASE_URL`: the main file, which holds the directory.
    pub file: PathBuf,
    /// `TENANCY`.
    pub tenancy: Tenancy,
    /// `TENANT_DATABASE_DIR`: one file per account lies here.
    pub tenant_dir: PathBuf,
    /// `DATABASE_POOL_SIZE`: connections in all.
    pub pool_size: u32,
    /// `DATABASE_TIMEOUT`: longest wait for a connection or a statement.
    pub timeout: Duration,
}

/// More: more statements at once, and more memory; fewer: requests wait for each other.
const POOL_SIZE: u32 = 10;
/// Longer: requests pile up behind a stuck database; shorter: a busy moment becomes a 503.
const TIMEOUT: u32 = 5;

impl DatabaseSettings {
    /// Reads the section; none where something was wrong, which `reader` then knows.
    pub fn read(reader: &mut SettingsReader) -> Option<Self> {
        let file = match reader.secret("DATABASE_URL") {
            None => Some(PathBuf::from("vestibule.db")),
            Some(url) => reader.noted("DATABASE_URL", sqlite_file(url.expose())),
        };
        let tenancy = reader.parsed("TENANCY", Tenancy::Database, |text| match text {
            "database" => Ok(Tenancy::Database),
            "schema" | "row" => Err("on SQLite must be database".to_owned()),
            _ => Err("must be database".to_owned()),
        });
        let tenant_dir = reader.text("TENANT_DATABASE_DIR").map(PathBuf::from);
        let pool_size = reader.count("DATABASE_POOL_SIZE", POOL_SIZE, 1, 1_000);
        let timeout = reader.seconds("DATABASE_TIMEOUT", TIMEOUT, Duration::from_millis(100));
        let file = file?;
        Some(Self {
            tenant_dir: tenant_dir.unwrap_or_else(|| beside(&file)),
            file,
            tenancy: tenancy?,
            pool_size: pool_size?,
            timeout: timeout?,
        })
    }
}

fn beside(file: &Path) -> PathBuf {
    file.with_file_name("tenants")
}

/// `sqlite:relative.db`, `sqlite:/absolute.db`, and both with `//` after the colon.
fn sqlite_file(url: &str) -> Result<PathBuf, String> {
    let Some(rest) = url.strip_prefix("sqlite:") else {
        // Never the URL itself: it may hold a password.
        return Err(
            if url.starts_with("postgres:") || url.starts_with("postgresql:") {
                "PostgreSQL is not supported by this version: use sqlite:vestibule.db".to_owned()
            } else {
                "must begin with sqlite:, such as sqlite:vestibule.db".to_owned()
            },
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
