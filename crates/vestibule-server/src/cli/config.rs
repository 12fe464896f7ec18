//! `config check`: the settings in effect, or everything that is wrong with them.

use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::json;
use vestibule::settings::{DatabaseLocation, SETTINGS, SettingsReader};

use super::{
    Global,
    output::{Answer, Failure, Table},
};
use crate::{gateway::rules::Rules, settings::ServeSettings};

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Show the settings that `serve` would run with, or everything that is wrong with them
    ///
    /// With a request: which rule it meets, and what that rule demands.
    Check(CheckArgs),
}

#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// A request's method, such as GET
    #[arg(requires = "url")]
    method: Option<String>,
    /// Its address, such as https://api.acme.example/orders/1
    url: Option<String>,
}

/// One setting as people may see it.
#[derive(Debug, Serialize)]
struct Shown {
    name: &'static str,
    /// Secrets: only whether they are set.
    value: String,
    /// Whether somebody set it.
    set: bool,
    meaning: &'static str,
}

pub(crate) fn run(global: &Global, command: &ConfigCommand) -> Result<Answer, Failure> {
    let ConfigCommand::Check(asked) = command;
    // All problems come before any value.
    let settings = ServeSettings::read(global.reader())?;
    if let (Some(method), Some(url)) = (&asked.method, &asked.url) {
        return rule_of(&settings.server.rules, method, url);
    }
    let shown = effective(&settings, global.reader());
    let mut table = Table::new(&["SETTING", "VALUE", "", "MEANING"]);
    for setting in &shown {
        let origin = if setting.set { "set" } else { "default" };
        table.row(&[setting.name, &setting.value, origin, setting.meaning]);
    }
    Ok(Answer::new(
        &json!({ "settings": shown }),
        table.to_string(),
    ))
}

/// Which rule a request meets.
fn rule_of(rules: &Rules, method: &str, url: &str) -> Result<Answer, Failure> {
    let not_an_address = || {
        Failure::Usage(format!(
            "{url:?} is no address: write it whole, such as https://api.acme.example/orders/1"
        ))
    };
    let (scheme, rest) = url.split_once("://").ok_or_else(not_an_address)?;
    // No client sends a fragment.
    let rest = rest.split('#').next().unwrap_or_default();
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (host, target) = rest.split_at(end);
    if !matches!(scheme, "http" | "https") || host.is_empty() {
        return Err(not_an_address());
    }
    // As a browser sends it.
    let target = if target.starts_with('/') {
        target.to_owned()
    } else {
        format!("/{target}")
    };
    let (rule, says) = match rules.find(method, host, &target) {
        _ if rules.is_empty() => (
            None,
            "there are no rules: any active principal may".to_owned(),
        ),
        Ok(Some(rule)) => (Some(rule), rule.to_string()),
        Ok(None) => (
            None,
            "meets no rule: refused with insufficient_scope".to_owned(),
        ),
        Err(unjudgeable) => (None, format!("{unjudgeable}: refused with invalid_request")),
    };
    let asked = json!({ "method": method, "host": host, "target": target });
    let document = json!({ "request": asked, "rule": rule, "meaning": says });
    Ok(Answer::new(&document, says))
}

fn effective(settings: &ServeSettings, mut reader: SettingsReader) -> Vec<Shown> {
    SETTINGS
        .iter()
        .map(|setting| {
            let text = reader.text(setting.name);
            let in_file =
                setting.secret && reader.text(&format!("{}_FILE", setting.name)).is_some();
            let set = text.is_some() || in_file;
            let value = match derived(settings, setting.name) {
                Some(value) => value,
                None if setting.secret && set => "(set)".to_owned(),
                None => text.unwrap_or_else(|| setting.default.to_owned()),
            };
            Shown {
                name: setting.name,
                value,
                set,
                meaning: setting.meaning,
            }
        })
        .collect()
}

/// Values that differ from the text of the setting: made of others, or without their secrets.
fn derived(settings: &ServeSettings, name: &str) -> Option<String> {
    let provider = &settings.library.provider;
    let database = &settings.library.database;
    Some(match name {
        "AUTHRESS_API_URL" => provider.origin(),
        "AUTHRESS_ISSUERS" => provider.issuers.join(","),
        "AUTHRESS_MACHINE_AUDIENCE" => provider.machine_audience.to_string(),
        "PROVIDER_PROXY" => {
            let proxy = provider.proxy.as_ref()?;
            // It may hold a user and a password.
            format!(
                "{}://{}:{}",
                proxy.scheme(),
                proxy.host_str().unwrap_or_default(),
                proxy.port_or_known_default().unwrap_or_default()
            )
        }
        "DATABASE_URL" => match &database.location {
            DatabaseLocation::Sqlite(files) => format!("sqlite:{}", files.file.display()),
            DatabaseLocation::Postgres(servers) => servers.main.application.to_string(),
        },
        "DATABASE_ADMIN_URL" => database.postgres()?.main.owner().to_string(),
        "TENANCY" => database.tenancy.as_str().to_owned(),
        "TENANT_DATABASE_DIR" => database.sqlite()?.tenant_dir.display().to_string(),
        // As spans are sent, with the path that is added.
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT" => {
            settings.server.traces.as_ref()?.endpoint().to_string()
        }
        "VESTIBULE_LISTEN" => settings.server.listen.to_string(),
        "VESTIBULE_GRPC_LISTEN" => settings
            .server
            .grpc_listen
            .map_or_else(|| "none".to_owned(), |address| address.to_string()),
        "VESTIBULE_ADMIN_LISTEN" => settings.server.admin_listen.to_string(),
        _ => return None,
    })
}
