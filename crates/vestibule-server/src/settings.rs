//! The server's own settings; those of the library are read beside them.

use std::{io::IsTerminal as _, net::SocketAddr, time::Duration};

use sha2::{Digest as _, Sha256};
use vestibule::{
    assertion::SigningSettings,
    provider::access_key::AccessKey,
    settings::{
        AcceptedAssertions, AdmissionSettings, DatabaseSettings, Network, ProviderSettings,
        SETTINGS, Settings, SettingsError, SettingsReader,
    },
};

use crate::{
    admin::{api::OperationsSettings, tokens::AdminTokens},
    gateway::{self, rules::Rules},
    telemetry::{logs::filter, traces::TraceSettings},
};

/// Balancers that look less often than this have others to blame.
const LONGEST_DRAIN: u32 = 300;

/// The server's section of the settings.
#[derive(Clone, Debug)]
pub struct ServerSettings {
    /// `VESTIBULE_LISTEN`: the public API. Port 0: any free one.
    pub listen: SocketAddr,
    /// `VESTIBULE_GRPC_LISTEN`: Envoy's `ext_authz`; none where it is off. Port 0: any free one.
    pub grpc_listen: Option<SocketAddr>,
    /// `VESTIBULE_ADMIN_LISTEN`: metrics. Port 0: any free one.
    pub admin_listen: SocketAddr,
    /// `VESTIBULE_ADMIN_HOSTS`: further names that the admin listener answers to, in lower case.
    pub admin_hosts: Vec<String>,
    /// `VESTIBULE_ADMIN_TOKEN` and `[[admin_tokens]]`; none at all: the admin API is off.
    pub(crate) admin_tokens: AdminTokens,
    /// `VESTIBULE_ACCESS_LOG`.
    pub access_log: AccessLog,
    /// `[[rules]]` of the file: what `/v1/authorize` demands of whom.
    pub(crate) rules: Rules,
    /// `VESTIBULE_ASSERTION_…`: whom assertions are for; none where they are off.
    pub(crate) assertions: Option<SigningSettings>,
    /// `VESTIBULE_DECISION_MAX_AGE`: how many seconds a proxy may remember that a request may go
    /// on; 0: not at all.
    pub decision_max_age: u32,
    /// `VESTIBULE_DRAIN`: how long the server goes on, not ready any more, once it was told to stop.
    pub drain: Duration,
    /// `OTEL_…`: where spans go; none where they are off.
    pub traces: Option<TraceSettings>,
    /// `VESTIBULE_TRUSTED_PROXIES`, which the library reads: whose word about a request counts.
    pub(crate) trusted_proxies: Vec<Network>,
    /// The library's, for what administrators do; none where only this section was read.
    pub(crate) operations: Option<OperationsSettings>,
}

/// Which requests get a line in the log.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum AccessLog {
    /// Those answered with a status of 400 or more.
    #[default]
    Refusals,
    /// All.
    All,
    /// Refusals, and this share (0 to 1) of the others.
    Share(f64),
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// `VESTIBULE_LOG` and `VESTIBULE_LOG_FORMAT`.
#[derive(Clone, Debug)]
pub struct LogSettings {
    /// A filter of tracing-subscriber's form, such as `info,vestibule=debug`.
    pub filter: String,
    /// The form of a line.
    pub format: LogFormat,
}

/// Everything that `serve` needs.
#[derive(Clone, Debug)]
pub struct ServeSettings {
    /// The library's sections.
    pub library: Settings,
    /// The server's section.
    pub server: ServerSettings,
    /// The log.
    pub log: LogSettings,
    /// Whether the library's settings are those of another time.
    pub library_digest: LibraryDigest,
}

/// Stands for the values of all settings that the library reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LibraryDigest([u8; 32]);

/// Settings of the server alone. Others may be the library's.
const OWN: &[&str] = &[
    "VESTIBULE_LISTEN",
    "VESTIBULE_GRPC_LISTEN",
    "VESTIBULE_ADMIN_LISTEN",
    "VESTIBULE_ADMIN_HOSTS",
    "VESTIBULE_ADMIN_TOKEN",
    "VESTIBULE_ACCESS_LOG",
    "VESTIBULE_ASSERTION_AUDIENCES",
    "VESTIBULE_ASSERTION_ISSUER",
    "VESTIBULE_DECISION_MAX_AGE",
    "VESTIBULE_DRAIN",
    "VESTIBULE_LOG",
    "VESTIBULE_LOG_FORMAT",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_EXPORTER_OTLP_HEADERS",
    "OTEL_EXPORTER_OTLP_PROTOCOL",
    "OTEL_SERVICE_NAME",
    "OTEL_RESOURCE_ATTRIBUTES",
    "OTEL_TRACES_SAMPLER",
    "OTEL_TRACES_SAMPLER_ARG",
    "OTEL_SDK_DISABLED",
];

