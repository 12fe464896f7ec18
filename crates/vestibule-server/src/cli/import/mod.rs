//! `import`: accounts, users and service clients out of a file.
//!
//! The file is read three times, and not kept:
//!
//! 1. Every line by itself, and whether another line is about the same.
//! 2. What each would come to, asked of the database.
//! 3. The writing, in which everything is decided again, inside of the transactions that write.
//!
//! What is wrong with a line is told at its first problem, and later steps pass it over. What was written
//! when the third step is broken off is found again by the next run, as what is there already.

mod accounts;
mod deeds;
mod lines;
mod lookups;
mod progress;
mod records;
mod report;

use std::{
    collections::{HashMap, HashSet, hash_map::Entry},
    fs::File,
    io::{self, BufReader},
    path::PathBuf,
    time::Duration,
};

use clap::{Args, ValueEnum};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;
use vestibule::{
    principal::PROVIDER,
    settings::ProviderSettings,
    store::{Directory, IMPORT_LIMIT, Imported, ImportedClient, ImportedUser, StoreError},
    tenancy::TenantSpaces,
};

use self::{
    accounts::{Accounts, Clusters},
    deeds::Deeds,
    lines::{Lines, Source},
    lookups::LookUps,
    progress::Progress,
    records::{NewAccount, Owner, Reader, Record, Wrong},
    report::{Ending, Report},
};
use super::{
    Global, clock,
    output::{Answer, Failure, note, shown},
};

#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    /// JSON lines (.jsonl) or CSV (.csv); `-` is standard input
    file: PathBuf,
    /// The file's form, where its name does not say it
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// What the lines of CSV are; lines of JSON say it themselves
    #[arg(long, value_enum)]
    kind: Option<Kind>,
    /// Check everything, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Give what is here already the file's names, roles, scopes and statuses
    #[arg(long)]
    update: bool,
    /// Take the good lines although others are wrong
    #[arg(long)]
    keep_going: bool,
    /// A service client that may obtain tokens of any user; once for each
    #[arg(long = "allow-token-generation", value_name = "CLIENT_ID")]
    allowed: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Jsonl,
    Csv,
}

/// What a line makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
enum Kind {
    Accounts,
    Users,
    Clients,
}

/// How lines are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Jsonl,
    Csv(Kind),
}

/// Whether it is only asked what would be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Preview,
    Write,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Accounts, Self::Users, Self::Clients];

    const fn name(self) -> &'static str {
        match self {
            Self::Accounts => "accounts",
            Self::Users => "users",
            Self::Clients => "clients",
        }
    }
}

impl ImportArgs {
    fn form(&self) -> Result<Form, Failure> {
        let usage = |text: &str| Failure::Usage(text.to_owned());
        let named = self.file.extension().and_then(|name| name.to_str());
        let format = match (self.format, named) {
            (Some(format), _) => format,
            (None, Some("csv")) => Format::Csv,
            (None, Some("jsonl" | "ndjson")) => Format::Jsonl,
            _ => {
                return Err(usage(
                    "say what the file is: --format jsonl, or --format csv",
                ));
            }
        };
        match (format, self.kind) {
            (Format::Csv, Some(kind)) => Ok(Form::Csv(kind)),
            (Format::Csv, None) => Err(usage(
                "say what the lines of CSV are: --kind accounts, --kind users or --kind clients",
            )),
            (Format::Jsonl, None) => Ok(Form::Jsonl),
            (Format::Jsonl, Some(_)) => Err(usage(
                "--kind is for CSV: lines of JSON say their kind themselves",
            )),
        }
    }
}

pub(crate) async fn run(global: &Global, arguments: &ImportArgs) -> Result<Answer, Failure> {
    global.require_no_server("import")?;
    let form = arguments.form()?;
    let settings = global.operations(true)?;
    let source = Source::open(&arguments.file).map_err(|error| {
        let file = shown(&arguments.file.display().to_string());
        Failure::Usage(format!("{file} cannot be read: {error}"))
    })?;
    let directory = Directory::open_as_owner(&settings.database, clock()).await?;
    require_provider(&directory, settings.provider.as_ref()).await?;
    let spaces = TenantSpaces::open(&settings.database, &directory, clock())?;
    let mut import = Import {
        arguments,
        form,
        source: &source,
        directory: &directory,
        spaces: &spaces,
        own_client: settings
            .provider
            .as_ref()
            .map(|provider| provider.access_key.client_id()),
        clusters: Clusters::of(&settings.database),
        lookups: LookUps::new(settings.provider.clone(), &arguments.allowed),
        cleared: HashSet::new(),
        accounts: Accounts::default(),
        report: Report::default(),
        deeds: Deeds::default(),
        people: 0,
    };
    let ending = import.run().await;
    let Import { report, deeds, .. } = import;
    // Also of what was broken off.
    deeds.note(&spaces).await;
    spaces.close().await;
    directory.close().await;
    Ok(report.answer(ending?))
}

