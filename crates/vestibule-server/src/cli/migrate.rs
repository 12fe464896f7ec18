//! `migrate`: bring the database up to date.
//!
//! On PostgreSQL this alone makes and changes the directory, and grants the login of `serve` what
//! it needs, there and in every account's data space. On SQLite every command brings the directory
//! up to date itself. What is left are the accounts: the application's migrations that an account
//! has missed, because its file came back from a backup, say. New migrations come from the application (`migrate_tenants`).

use std::io::{self, IsTerminal as _, Write as _};

use clap::Args;
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;
use vestibule::{store::Directory, tenancy::TenantSpaces};

use super::{
    Global, account, clock,
    operator::Operator,
    output::{Answer, Failure, Table},
};

#[derive(Debug, Args)]
pub(crate) struct MigrateArgs {
    /// Only show which migrations there are, and how many each account lacks
    #[arg(long)]
    status: bool,
}

pub(crate) async fn run(global: &Global, arguments: &MigrateArgs) -> Result<Answer, Failure> {
    if arguments.status {
        let operator = global.operator(false)?;
        let status = status(&operator).await;
        operator.close().await;
        return status;
    }
    global.require_no_server("migrate without --status")?;
    let settings = global.database()?;
    let directory = Directory::migrate(&settings, clock()).await?;
    let spaces = TenantSpaces::open(&settings, &directory, clock())?;
    spaces.prepare().await?;
    let answer = apply(&directory, &spaces).await;
    spaces.close().await;
    answer
}

async fn apply(directory: &Directory, spaces: &TenantSpaces) -> Result<Answer, Failure> {
    let accounts = account::all_accounts(directory).await?.len();
    let mut progress = Progress::new(accounts);
    let done = spaces
        .bring_up_to_date(|number, account| progress.show(number, account))
        .await;
    progress.end();
    let done = done?;
    let document = json!({ "accounts": done.accounts, "changed": done.changed });
    let text = format!(
        "data spaces: {}, of which were behind and are up to date now: {}",
        done.accounts, done.changed
    );
    Ok(Answer::new(&document, text))
}

async fn status(operator: &Operator) -> Result<Answer, Failure> {
    let document: Value = operator.get("/admin/v1/migrations").await?;
    let status: Status = serde_json::from_value(document.clone())
        .map_err(|error| Failure::Failed(format!("the answer cannot be read: {error}")))?;
    let mut table = Table::new(&["ACCOUNT", "NAME", "MISSING"]);
    for account in &status.accounts {
        let (id, missing) = (account.id.to_string(), account.missing.to_string());
        table.row(&[&id, &account.name, &missing]);
    }
    let mut known = Table::new(&["VERSION", "DESCRIPTION"]);
    for migration in &status.migrations {
        known.row(&[&migration.version.to_string(), &migration.description]);
    }
    let text = format!("The directory is up to date.\n\n{known}\n{table}");
    Ok(Answer::new(&document, text))
}

#[derive(Deserialize)]
struct Status {
    migrations: Vec<Migration>,
    accounts: Vec<Behind>,
}

#[derive(Deserialize)]
struct Migration {
    version: i64,
    description: String,
}

#[derive(Deserialize)]
struct Behind {
    id: Uuid,
    name: String,
    missing: u64,
}

/// How far it is: one line that is written over on a terminal, else a line now and then.
#[derive(Debug)]
struct Progress {
    of: usize,
    terminal: bool,
    shown: bool,
}

impl Progress {
    /// Accounts between two lines where nobody watches.
    const STEP: usize = 100;

    fn new(of: usize) -> Self {
        Self {
            of,
            terminal: io::stderr().is_terminal(),
            shown: false,
        }
    }

    fn show(&mut self, number: usize, account: Uuid) {
        const CELLS: usize = 24;
        let mut stderr = io::stderr().lock();
        // Nobody waits for these lines.
        if self.terminal {
            let full = (number * CELLS)
                .checked_div(self.of)
                .unwrap_or(CELLS)
                .min(CELLS);
            let bar = format!("{}{}", "#".repeat(full), "-".repeat(CELLS - full));
            drop(write!(stderr, "\r[{bar}] {number}/{} {account}", self.of));
            drop(stderr.flush());
            self.shown = true;
        } else if number.is_multiple_of(Self::STEP) {
            drop(writeln!(stderr, "{number} of {} accounts", self.of));
        }
    }

    fn end(&self) {
        if self.shown {
            drop(writeln!(io::stderr().lock()));
        }
    }
}