impl LibraryDigest {
    fn read(reader: &mut SettingsReader) -> Self {
        let mut digest = Sha256::new();
        for setting in SETTINGS.iter().filter(|it| !OWN.contains(&it.name)) {
            let value = match setting.secret {
                true => reader.secret(setting.name).map(|it| it.expose().to_owned()),
                false => reader.text(setting.name),
            };
            digest.update(setting.name);
            // No value holds a NUL, so that none runs into the next.
            digest.update([0, u8::from(value.is_some())]);
            digest.update(value.unwrap_or_default());
            digest.update([0]);
        }
        Self(digest.finalize().into())
    }
}

impl ServeSettings {
    /// Reads all sections.
    ///
    /// # Errors
    /// All problems together.
    pub fn read(mut reader: SettingsReader) -> Result<Self, SettingsError> {
        let library_digest = LibraryDigest::read(&mut reader);
        let provider = ProviderSettings::read(&mut reader);
        let database = DatabaseSettings::read(&mut reader);
        let admission = AdmissionSettings::read(&mut reader);
        // For applications, which may share the file: what is wrong with it is said here too.
        let _ = AcceptedAssertions::read(&mut reader, provider.as_ref());
        let access_key = provider.as_ref().map(|provider| &provider.access_key);
        let server = ServerSettings::read(&mut reader, access_key);
        let log = LogSettings::read(&mut reader, "info");
        reader.finish()?;
        match (provider, database, admission, server, log) {
            (Some(provider), Some(database), Some(admission), Some(mut server), Some(log)) => {
                server
                    .trusted_proxies
                    .clone_from(&admission.trusted_proxies);
                server.operations = Some(OperationsSettings {
                    database: database.clone(),
                    provider: Some(provider.clone()),
                });
                Ok(Self {
                    library: Settings {
                        provider,
                        database,
                        admission,
                        // Whoever asks this server brings a token; what it signs is for others.
                        assertions: None,
                    },
                    server,
                    log,
                    library_digest,
                })
            }
            _ => Err(SettingsError::default()),
        }
    }
}

impl ServerSettings {
    /// Reads the section; none where something was wrong, which `reader` then knows.
    ///
    /// Assertions are signed with keys that come from the access key.
    pub fn read(reader: &mut SettingsReader, access_key: Option<&AccessKey>) -> Option<Self> {
        let listen = reader.parsed(
            "VESTIBULE_LISTEN",
            SocketAddr::from(([127, 0, 0, 1], 8080)),
            address,
        );
        let admin_listen = reader.parsed(
            "VESTIBULE_ADMIN_LISTEN",
            SocketAddr::from(([127, 0, 0, 1], 9090)),
            address,
        );
        let grpc_listen = reader.parsed("VESTIBULE_GRPC_LISTEN", None, |text| {
            address(text).map(Some)
        });
        let others = [
            ("VESTIBULE_LISTEN", listen),
            ("VESTIBULE_GRPC_LISTEN", grpc_listen.flatten()),
            ("VESTIBULE_ADMIN_LISTEN", admin_listen),
        ];
        for (place, (name, mine)) in others.iter().enumerate() {
            let taken = others.iter().take(place).find(|(_, other)| other == mine);
            if let (Some(mine), Some((other, _))) = (mine, taken)
                && mine.port() != 0
            {
                reader.problem(
                    name,
                    format!("is the same as {other}: give it another port"),
                );
                return None;
            }
        }
        let admin_hosts = admin_hosts(reader);
        let admin_tokens = AdminTokens::read(reader);
        let access_log = reader.parsed("VESTIBULE_ACCESS_LOG", AccessLog::Refusals, access_log);
        let assertions = SigningSettings::read(reader, access_key);
        let audiences = assertions.as_ref().and_then(Option::as_ref);
        let audiences = audiences.map_or(&[][..], SigningSettings::audiences);
        let rules = rules(reader, audiences);
        let most = gateway::caching::MOST;
        let decision_max_age = reader.count("VESTIBULE_DECISION_MAX_AGE", 0, 0, most);
        let drain = reader.count("VESTIBULE_DRAIN", 0, 0, LONGEST_DRAIN);
        let traces = TraceSettings::read(reader);
        Some(Self {
            listen: listen?,
            grpc_listen: grpc_listen?,
            admin_listen: admin_listen?,
            admin_hosts: admin_hosts?,
            admin_tokens: admin_tokens?,
            access_log: access_log?,
            rules: rules?,
            assertions: assertions?,
            decision_max_age: decision_max_age?,
            drain: Duration::from_secs(drain?.into()),
            traces: traces?,
            trusted_proxies: Vec::new(),
            operations: None,
        })
    }
}

