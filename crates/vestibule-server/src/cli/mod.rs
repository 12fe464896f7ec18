//! The command line: what is asked, and who answers it.
//!
//! Standard output holds the answer and nothing else; logs, notes and errors go to standard
//! error. Exit code 0: done; 1: failed; 2: wrong usage or settings, and nothing was touched.

mod account;
mod account_move;
mod client;
mod config;
mod doctor;
mod generate;
mod import;
mod migrate;
mod operator;
mod output;
mod revoke;
mod token;
mod user;

use std::{ffi::OsString, num::NonZero, path::PathBuf, process::ExitCode, sync::LazyLock, thread};

use clap::{Args, Parser, Subcommand, ValueEnum, builder::PossibleValue};
use futures_util::future::BoxFuture;
use tokio::runtime::Builder;
use vestibule::{
    Vestibule, VestibuleBuilder,
    settings::{DatabaseSettings, Settings, SettingsReader},
    store::{self, Page, PageOf, StoreError},
};

use self::output::{Answer, Failure};
use crate::{
    serve::{Reload, Server, stop_signal},
    settings::{LogSettings, ServeSettings},
    telemetry::{logs, metrics::Metrics, traces::Traces},
};

#[derive(Debug, Parser)]
#[command(
    name = "vestibule",
    version,
    about = "The entrance of a multi-tenant API: who calls, and for which account",
    after_help = "Settings come from the environment or from --config; `vestibule config check` shows them.\n\
                  Exit code 0: done; 1: failed; 2: wrong usage or settings."
)]
struct CommandLine {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Debug, Args)]
struct Global {
    /// Answer with one JSON document on standard output
    #[arg(long, global = true)]
    json: bool,
    /// Read settings from a TOML file too; the environment wins
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Have a running server do it: the address of its admin listener; VESTIBULE_ADMIN_TOKEN is its token
    #[arg(long, global = true, value_name = "URL")]
    server: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server
    Serve(ServeArgs),
    /// Bring the database up to date
    Migrate(migrate::MigrateArgs),
    /// Bring in accounts, users and service clients from elsewhere
    Import(import::ImportArgs),
    /// Accounts: the customers of the platform
    #[command(subcommand)]
    Account(account::AccountCommand),
    /// Service clients: software that signs its own tokens
    #[command(subcommand)]
    Client(client::ClientCommand),
    /// Users: people
    #[command(subcommand)]
    User(user::UserCommand),
    /// Cut off a token, a user, an account, an issuer, or a service client's key: now, on every server
    Revoke(revoke::RevokeArgs),
    /// Tokens
    #[command(subcommand)]
    Token(token::TokenCommand),
    /// Settings
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// Look for what is wrong with settings, database, provider and clients
    Doctor(doctor::DoctorArgs),
    /// Man pages and completions, for packages
    #[command(subcommand, hide = true)]
    Generate(generate::GenerateCommand),
}

#[derive(Debug, Args)]
struct ServeArgs {
    /// Start in spite of a danger, by its name; may be given several times
    #[arg(long, value_name = "DANGER", value_enum)]
    allow: Vec<Danger>,
}

/// What `serve` refuses unless it is allowed by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Danger {
    /// The database's users belong to another provider.
    OtherProvider,
    /// The admin listener can be reached from other machines.
    AdminBeyondLoopback,
    /// PostgreSQL does not keep accounts apart as it should.
    Database(store::Danger),
}

impl ValueEnum for Danger {
    fn value_variants<'a>() -> &'a [Self] {
        static ALL: LazyLock<Vec<Danger>> = LazyLock::new(|| {
            let own = [Danger::OtherProvider, Danger::AdminBeyondLoopback];
            own.into_iter()
                .chain(store::Danger::all().map(Danger::Database))
                .collect()
        });
        &ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(match self {
            Self::OtherProvider => PossibleValue::new("other-provider").help(
                "The database's users belong to another provider: their subjects then mean \
                 whoever has them at this one",
            ),
            Self::AdminBeyondLoopback => PossibleValue::new("admin-beyond-loopback")
                .help("The admin listener can be reached from other machines"),
            Self::Database(danger) => {
                PossibleValue::new(danger.allowed_as()).help(danger.meaning())
            }
        })
    }
}

