//! `account move`: an account's data go to another cluster.
//!
//! The answer shows what was copied, table by table, and that nothing is left where it was. Where
//! the command was broken off, it is run again and goes on.

use std::io::{self, IsTerminal as _, Write as _};

use clap::Args;
use serde_json::{Value, json};
use uuid::Uuid;
use vestibule::{
    store::Directory,
    tenancy::{MoveProgress, Moved, TenantSpaces},
};

use super::{
    Global, account, clock,
    output::{Answer, Failure, Table, shown},
};

#[derive(Debug, Args)]
pub(crate) struct MoveArgs {
    /// The account's id
    id: Uuid,
    /// The cluster of VESTIBULE_CLUSTERS that it goes to; `main` is that of DATABASE_URL
    #[arg(long, value_name = "NAME")]
    cluster: String,
}

pub(crate) async fn run(global: &Global, arguments: &MoveArgs) -> Result<Answer, Failure> {
    let settings = global.database()?;
    let directory = Directory::open_as_owner(&settings, clock()).await?;
    let spaces = TenantSpaces::open(&settings, &directory, clock())?;
    let account = account::found(&directory, arguments.id).await?;
    let mut progress = Progress::new();
    let moved = spaces
        .move_account(account.id, &arguments.cluster, &mut |at| progress.show(&at))
        .await;
    progress.end();
    spaces.close().await;
    Ok(answer(account.id, &account.name, &moved?))
}

fn answer(id: Uuid, name: &str, moved: &Moved) -> Answer {
    let Moved { from, to, .. } = moved;
    let (copied, left) = (
        sum(moved, |table| table.copied),
        sum(moved, |table| table.left),
    );
    let tables: Vec<Value> = moved
        .tables
        .iter()
        .map(|table| json!({ "name": table.name, "copied": table.copied, "left": table.left }))
        .collect();
    let document = json!({
        "id": id,
        "moved": moved.moved,
        "from": from,
        "to": to,
        "tables": tables,
        "copied": copied,
        "left": left,
        "space_left": moved.space_left,
    });
    if !moved.moved {
        let text = format!("{id} {} lies on {to}: nothing to move", shown(name));
        return Answer::new(&document, text);
    }
    let mut table = Table::new(&["TABLE", "COPIED", "LEFT"]);
    for one in &moved.tables {
        table.row(&[&one.name, &one.copied.to_string(), &one.left.to_string()]);
    }
    let mut text = format!(
        "{table}\n{id} {} has moved from {from} to {to}: rows copied: {copied}, rows left on \
         {from}: {left}",
        shown(name)
    );
    if moved.space_left {
        text.push_str(
            "\nits database there is empty, but somebody else, such as a pooler's auth_user, is \
             connected to it: drop it when that has left",
        );
    }
    Answer::new(&document, text)
}

fn sum(moved: &Moved, of: impl Fn(&vestibule::tenancy::MovedTable) -> i64) -> i64 {
    moved.tables.iter().map(of).sum()
}

/// How far it is: one line that is written over on a terminal, else a line for each step.
#[derive(Debug)]
struct Progress {
    terminal: bool,
    shown: bool,
    last: String,
}

impl Progress {
    fn new() -> Self {
        Self {
            terminal: io::stderr().is_terminal(),
            shown: false,
            last: String::new(),
        }
    }

    fn show(&mut self, at: &MoveProgress) {
        const CELLS: usize = 24;
        let what = shown(&at.what);
        let rows = match at.rows {
            0 => String::new(),
            rows => format!(": {rows} rows"),
        };
        let mut stderr = io::stderr().lock();
        // Nobody waits for these lines.
        if self.terminal {
            let done = at.step.saturating_sub(1);
            let full = (done * CELLS).checked_div(at.of).unwrap_or(0).min(CELLS);
            let bar = format!("{}{}", "#".repeat(full), "-".repeat(CELLS - full));
            // To the end of the line nothing of the last text may stay.
            drop(write!(
                stderr,
                "\r[{bar}] {}/{} {what}{rows}\x1b[K",
                at.step, at.of
            ));
            drop(stderr.flush());
            self.shown = true;
        } else if self.last != what || at.rows > 0 {
            drop(writeln!(stderr, "{} of {}: {what}{rows}", at.step, at.of));
        }
        self.last = what;
    }

    fn end(&self) {
        if self.shown {
            drop(writeln!(io::stderr().lock()));
        }
    }
}
