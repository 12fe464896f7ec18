//! `token explain`: why a token is accepted or refused.
//!
//! Reads the token from standard input: an argument would be seen by everybody who may list
//! processes. Shows what the token claims, never the token, its signature, or claims that are
//! not needed for the decision, which may hold e-mail addresses.

use std::{
    io::{self, IsTerminal as _, Read as _},
    time::Duration,
};

use clap::{Args, Subcommand};
use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;
use vestibule::{Vestibule, settings::Settings};

use super::{
    Global,
    operator::Operator,
    output::{Answer, Failure, note, print_line, shown},
    start_failure,
};
use crate::{
    explain::{self, Explanation},
    settings::LogSettings,
    telemetry::logs,
};

/// How often a server is asked for new refusals.
const LOOK: Duration = Duration::from_millis(500);

/// More than any token that is judged, so that "too long" can be told.
const MOST_BYTES: u64 = 64 * 1024;

#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Say step by step why a token, read from standard input, is accepted or refused
    Explain(ExplainArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    /// Explain a request that a server refused, by its request_id; with --server
    #[arg(long, value_name = "ID")]
    request: Option<Uuid>,
    /// Show a server's refusals as they happen; with --server
    #[arg(long, conflicts_with = "request")]
    live: bool,
    /// Refused: it would be seen by everybody who may list processes
    #[arg(hide = true, trailing_var_arg = true)]
    misplaced: Vec<std::ffi::OsString>,
}

pub(crate) async fn run(global: &Global, command: TokenCommand) -> Result<Answer, Failure> {
    let TokenCommand::Explain(arguments) = command;
    if !arguments.misplaced.is_empty() {
        // Not repeated: it is a secret.
        return Err(Failure::Usage(
            "a token is no argument: give it on standard input, such as \
             `vestibule token explain < token.txt`"
                .to_owned(),
        ));
    }
    if let Some(id) = arguments.request {
        return by_server(global, &json!({ "request_id": id })).await;
    }
    if arguments.live {
        return live(global).await;
    }
    let text = read_token()?;
    if global.server.is_some() {
        return by_server(global, &json!({ "token": text })).await;
    }
    let mut reader = global.reader();
    let log = LogSettings::read(&mut reader, "warn");
    let settings = Settings::read(reader)?;
    if let Some(log) = log {
        logs::start(&log);
    }
    let provider = settings.provider.clone();
    let vestibule = Vestibule::builder(settings)
        .build()
        .await
        .map_err(start_failure)?;
    let explained = explain::token(&vestibule, Some(&provider), &text).await;
    vestibule.shutdown().await;
    Ok(answer(&explained))
}

/// What only a running server knows, or the token judged by one.
async fn by_server(global: &Global, asked: &Value) -> Result<Answer, Failure> {
    let operator = at_a_server(global)?;
    let explained: Explanation = operator
        .send(Method::POST, "/admin/v1/explain", asked)
        .await?;
    Ok(answer(&explained))
}

/// Shows refusals as they happen, until it is stopped.
async fn live(global: &Global) -> Result<Answer, Failure> {
    let operator = at_a_server(global)?;
    // Those that are there already are not shown.
    let mut page: Refusals = operator.get("/admin/v1/refusals?limit=1").await?;
    loop {
        tokio::time::sleep(LOOK).await;
        let path = format!("/admin/v1/refusals?limit=1000&after={}", page.next);
        page = operator.get(&path).await?;
        for refused in &page.items {
            let line = if global.json {
                refused.to_string()
            } else {
                line_of(refused)
            };
            if print_line(&line).is_err() {
                return Ok(Answer::nothing());
            }
        }
    }
}

#[derive(Deserialize)]
struct Refusals {
    items: Vec<Value>,
    next: u64,
}

fn line_of(refused: &Value) -> String {
    let text = |name: &str| shown(refused[name].as_str().unwrap_or("-"));
    format!(
        "{} {} {} {} {} {}",
        text("at"),
        text("request_id"),
        refused["status"],
        text("reason"),
        text("method"),
        text("path"),
    )
}