/// A user's id means nothing without the provider that gave it.
async fn require_provider(
    directory: &Directory,
    provider: Option<&ProviderSettings>,
) -> Result<(), Failure> {
    let Some(provider) = provider else {
        return Ok(());
    };
    let origin = provider.origin();
    match directory.provider().await? {
        Some(bound) if bound != origin => Err(Failure::Failed(format!(
            "the database belongs to the provider {}, AUTHRESS_API_URL names {origin}: correct \
             AUTHRESS_API_URL or DATABASE_URL",
            shown(&bound)
        ))),
        _ => Ok(()),
    }
}

struct Import<'i> {
    arguments: &'i ImportArgs,
    form: Form,
    source: &'i Source,
    directory: &'i Directory,
    spaces: &'i TenantSpaces,
    /// The service client of our own access key.
    own_client: Option<&'i str>,
    clusters: Clusters,
    lookups: LookUps<'i>,
    /// Service clients that may be let in: whoever changes the file meanwhile adds none.
    cleared: HashSet<String>,
    accounts: Accounts,
    report: Report,
    deeds: Deeds,
    /// Users and service clients whose lines are sound.
    people: u64,
}

/// What is said of a line that was sound when it was first read.
const CHANGED: &str = "was changed while the file was read";

/// Between two transactions. On SQLite others look for their turn to write only now and then.
const PAUSE: Duration = Duration::from_millis(10);

type UserLine = (u64, Owner, ImportedUser);
type ClientLine = (u64, Owner, ImportedClient);

impl<'i> Import<'i> {
    async fn run(&mut self) -> Result<Ending, Failure> {
        let accounts = self.survey()?;
        let accounts = self.preview_accounts(accounts).await?;
        self.walk(Step::Preview).await?;
        for warning in self.lookups.warnings() {
            note(&format!("warning: {}", shown(&warning)));
        }
        if self.arguments.dry_run {
            return Ok(Ending::DryRun);
        }
        if self.report.has_problems() && !self.arguments.keep_going {
            return Ok(Ending::Refused);
        }
        self.report.begin();
        self.write_accounts(accounts).await?;
        self.walk(Step::Write).await?;
        Ok(Ending::Done)
    }

    /// Reads every line by itself. The accounts are kept: each needs a data space, so that they are few.
    /// Of all others only a digest of what they are about is.
    fn survey(&mut self) -> Result<Vec<(u64, NewAccount)>, Failure> {
        let mut accounts = Vec::new();
        let mut seen = Seen::default();
        let mut records = self.records()?;
        while let Some((line, read)) = records.next()? {
            let record = match read {
                Ok(record) => record,
                Err(Wrong::Line(problem)) => {
                    self.report.problem(line, &problem);
                    continue;
                }
                Err(Wrong::Rest(problem)) => {
                    let problem = format!("{problem}; no line after it was read");
                    self.report.problem(line, &problem);
                    break;
                }
            };
            if let Some(problem) = seen.twin(line, &record) {
                self.report.problem(line, &problem);
                continue;
            }
            match record {
                Record::Account(account) => accounts.push((line, account)),
                Record::Client(_, client) if Some(&*client.client_id) == self.own_client => {
                    self.report.problem(
                        line,
                        "is the service client of AUTHRESS_ACCESS_KEY, with which servers call \
                         Authress: it can never be a caller",
                    );
                }
                Record::User(..) | Record::Client(..) => self.people += 1,
                Record::Row => self.report.rows += 1,
            }
        }
        Ok(accounts)
    }

    /// Goes through all users and service clients whose lines are sound.
    async fn walk(&mut self, step: Step) -> Result<(), Failure> {
        let what = match step {
            Step::Preview => "users and clients checked",
            Step::Write => "users and clients written",
        };
        let mut progress = Progress::new(what, self.people, 5_000);
        let (mut users, mut clients): (Vec<UserLine>, Vec<ClientLine>) = Default::default();
        let mut records = self.records()?;
        while let Some((line, read)) = records.next()? {
            match read {
                Err(Wrong::Rest(_)) => {
                    self.report.problem(line, CHANGED);
                    break;
                }
                _ if self.report.is_wrong(line) => {}
                Ok(Record::User(owner, user)) => users.push((line, owner, user)),
                Ok(Record::Client(owner, client)) => clients.push((line, owner, client)),
                Ok(Record::Account(_) | Record::Row) => {}
                Err(Wrong::Line(_)) => self.report.problem(line, CHANGED),
            }
            if users.len() == IMPORT_LIMIT {
                self.users(step, std::mem::take(&mut users)).await?;
                progress.add(IMPORT_LIMIT as u64);
            }
            if clients.len() == IMPORT_LIMIT {
                self.clients(step, std::mem::take(&mut clients)).await?;
                progress.add(IMPORT_LIMIT as u64);
            }
        }
        let rest = users.len() + clients.len();
        self.users(step, users).await?;
        self.clients(step, clients).await?;
        progress.add(rest as u64);
        Ok(())
    }

