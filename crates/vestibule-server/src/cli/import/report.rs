//! What an import came to, or would: numbers, and what is wrong by its line.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};
use vestibule::store::{Difference, Imported};

use super::Kind;
use crate::cli::output::{Answer, Table, shown};

/// Problems that are told; of the others only how many there are.
const TOLD: usize = 100;
/// The longest text of a problem, in characters.
const LONGEST: usize = 300;

#[derive(Debug, Default)]
pub(super) struct Report {
    counts: BTreeMap<Kind, Counts>,
    /// Those on the first lines.
    problems: BTreeMap<u64, String>,
    /// All lines with a problem: nothing is made of them.
    wrong: BTreeSet<u64>,
    pub(super) rows: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    created: u64,
    changed: u64,
    unchanged: u64,
}

/// What was done in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    DryRun,
    /// Nothing, because of problems.
    Refused,
    Done,
}

impl Report {
    /// Nothing is made of this line.
    pub(super) fn problem(&mut self, line: u64, problem: &str) {
        self.wrong.insert(line);
        let mut text: String = problem.chars().take(LONGEST).collect();
        if text.len() < problem.len() {
            text.push('…');
        }
        self.problems.entry(line).or_insert(text);
        if self.problems.len() > TOLD {
            self.problems.pop_last();
        }
    }

    pub(super) fn is_wrong(&self, line: u64) -> bool {
        self.wrong.contains(&line)
    }

    pub(super) fn has_problems(&self) -> bool {
        !self.wrong.is_empty()
    }

    /// Counts what became of the line.
    pub(super) fn outcome(&mut self, kind: Kind, line: u64, outcome: &Imported) {
        let counts = self.counts.entry(kind).or_default();
        let problem = match outcome {
            Imported::Created => {
                counts.created += 1;
                return;
            }
            Imported::Changed => {
                counts.changed += 1;
                return;
            }
            Imported::Unchanged => {
                counts.unchanged += 1;
                return;
            }
            Imported::Differs(differences) => differs(differences),
            Imported::Elsewhere(account) => format!(
                "belongs to account {account} already, and an import moves nobody: leave it out, or \
                 remove it there first"
            ),
            Imported::NoAccount => "its account was removed just now".to_owned(),
        };
        self.problem(line, &problem);
    }

    /// From here on is counted what is done, not what would be. Of accounts, those with nothing to do
    /// have been counted.
    pub(super) fn begin(&mut self) {
        self.undone();
        self.counts.retain(|kind, _| *kind == Kind::Accounts);
    }

    /// As far as it can be told without having done anything.
    fn undone(&mut self) {
        for counts in self.counts.values_mut() {
            (counts.created, counts.changed) = (0, 0);
        }
    }

    pub(super) fn answer(mut self, ending: Ending) -> Answer {
        if ending == Ending::Refused {
            self.undone();
        }
        let wrong = self.has_problems();
        Answer::new(&self.document(ending), self.text(ending)).with_findings(wrong)
    }

    fn further(&self) -> usize {
        self.wrong.len() - self.problems.len()
    }

    fn document(&self, ending: Ending) -> Value {
        let mut document = Map::new();
        for kind in Kind::ALL {
            let counts = self.counts.get(&kind).copied().unwrap_or_default();
            let counts = json!({
                "created": counts.created,
                "changed": counts.changed,
                "unchanged": counts.unchanged,
            });
            document.insert(kind.name().to_owned(), counts);
        }
        let problems: Vec<_> = self
            .problems
            .iter()
            .map(|(line, problem)| json!({ "line": line, "problem": problem }))
            .collect();
        document.insert("rows_left_out".to_owned(), self.rows.into());
        document.insert("problems".to_owned(), problems.into());
        document.insert("further_problems".to_owned(), self.further().into());
        document.insert("dry_run".to_owned(), (ending == Ending::DryRun).into());
        document.insert("done".to_owned(), (ending == Ending::Done).into());
        Value::Object(document)
    }

    fn text(&self, ending: Ending) -> String {
        let mut table = Table::new(&["", "CREATED", "CHANGED", "UNCHANGED"]);
        for kind in Kind::ALL {
            let counts = self.counts.get(&kind).copied().unwrap_or_default();
            table.row(&[
                kind.name(),
                &counts.created.to_string(),
                &counts.changed.to_string(),
                &counts.unchanged.to_string(),
            ]);
        }
        let mut text = table.to_string();
        if self.rows > 0 {
            text.push_str(&format!(
                "\nrows of accounts' data, which are left out: {}\n",
                self.rows
            ));
        }
        if self.has_problems() {
            text.push('\n');
        }
        for (line, problem) in &self.problems {
            text.push_str(&format!("line {line}: {problem}\n"));
        }
        if self.further() > 0 {
            text.push_str(&format!("and {} further lines\n", self.further()));
        }
        match ending {
            Ending::Done => {}
            Ending::DryRun => text.push_str("\nThis was a dry run: nothing was changed.\n"),
            Ending::Refused => text.push_str(
                "\nNothing was changed: correct these lines, or take the others with --keep-going.\n",
            ),
        }
        text
    }
}

/// Why something that is here was not changed.
fn differs(differences: &[Difference]) -> String {
    let differences: Vec<_> = differences
        .iter()
        .map(|Difference { what, here, wanted }| {
            format!("{what} {}, not {}", value(here), value(wanted))
        })
        .collect();
    format!(
        "is here already with {}; --update gives it the file's",
        differences.join(", and ")
    )
}

fn value(text: &str) -> String {
    const LONGEST: usize = 80;
    let cut = text.chars().nth(LONGEST).map_or("", |_| "…");
    let text: String = text.chars().take(LONGEST).collect();
    format!("“{}{cut}”", shown(&text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_hundred_problems_are_told_and_the_others_counted() {
        let mut report = Report::default();
        for line in (1..=250).rev() {
            report.problem(line, "is wrong");
        }
        report.problem(7, "again");
        let document = report.document(Ending::Refused);
        let told = document["problems"].as_array().unwrap();
        assert_eq!(told.len(), 100);
        assert_eq!(told[0], json!({ "line": 1, "problem": "is wrong" }));
        assert_eq!(told[6]["problem"], "is wrong");
        assert_eq!(told[99]["line"], 100);
        assert_eq!(document["further_problems"], 150);
        assert!(
            report
                .text(Ending::Refused)
                .contains("and 150 further lines\n")
        );
        assert!(report.is_wrong(250) && !report.is_wrong(251));
    }

    #[test]
    fn strangers_texts_are_escaped_and_cut() {
        let difference = Difference::between("name", "Ac\u{1b}me", &"x".repeat(300)).unwrap();
        let text = differs(&[difference]);
        assert!(text.contains("“Ac\\u{1b}me”"), "{text}");
        assert!(text.contains(&format!("“{}…”", "x".repeat(80))), "{text}");
        let mut report = Report::default();
        report.problem(1, &"é".repeat(1_000));
        assert_eq!(report.problems[&1].chars().count(), LONGEST + 1);
    }

    #[test]
    fn what_was_refused_was_not_done() {
        let mut report = Report::default();
        report.outcome(Kind::Users, 1, &Imported::Created);
        report.outcome(Kind::Users, 2, &Imported::Unchanged);
        report.outcome(Kind::Users, 3, &Imported::NoAccount);
        report.undone();
        let document = report.document(Ending::Refused);
        let counts = json!({ "created": 0, "changed": 0, "unchanged": 1 });
        assert_eq!(document["users"], counts);
        assert_eq!(document["done"], false);
    }
}
