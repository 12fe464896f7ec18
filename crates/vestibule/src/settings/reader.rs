//! Reads single settings and collects what is wrong with them.

use std::{
    collections::BTreeMap,
    env,
    ffi::OsString,
    fmt, fs,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::de::DeserializeOwned;

use super::names;

/// A setting that must not be printed.
#[derive(Clone, PartialEq, Eq)]
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
    /// What is wrong and what to do. Never the value of a secret.
    pub problem: String,
}

/// Everything that is wrong with the settings, in the order of reading.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SettingsError {
    /// One entry for each setting that is wrong.
    pub problems: Vec<SettingProblem>,
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.problems.len() {
            0 | 1 => f.write_str("a setting cannot be used:")?,
            number => write!(f, "{number} settings cannot be used:")?,
        }
        for SettingProblem { name, problem } in &self.problems {
            write!(f, "\n  {name}: {problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for SettingsError {}

/// Gives the value of an environment variable.
type Lookup = Box<dyn Fn(&str) -> Option<OsString> + Send>;

/// Reads settings from the environment and, behind it, a TOML file.
///
/// Nothing fails before [`SettingsReader::finish`], which reports all problems together.
pub struct SettingsReader {
    environment: Lookup,
    file: BTreeMap<String, String>,
    tables: BTreeMap<String, Vec<toml::Table>>,
    problems: Vec<SettingProblem>,
}

impl fmt::Debug for SettingsReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SettingsReader")
            .field("problems", &self.problems)
            .finish_non_exhaustive()
    }
}

impl SettingsReader {
    /// The process's environment.
    pub fn from_env() -> Self {
        Self::from_lookup(|name| env::var_os(name))
    }