    async fn users(&mut self, step: Step, users: Vec<UserLine>) -> Result<(), Failure> {
        let users = self.placed(users).await?;
        let (lines, users): (Vec<_>, Vec<_>) = users
            .into_iter()
            .map(|(line, account, user)| ((line, account), (account, user)))
            .unzip();
        let (directory, update) = (self.directory, self.arguments.update);
        let outcomes = match step {
            Step::Preview => directory.preview_users(PROVIDER, &users, update).await?,
            Step::Write => {
                let written = directory.import_users(PROVIDER, users, update).await;
                let written = written.map_err(broken_off)?;
                tokio::time::sleep(PAUSE).await;
                written
            }
        };
        self.count(step, Kind::Users, lines, &outcomes);
        Ok(())
    }

    async fn clients(&mut self, step: Step, mut clients: Vec<ClientLine>) -> Result<(), Failure> {
        if step == Step::Write {
            clients.retain(|(line, _, client)| {
                let cleared = self.cleared.contains(&client.client_id);
                if !cleared {
                    self.report.problem(*line, CHANGED);
                }
                cleared
            });
        }
        let clients = self.placed(clients).await?;
        let (lines, clients): (Vec<_>, Vec<_>) = clients
            .into_iter()
            .map(|(line, account, client)| ((line, account), (account, client)))
            .unzip();
        let (directory, update) = (self.directory, self.arguments.update);
        if step == Step::Write {
            let written = directory.import_clients(clients, update).await;
            self.count(step, Kind::Clients, lines, &written.map_err(broken_off)?);
            tokio::time::sleep(PAUSE).await;
            return Ok(());
        }
        let outcomes = directory.preview_clients(&clients, update).await?;
        for ((line, _), ((_, client), outcome)) in lines.iter().zip(clients.iter().zip(&outcomes)) {
            let verdict = match outcome {
                Imported::Created => self.lookups.look_at(&client.client_id).await,
                _ => Ok(()),
            };
            match verdict {
                Ok(()) => drop(self.cleared.insert(client.client_id.clone())),
                Err(problem) => self.report.problem(*line, &problem),
            }
        }
        self.count(step, Kind::Clients, lines, &outcomes);
        Ok(())
    }

    fn count(&mut self, step: Step, kind: Kind, lines: Vec<(u64, Uuid)>, outcomes: &[Imported]) {
        for ((line, account), outcome) in lines.into_iter().zip(outcomes) {
            if self.report.is_wrong(line) {
                continue;
            }
            self.report.outcome(kind, line, outcome);
            if step == Step::Write {
                self.deeds.add(account, kind, outcome);
            }
        }
    }

    /// Each with its account, where there is one.
    async fn placed<T>(
        &mut self,
        lines: Vec<(u64, Owner, T)>,
    ) -> Result<Vec<(u64, Uuid, T)>, Failure> {
        let owners = lines.iter().map(|(_, owner, _)| owner);
        self.accounts.learn(self.directory, owners).await?;
        let mut placed = Vec::with_capacity(lines.len());
        for (line, owner, value) in lines {
            match self.accounts.of(&owner) {
                Ok(account) => placed.push((line, account, value)),
                Err(problem) => self.report.problem(line, problem),
            }
        }
        Ok(placed)
    }

    fn records(&self) -> Result<Records<'i>, Failure> {
        Ok(Records {
            lines: self.source.lines().map_err(unreadable)?,
            reader: Reader::new(self.form),
        })
    }
}

/// The lines of the file that say something.
struct Records<'s> {
    lines: Lines<BufReader<&'s File>>,
    reader: Reader,
}

impl Records<'_> {
    #[expect(
        clippy::type_complexity,
        reason = "a line, and what it says or why not"
    )]
    fn next(&mut self) -> Result<Option<(u64, Result<Record, Wrong>)>, Failure> {
        while let Some(line) = self.lines.next().map_err(unreadable)? {
            if let Some(read) = self.reader.read(&line).transpose() {
                return Ok(Some((line.number, read)));
            }
        }
        Ok(None)
    }
}

/// What lines were about, by digests: a line's number for each.
#[derive(Default)]
struct Seen(HashMap<[u8; 16], u64>);

impl Seen {
    /// That a line before is about the same.
    fn twin(&mut self, line: u64, record: &Record) -> Option<String> {
        let (what, id) = match record {
            Record::Account(account) => ("tenant", &account.tenant),
            Record::User(_, user) => ("user", &user.subject),
            Record::Client(_, client) => ("service client", &client.client_id),
            Record::Row => return None,
        };
        let digest = Sha256::new()
            .chain_update(what)
            .chain_update([0])
            .chain_update(id)
            .finalize();
        let key = digest.first_chunk::<16>()?;
        match self.0.entry(*key) {
            Entry::Occupied(first) => Some(format!("is the same {what} as line {}", first.get())),
            Entry::Vacant(free) => {
                free.insert(line);
                None
            }
        }
    }
}

fn unreadable(error: io::Error) -> Failure {
    Failure::Failed(format!("the file cannot be read any further: {error}"))
}

fn broken_off(error: StoreError) -> Failure {
    Failure::Failed(format!("{error}{STAYS}"))
}

/// What to do where the writing was broken off.
const STAYS: &str = ": what was written so far stays; run the same command again, and it goes on";