fn at_a_server(global: &Global) -> Result<Operator, Failure> {
    if global.server.is_none() {
        return Err(Failure::Usage(
            "requests are remembered by the server that refused them: name it with --server, such \
             as --server http://127.0.0.1:9090"
                .to_owned(),
        ));
    }
    global.operator(false)
}

/// The token on standard input, without a scheme and white space around it.
pub(super) fn read_token() -> Result<String, Failure> {
    let stdin = io::stdin();
    if stdin.is_terminal() {
        note("paste the token, then press Enter and Ctrl-D:");
    }
    let mut text = String::new();
    if stdin
        .lock()
        .take(MOST_BYTES)
        .read_to_string(&mut text)
        .is_err()
    {
        return Err(Failure::Failed("standard input is not text".to_owned()));
    }
    let text = text.trim();
    let token = match text.get(..7) {
        Some(scheme) if scheme.eq_ignore_ascii_case("bearer ") => {
            text.get(7..).unwrap_or_default().trim()
        }
        _ => text,
    };
    if token.is_empty() {
        return Err(Failure::Usage(
            "there is no token on standard input".to_owned(),
        ));
    }
    Ok(token.to_owned())
}

fn answer(explained: &Explanation) -> Answer {
    Answer::new(explained, text(explained))
}

fn text(explained: &Explanation) -> String {
    let mut lines = Vec::new();
    let claimed = &explained.claimed;
    if let Some(request) = &explained.request {
        lines.push("request".to_owned());
        for name in ["request_id", "at", "status", "method", "path", "account_id"] {
            match &request[name] {
                Value::Null => {}
                Value::String(value) => lines.push(format!("  {name:10} {}", shown(value))),
                value => lines.push(format!("  {name:10} {value}")),
            }
        }
    }
    for (title, members) in [("header", &claimed.header), ("claims", &claimed.claims)] {
        if members.is_empty() && explained.request.is_some() {
            continue;
        }
        lines.push(format!("{title} (as the token has it, not yet proven)"));
        for (name, value) in members {
            let value = match value {
                Value::String(text) => shown(text),
                other => shown(&other.to_string()),
            };
            lines.push(format!("  {name:10} {value}"));
        }
    }
    if !claimed.further_claims.is_empty() {
        let names: Vec<String> = claimed
            .further_claims
            .iter()
            .map(|name| shown(name))
            .collect();
        lines.push(format!("  further    {}", names.join(", ")));
    }
    lines.push("steps".to_owned());
    for told in &explained.steps {
        lines.push(format!(
            "  {:10} {}: {}",
            told.step,
            told.state,
            shown(&told.expected)
        ));
        if told.state != "refused" {
            continue;
        }
        if let Some(found) = &told.found {
            lines.push(format!("  {:10}   found: {}", "", shown(found)));
        }
        if let Some(setting) = &told.setting {
            lines.push(format!("  {:10}   decided by: {setting}", ""));
        }
    }
    lines.push(verdict(explained));
    if let Some(remedy) = &explained.remedy {
        lines.push(format!("to change: {remedy}"));
    }
    lines.join("\n")
}

fn verdict(explained: &Explanation) -> String {
    let principal = &explained.principal;
    let text = |at: &str| {
        let value = principal.pointer(at).and_then(Value::as_str);
        shown(value.unwrap_or_default())
    };
    match (&*explained.verdict, &explained.reason) {
        ("accepted", _) => format!(
            "verdict: accepted; {} {} of account {} ({})",
            text("/kind"),
            text("/user/id"),
            text("/account/id"),
            text("/account/name"),
        ),
        ("newcomer", _) => format!(
            "verdict: the token is good; the person is not known here yet. The first request asks \
             Authress for the user and the tenant, and makes a local user of account {} ({})",
            text("/account/id"),
            text("/account/name"),
        ),
        (_, Some(reason)) => format!(
            "verdict: refused; {reason}: {}. The caller is told `{}`",
            explained.meaning.as_deref().unwrap_or_default(),
            explained.code.as_deref().unwrap_or_default()
        ),
        (_, None) => format!(
            "verdict: refused; {}",
            explained.meaning.as_deref().unwrap_or_default()
        ),
    }
}