impl ServerSettings {
    /// Takes over what is taken once, at the start: addresses, and where spans go. Says where that is
    /// not what was asked for.
    pub(crate) fn keep_lasting(&mut self, of: &Self) {
        let same = self.listen == of.listen
            && self.grpc_listen == of.grpc_listen
            && self.admin_listen == of.admin_listen;
        if !same {
            tracing::warn!("the addresses of listeners change with the next start");
        }
        (self.listen, self.grpc_listen, self.admin_listen) =
            (of.listen, of.grpc_listen, of.admin_listen);
        if self.traces != of.traces {
            tracing::warn!("the settings of traces (OTEL_…) change with the next start");
            self.traces.clone_from(&of.traces);
        }
    }

    /// Whether this is an admin token.
    #[doc(hidden)]
    pub fn takes_admin_token(&self, token: &str) -> bool {
        self.admin_tokens.find(token).is_some()
    }
}

impl LogSettings {
    /// Reads the section; `default` is the filter where none is set.
    pub fn read(reader: &mut SettingsReader, default: &str) -> Option<Self> {
        let filter = reader.parsed("VESTIBULE_LOG", default.to_owned(), |text| {
            match filter(text) {
                Ok(_) => Ok(text.to_owned()),
                Err(error) => Err(format!(
                    "is not a log filter such as `info` or `info,vestibule=debug`: {error}"
                )),
            }
        });
        let usual = if std::io::stderr().is_terminal() {
            LogFormat::Text
        } else {
            LogFormat::Json
        };
        let format = reader.parsed("VESTIBULE_LOG_FORMAT", usual, |text| match text {
            "text" => Ok(LogFormat::Text),
            "json" => Ok(LogFormat::Json),
            _ => Err("must be text or json".to_owned()),
        });
        Some(Self {
            filter: filter?,
            format: format?,
        })
    }
}

impl std::fmt::Display for AccessLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Refusals => f.write_str("refusals"),
            Self::All => f.write_str("all"),
            Self::Share(share) => share.fmt(f),
        }
    }
}

fn address(text: &str) -> Result<SocketAddr, String> {
    // The one name that needs no resolver.
    let numeric = match text.strip_prefix("localhost:") {
        Some(port) => format!("127.0.0.1:{port}"),
        None => text.to_owned(),
    };
    numeric.parse().map_err(|_| {
        "must be an IP address and a port, such as 127.0.0.1:8080 or [::1]:8080".to_owned()
    })
}

fn admin_hosts(reader: &mut SettingsReader) -> Option<Vec<String>> {
    const NAME: &str = "VESTIBULE_ADMIN_HOSTS";
    let mut hosts = Vec::new();
    let mut usable = true;
    for host in reader.list(NAME) {
        let name = host.to_ascii_lowercase();
        // `*` would let every page of every site in: the check would be off without looking so.
        if name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
            || name.parse::<std::net::Ipv6Addr>().is_ok()
        {
            hosts.push(name);
        } else {
            usable = false;
            reader.problem(
                NAME,
                "must be host names separated by commas, without scheme, port or `*`",
            );
        }
    }
    usable.then_some(hosts)
}

fn rules(reader: &mut SettingsReader, audiences: &[String]) -> Option<Rules> {
    const NAME: &str = "rules";
    match Rules::new(reader.tables(NAME)?, audiences) {
        Ok(rules) => Some(rules),
        Err(problems) => {
            for problem in problems {
                reader.problem(NAME, problem);
            }
            None
        }
    }
}