/// Reads the command line, does what it asks, and prints the answer.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let CommandLine { global, command } = match CommandLine::try_parse_from(arguments) {
        Ok(line) => line,
        Err(usage) => {
            // `--help` and `--version` are answers, the rest goes to standard error with code 2.
            drop(usage.print());
            return ExitCode::from(u8::try_from(usage.exit_code()).unwrap_or(2));
        }
    };
    // Several threads on one processor would only wake each other.
    let mut runtime = match thread::available_parallelism().map(NonZero::get) {
        Ok(1) => Builder::new_current_thread(),
        _ => Builder::new_multi_thread(),
    };
    let runtime = match runtime.enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            return Failure::Failed(format!("cannot start: {error}")).print(global.json);
        }
    };
    let result = runtime.block_on(run(&global, command));
    // What still runs in the background has been told to stop; it is not waited for.
    runtime.shutdown_background();
    match result {
        Ok(Some(answer)) => answer.print(global.json),
        Ok(None) => ExitCode::SUCCESS,
        Err(failure) => failure.print(global.json),
    }
}

async fn run(global: &Global, command: Command) -> Result<Option<Answer>, Failure> {
    match command {
        Command::Serve(_) | Command::Config(_) | Command::Doctor(_) | Command::Generate(_)
            if global.server.is_some() =>
        {
            global.require_no_server("this command").map(|()| None)
        }
        Command::Serve(arguments) => serve(global, &arguments).await.map(|()| None),
        Command::Migrate(arguments) => migrate::run(global, &arguments).await.map(Some),
        Command::Import(arguments) => import::run(global, &arguments).await.map(Some),
        Command::Account(command) => account::run(global, command).await.map(Some),
        Command::Client(command) => client::run(global, command).await.map(Some),
        Command::User(command) => user::run(global, command).await.map(Some),
        Command::Revoke(arguments) => revoke::run(global, arguments).await.map(Some),
        Command::Token(command) => token::run(global, command).await.map(Some),
        Command::Config(command) => config::run(global, &command).map(Some),
        Command::Doctor(arguments) => doctor::run(global, &arguments).await.map(Some),
        Command::Generate(command) => generate::run(command).map(Some),
    }
}

async fn serve(global: &Global, arguments: &ServeArgs) -> Result<(), Failure> {
    let settings = ServeSettings::read(global.reader())?;
    // Before anything is counted.
    let metrics = Metrics::install();
    let traces = settings.server.traces.as_ref().map(Traces::start);
    let traces = traces.transpose()?;
    logs::start_beside(&settings.log, traces.as_ref());
    let admin = settings.server.admin_listen;
    if !admin.ip().is_loopback() && !arguments.allow.contains(&Danger::AdminBeyondLoopback) {
        return Err(Failure::Usage(format!(
            "VESTIBULE_ADMIN_LISTEN is {admin}, which other machines can reach: set a loopback \
             address, or start with --allow admin-beyond-loopback"
        )));
    }
    // Before anything can be interrupted.
    let stop = stop_signal().map_err(|error| Failure::Failed(error.to_string()))?;
    let allowed = arguments.allow.clone();
    let build = move |library| {
        let building = builder(library, &allowed).build();
        Box::pin(building) as BoxFuture<'static, _>
    };
    let again = global.clone();
    let reload = Reload::new(
        move || ServeSettings::read(again.reader()),
        build.clone(),
        global.config.clone(),
        settings.library_digest,
    )
    .map_err(|error| Failure::Failed(error.to_string()))?;
    tokio::pin!(stop);
    let vestibule = tokio::select! {
        built = build(settings.library) => built.map_err(start_failure)?,
        // Told to stop before it began.
        () = &mut stop => return Ok(()),
    };
    let server = Server::bind(settings.server, vestibule, metrics)
        .await
        .map_err(|error| Failure::Failed(error.to_string()))?;
    server.reloading(reload).traced(traces).run(stop).await;
    Ok(())
}

fn builder(library: Settings, allowed: &[Danger]) -> VestibuleBuilder {
    let mut builder = Vestibule::builder(library);
    for danger in allowed {
        builder = match danger {
            Danger::OtherProvider => builder.allow_other_provider(),
            Danger::AdminBeyondLoopback => builder,
            Danger::Database(danger) => builder.allow(*danger),
        };
    }
    builder
}