    /// Settings from elsewhere: `lookup` is given a name in upper case.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<OsString> + Send + 'static) -> Self {
        Self {
            environment: Box::new(lookup),
            file: BTreeMap::new(),
            tables: BTreeMap::new(),
            problems: Vec::new(),
        }
    }

    /// Settings from pairs of names and values; for tests and for programs that hold their own.
    pub fn from_pairs<N: Into<String>, V: Into<String>>(
        pairs: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        let pairs: BTreeMap<String, String> = pairs
            .into_iter()
            .map(|(name, value)| (name.into(), value.into()))
            .collect();
        Self::from_lookup(move |name| pairs.get(name).map(OsString::from))
    }

    /// Reads a TOML file as well; what the environment sets wins over it.
    #[must_use]
    pub fn with_file(mut self, path: &Path) -> Self {
        let shown = path.display();
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) => {
                self.problem(
                    "--config",
                    format!("must name a file that can be read; {shown}: {error}"),
                );
                return self;
            }
        };
        let table = match text.parse::<toml::Table>() {
            Ok(table) => table,
            Err(error) => {
                // The whole message would quote the line, which may hold a secret.
                let line = error.span().map_or(1, |span| {
                    text.bytes()
                        .take(span.start)
                        .filter(|byte| *byte == b'\n')
                        .count()
                        + 1
                });
                self.problem(
                    "--config",
                    format!("{shown} must be TOML; line {line} is not"),
                );
                return self;
            }
        };
        for (key, value) in table {
            if names::TABLES.iter().any(|(name, _)| *name == key) {
                match tables(value) {
                    Some(tables) => drop(self.tables.insert(key, tables)),
                    None => {
                        self.problem(&key, format!("must be tables: write [[{key}]] before each"))
                    }
                }
                continue;
            }
            let name = key.to_ascii_uppercase();
            if key != key.to_ascii_lowercase() || !names::is_known(&name) {
                self.problem(&key, format!("no such setting: remove it from {shown}"));
                continue;
            }
            match toml_text(&value) {
                Some(text) => {
                    self.file.insert(name, text);
                }
                None => self.problem(
                    &key,
                    "must be text, a number, true or false, or a list of texts".to_owned(),
                ),
            }
        }
        self
    }

    /// Notes that a setting is wrong.
    pub fn problem(&mut self, name: &str, problem: impl Into<String>) {
        let problem = SettingProblem {
            name: name.to_owned(),
            problem: problem.into(),
        };
        // A setting that is read twice is wrong once.
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }

    /// The setting's text; none where it is missing or empty.
    pub fn text(&mut self, name: &str) -> Option<String> {
        debug_assert!(
            names::is_known(name),
            "{name} is not in the list of settings"
        );
        let from_environment = match (self.environment)(name).map(OsString::into_string) {
            Some(Ok(text)) => Some(text).filter(|text| !text.trim().is_empty()),
            Some(Err(_)) => {
                self.problem(name, "must be UTF-8");
                return None;
            }
            None => None,
        };
        from_environment
            .or_else(|| {
                self.file
                    .get(name)
                    .filter(|text| !text.trim().is_empty())
                    .cloned()
            })
            .map(|text| text.trim().to_owned())
    }

    /// A secret, from `NAME` or from the file that `NAME_FILE` names.
    pub fn secret(&mut self, name: &str) -> Option<Secret> {
        let file_name = format!("{name}_FILE");
        match (self.text(name), self.text(&file_name)) {
            (Some(_), Some(_)) => {
                self.problem(name, format!("is set twice: keep either it or {file_name}"));
                None
            }
            (Some(text), None) => Some(Secret(text)),
            (None, Some(path)) => match fs::read_to_string(PathBuf::from(&path)) {
                Ok(text) if text.trim().is_empty() => {
                    self.problem(
                        &file_name,
                        format!("must name a file with the secret in it; {path} is empty"),
                    );
                    None
                }
                Ok(text) => Some(Secret(text.trim().to_owned())),
                Err(error) => {
                    self.problem(
                        &file_name,
                        format!("must name a file that can be read; {path}: {error}"),
                    );
                    None
                }
            },
            (None, None) => None,
        }
    }

    /// Notes that a required secret is missing.
    pub fn missing_secret(&mut self, name: &str, meaning: &str) {
        // A secret that was there but could not be read has been noted already.
        let noted = self.problems.iter().any(|problem| {
            problem.name == name || problem.name.strip_suffix("_FILE") == Some(name)
        });
        if !noted {
            self.problem(
                name,
                format!("is missing: set it, or {name}_FILE, to {meaning}"),
            );
        }
    }

    /// A setting with a default. None where its value is wrong, which is then noted.
    pub fn parsed<T>(
        &mut self,
        name: &str,
        default: T,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        match self.text(name) {
            None => Some(default),
            Some(text) => self.noted(name, parse(&text)),
        }
    }

    /// Takes a result's value, or notes what was wrong with the setting.
    pub fn noted<T>(&mut self, name: &str, result: Result<T, String>) -> Option<T> {
        result.map_err(|problem| self.problem(name, problem)).ok()
    }

    /// `true` or `false`.
    pub fn flag(&mut self, name: &str, default: bool) -> Option<bool> {
        self.parsed(name, default, |text| match text {
            "true" | "1" => Ok(true),
            "false" | "0" => Ok(false),
            _ => Err("must be true or false".to_owned()),
        })
    }

    /// A plain number of seconds, at least `least`.
    pub fn seconds(&mut self, name: &str, default: u32, least: Duration) -> Option<Duration> {
        // Ten years: longer is a mistake, and far from any overflow.
        const MOST: f64 = 315_360_000.0;
        self.parsed(name, Duration::from_secs(default.into()), |text| {
            let seconds = text
                .parse::<f64>()
                .ok()
                .filter(|seconds| (0.0..=MOST).contains(seconds))
                .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
                .ok_or("must be a plain number of seconds, such as 60")?;
            if seconds < least {
                return Err(format!("must be at least {} seconds", least.as_secs_f64()));
            }
            Ok(seconds)
        })
    }

    /// A whole number within bounds.
    pub fn count(&mut self, name: &str, default: u32, least: u32, most: u32) -> Option<u32> {
        self.parsed(name, default, |text| {
            text.parse::<u32>()
                .ok()
                .filter(|number| (least..=most).contains(number))
                .ok_or_else(|| format!("must be a whole number from {least} to {most}"))
        })
    }

    /// Texts between commas, without empty ones.
    pub fn list(&mut self, name: &str) -> Vec<String> {
        let text = self.text(name).unwrap_or_default();
        text.split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty())
            .map(str::to_owned)
            .collect()
    }

    /// The tables of this name, which only the file can have. None where one of them is wrong.
    pub fn tables<T: DeserializeOwned>(&mut self, name: &str) -> Option<Vec<T>> {
        let tables = self.tables.remove(name).unwrap_or_default();
        let mut read = Some(Vec::with_capacity(tables.len()));
        for (number, table) in (1..).zip(tables) {
            match T::deserialize(table) {
                Ok(item) => {
                    if let Some(read) = &mut read {
                        read.push(item);
                    }
                }
                Err(error) => {
                    let mistake = error.message().trim_end();
                    self.problem(name, format!("number {number}: {mistake}"));
                    read = None;
                }
            }
        }
        read
    }

    /// The end of reading.
    ///
    /// # Errors
    /// Everything that was wrong.
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

fn tables(value: toml::Value) -> Option<Vec<toml::Table>> {
    let toml::Value::Array(items) = value else {
        return None;
    };
    items
        .into_iter()
        .map(|item| match item {
            toml::Value::Table(table) => Some(table),
            _ => None,
        })
        .collect()
}

fn toml_text(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Float(number) => Some(number.to_string()),
        toml::Value::Boolean(flag) => Some(flag.to_string()),
        toml::Value::Array(items) => items
            .iter()
            .map(|item| item.as_str().filter(|text| !text.contains(',')))
            .collect::<Option<Vec<_>>>()
            .map(|texts| texts.join(",")),
        toml::Value::Datetime(_) | toml::Value::Table(_) => None,
    }
}
