//! Where the database is, and how accounts are kept apart in it.

use std::{path::PathBuf, time::Duration};

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

impl DatabaseSettings {
    /// Reads the section; none where something was wrong, which `reader` then knows.
    pub fn read(_reader: &mut SettingsReader) -> Option<Self> {
        None
    }
}