impl Global {
    /// A reader of the environment and of `--config`.
    fn reader(&self) -> SettingsReader {
        let reader = SettingsReader::from_env();
        match &self.config {
            Some(file) => reader.with_file(file),
            None => reader,
        }
    }

    /// Reads what a command on the directory needs, and starts logging. The log of a command says
    /// only what went wrong, unless it is told otherwise.
    fn database(&self) -> Result<DatabaseSettings, Failure> {
        let mut reader = self.reader();
        let database = DatabaseSettings::read(&mut reader);
        let log = LogSettings::read(&mut reader, "warn");
        reader.finish()?;
        let (Some(database), Some(log)) = (database, log) else {
            return Err(Failure::Settings(Default::default()));
        };
        logs::start(&log);
        Ok(database)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Invalid(text) => Self::Usage(text),
            error => Self::Failed(error.to_string()),
        }
    }
}

fn start_failure(error: vestibule::StartError) -> Failure {
    match error {
        vestibule::StartError::Settings(error) => Failure::Settings(error),
        error => Failure::Failed(error.to_string()),
    }
}

fn clock() -> vestibule::clock::SharedClock {
    std::sync::Arc::new(vestibule::clock::SystemClock)
}

/// All pages of a list.
async fn all_pages<T, F>(mut page: impl FnMut(Page) -> F) -> Result<Vec<T>, StoreError>
where
    F: Future<Output = Result<PageOf<T>, StoreError>>,
{
    let mut items = Vec::new();
    let mut cursor = None;
    loop {
        let part = page(Page { limit: 200, cursor }).await?;
        items.extend(part.items);
        match part.next_cursor {
            Some(next) => cursor = Some(next),
            None => return Ok(items),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn json_stands_before_or_after() {
        for line in [
            &["vestibule", "--json", "account", "list"][..],
            &["vestibule", "account", "--json", "list"],
            &["vestibule", "account", "list", "--json"],
        ] {
            assert!(
                CommandLine::try_parse_from(line).unwrap().global.json,
                "{line:?}"
            );
        }
        let line = CommandLine::try_parse_from(["vestibule", "account", "list"]).unwrap();
        assert!(!line.global.json);
    }

    #[test]
    fn wrong_usage_is_code_2() {
        for line in [
            &["vestibule"][..],
            &["vestibule", "nothing"],
            &["vestibule", "account", "create", "--name", "Acme"],
            &["vestibule", "account", "show", "acme"],
            &[
                "vestibule",
                "user",
                "set-role",
                "0190a8f2-0000-7000-8000-000000000001",
            ],
        ] {
            assert_eq!(
                CommandLine::try_parse_from(line).unwrap_err().exit_code(),
                2,
                "{line:?}"
            );
        }
    }

    #[test]
    fn revoke_names_one_thing() {
        for line in [
            &[
                "vestibule",
                "revoke",
                "--client",
                "sc_robot01",
                "--kid",
                "k1",
            ][..],
            &["vestibule", "revoke", "--token"],
            &["vestibule", "revoke", "--list", "--json"],
            &[
                "vestibule",
                "revoke",
                "--issuer",
                "https://auth.example.com",
                "--before",
                "2026-01-01T00:00:00Z",
            ],
        ] {
            assert!(CommandLine::try_parse_from(line).is_ok(), "{line:?}");
        }
        for line in [
            &["vestibule", "revoke"][..],
            &["vestibule", "revoke", "--client", "sc_robot01"],
            &["vestibule", "revoke", "--kid", "k1"],
            &["vestibule", "revoke", "--token", "--list"],
            &[
                "vestibule",
                "revoke",
                "--token",
                "--before",
                "2026-01-01T00:00:00Z",
            ],
        ] {
            let refused = CommandLine::try_parse_from(line).unwrap_err();
            assert_eq!(refused.exit_code(), 2, "{line:?}");
        }
    }

    #[tokio::test]
    async fn all_pages_are_read() {
        let found = all_pages(|page| async move {
            let start: u32 = page.cursor.map_or(0, |cursor| cursor.parse().unwrap());
            Ok(PageOf {
                items: (start..(start + 200).min(450)).collect(),
                next_cursor: (start + 200 < 450).then(|| (start + 200).to_string()),
            })
        })
        .await
        .unwrap();
        assert_eq!(found, (0..450).collect::<Vec<u32>>());
    }
}
