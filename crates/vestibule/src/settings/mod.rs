//! Settings: environment variables, or the same names in lower case in a TOML file; the
//! environment wins. Every problem is reported at once, by name, with what to do.
//!
//! A command reads only the sections that it uses: [`ProviderSettings`], [`DatabaseSettings`].

mod admission;
pub(crate) mod assertions;
mod database;
mod names;
mod postgres;
mod provider;
mod reader;
#[cfg(test)]
mod tests;
mod url;

pub use self::admission::{AdmissionSettings, Network, NetworkError};
pub use self::assertions::AcceptedAssertions;
pub use self::database::{DatabaseLocation, DatabaseSettings, SqliteSettings, Tenancy};
pub use self::names::{SETTINGS, Setting, TABLES};
pub use self::postgres::{BindingKey, PostgresLogins, PostgresSettings, PostgresUrl};
pub use self::provider::{ProviderSettings, Provisioning};
pub use self::reader::{Secret, SettingProblem, SettingsError, SettingsReader};

/// Everything that the library needs.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The identity provider, its tokens, and what is remembered of both.
    pub provider: ProviderSettings,
    /// The database and how accounts are kept apart in it.
    pub database: DatabaseSettings,
    /// Limits on what strangers may make us do.
    pub admission: AdmissionSettings,
    /// Whether the assertion of a proxy counts as a credential; none: it is not looked at.
    pub assertions: Option<AcceptedAssertions>,
}

impl Settings {
    /// Reads the process's environment.
    ///
    /// # Errors
    /// All problems together.
    pub fn from_env() -> Result<Self, SettingsError> {
        Self::read(SettingsReader::from_env())
    }

    /// Reads all sections from `reader`.
    ///
    /// # Errors
    /// All problems together.
    pub fn read(mut reader: SettingsReader) -> Result<Self, SettingsError> {
        let provider = ProviderSettings::read(&mut reader);
        let database = DatabaseSettings::read(&mut reader);
        let admission = AdmissionSettings::read(&mut reader);
        let assertions = AcceptedAssertions::read(&mut reader, provider.as_ref());
        reader.finish()?;
        match (provider, database, admission, assertions) {
            (Some(provider), Some(database), Some(admission), Some(assertions)) => Ok(Self {
                provider,
                database,
                admission,
                assertions,
            }),
            _ => Err(SettingsError::default()),
        }
    }
}