fn access_log(text: &str) -> Result<AccessLog, String> {
    match text {
        "refusals" => Ok(AccessLog::Refusals),
        "all" => Ok(AccessLog::All),
        _ => text
            .parse::<f64>()
            .ok()
            .filter(|share| (0.0..=1.0).contains(share))
            .map(AccessLog::Share)
            .ok_or_else(|| "must be refusals, all, or a share from 0 to 1 such as 0.01".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<ServerSettings, Vec<String>> {
        let mut reader = SettingsReader::from_pairs(pairs.iter().copied());
        let settings = ServerSettings::read(&mut reader, None);
        match reader.finish() {
            Ok(()) => Ok(settings.unwrap()),
            Err(error) => Err(error
                .problems
                .into_iter()
                .map(|problem| problem.name)
                .collect()),
        }
    }

    #[test]
    fn defaults() {
        let settings = read(&[]).unwrap();
        assert_eq!(settings.listen.to_string(), "127.0.0.1:8080");
        assert!(settings.grpc_listen.is_none());
        assert_eq!(settings.admin_listen.to_string(), "127.0.0.1:9090");
        assert!(settings.admin_hosts.is_empty());
        assert!(settings.admin_tokens.is_empty());
        assert_eq!(settings.access_log, AccessLog::Refusals);
        assert_eq!(settings.decision_max_age, 0);
    }

    #[test]
    fn values() {
        let settings = read(&[
            ("VESTIBULE_LISTEN", "localhost:0"),
            ("VESTIBULE_ADMIN_LISTEN", "[::1]:9191"),
            ("VESTIBULE_ADMIN_HOSTS", "Metrics.Example, 10.0.0.7"),
            ("VESTIBULE_ADMIN_TOKEN", "0123456789abcdef"),
            ("VESTIBULE_ACCESS_LOG", "0.01"),
        ])
        .unwrap();
        assert_eq!(settings.listen.to_string(), "127.0.0.1:0");
        assert_eq!(settings.admin_listen.to_string(), "[::1]:9191");
        assert_eq!(settings.admin_hosts, ["metrics.example", "10.0.0.7"]);
        assert!(!settings.admin_tokens.is_empty());
        assert_eq!(settings.access_log, AccessLog::Share(0.01));
    }

    #[test]
    fn all_problems_are_named() {
        let problems = read(&[
            ("VESTIBULE_LISTEN", "8080"),
            ("VESTIBULE_ADMIN_LISTEN", "vestibule.example:9090"),
            ("VESTIBULE_ADMIN_HOSTS", "https://metrics.example,*"),
            ("VESTIBULE_ADMIN_TOKEN", "0123456789abcde"),
            ("VESTIBULE_ACCESS_LOG", "1.5"),
            ("VESTIBULE_GRPC_LISTEN", "grpc"),
            ("VESTIBULE_DECISION_MAX_AGE", "6"),
        ])
        .unwrap_err();
        assert_eq!(
            problems,
            [
                "VESTIBULE_LISTEN",
                "VESTIBULE_ADMIN_LISTEN",
                "VESTIBULE_GRPC_LISTEN",
                // Two of its names are wrong in the same way, which is said once.
                "VESTIBULE_ADMIN_HOSTS",
                "VESTIBULE_ADMIN_TOKEN",
                "VESTIBULE_ACCESS_LOG",
                "VESTIBULE_DECISION_MAX_AGE",
            ]
        );
        for share in ["NaN", "-0.1", "some", "inf"] {
            assert_eq!(
                read(&[("VESTIBULE_ACCESS_LOG", share)]).unwrap_err(),
                ["VESTIBULE_ACCESS_LOG"]
            );
        }
        for token in ["0123456789 abcdef", "0123456789abcdeé"] {
            assert_eq!(
                read(&[("VESTIBULE_ADMIN_TOKEN", token)]).unwrap_err(),
                ["VESTIBULE_ADMIN_TOKEN"]
            );
        }
    }

    #[test]
    fn one_address_cannot_serve_two() {
        let names = [
            "VESTIBULE_LISTEN",
            "VESTIBULE_GRPC_LISTEN",
            "VESTIBULE_ADMIN_LISTEN",
        ];
        for (one, other) in [(0, 1), (0, 2), (1, 2)] {
            let both = [one, other].map(|place| (names[place], "127.0.0.1:7070"));
            assert_eq!(read(&both).unwrap_err(), [names[other]]);
        }
        let any = [
            ("VESTIBULE_LISTEN", "127.0.0.1:0"),
            ("VESTIBULE_ADMIN_LISTEN", "127.0.0.1:0"),
        ];
        assert!(read(&any).is_ok());
    }

    #[test]
    fn log() {
        let mut reader = SettingsReader::from_pairs([
            ("VESTIBULE_LOG", "info,vestibule=debug"),
            ("VESTIBULE_LOG_FORMAT", "text"),
        ]);
        let log = LogSettings::read(&mut reader, "warn").unwrap();
        assert_eq!(log.filter, "info,vestibule=debug");
        assert_eq!(log.format, LogFormat::Text);
        let mut reader = SettingsReader::from_pairs([
            ("VESTIBULE_LOG", "vestibule=loud"),
            ("VESTIBULE_LOG_FORMAT", "xml"),
        ]);
        assert!(LogSettings::read(&mut reader, "warn").is_none());
        let problems = reader.finish().unwrap_err().problems;
        assert_eq!(problems.len(), 2);
    }
}
