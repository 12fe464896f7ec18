//! Reads single settings and collects what is wrong with them.

use std::fmt;

/// A setting that must not be printed.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// The secret itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// One setting that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingProblem {
    /// The setting's name.
    pub name: String,
    /// What is wrong and what to do.
    pub problem: String,
}

/// Everything that is wrong with the settings.
#[derive(Clone, Debug, Default, PartialEq, Eq, thiserror::Error)]
#[error("the settings cannot be used")]
pub struct SettingsError {
    /// In the order of reading.
    pub problems: Vec<SettingProblem>,
}

/// Reads settings from the environment and a file.
#[derive(Debug, Default)]
pub struct SettingsReader {
    problems: Vec<SettingProblem>,
}

impl SettingsReader {
    /// The process's environment.
    pub fn from_env() -> Self {
        Self::default()
    }

    /// The end of reading.
    ///
    /// # Errors
    /// What was wrong, if anything.
    pub fn finish(self) -> Result<(), SettingsError> {
        if self.problems.is_empty() {
            Ok(())
        } else {
            Err(SettingsError {
                problems: self.problems,
            })
        }
    }
}
