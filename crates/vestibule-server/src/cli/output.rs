//! What a command says: one answer on standard output, everything else on standard error.
//!
//! With `--json` the answer is one JSON document; without, it is text for people. Names come from
//! strangers: in a terminal they could hide or reorder what stands beside them, so control and
//! direction characters are shown escaped.

use std::{
    fmt::Write as _,
    io::{self, Write as _},
    process::ExitCode,
};

use serde::Serialize;
use serde_json::{Value, json};
use vestibule::settings::SettingsError;

/// The answer of a command that did what it was told.
#[derive(Debug)]
pub(crate) struct Answer {
    json: Value,
    text: String,
    findings: bool,
}

/// Why a command did not do what it was told.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It could not be done: exit code 1. The text says why and what to do.
    Failed(String),
    /// The command line asks for something impossible: exit code 2.
    Usage(String),
    /// The settings cannot be used: exit code 2.
    Settings(SettingsError),
}

/// A list for people: a heading and aligned columns.
#[derive(Debug)]
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Answer {
    /// An answer in both of its forms.
    pub(crate) fn new(json: &impl Serialize, text: impl Into<String>) -> Self {
        Self {
            json: serde_json::to_value(json).unwrap_or(Value::Null),
            text: text.into(),
            findings: false,
        }
    }

    /// A list: `{"items": […]}`, or a table.
    pub(crate) fn list(items: &[impl Serialize], table: &Table) -> Self {
        Self::new(&json!({ "items": items }), table.to_string())
    }

    /// Nothing: what there was to say has been said.
    pub(crate) fn nothing() -> Self {
        Self::new(&Value::Null, "")
    }

    /// An answer that names something wrong: it is printed, and the exit code is 1.
    pub(crate) fn with_findings(mut self, wrong: bool) -> Self {
        self.findings = wrong;
        self
    }

    /// Prints the answer; gives the exit code.
    pub(crate) fn print(self, as_json: bool) -> ExitCode {
        let text = if as_json {
            self.json.to_string()
        } else {
            self.text
        };
        let printed = match text.as_str() {
            // What there was to say has been said.
            "" => Ok(()),
            text => to_stdout(text),
        };
        if printed.is_err() || self.findings {
            ExitCode::from(1)
        } else {
            ExitCode::SUCCESS
        }
    }
}

impl Failure {
    /// Prints why; gives the exit code.
    ///
    /// People read standard error. With `--json` standard output holds `{"error": …}` as well.
    pub(crate) fn print(&self, as_json: bool) -> ExitCode {
        let (message, code) = match self {
            Self::Failed(message) => (format!("error: {message}"), 1),
            Self::Usage(message) => (format!("error: {message}"), 2),
            Self::Settings(error) => (settings_report(error), 2),
        };
        // Nobody is left to be told that standard error is gone.
        drop(writeln!(io::stderr().lock(), "{}", message.trim_end()));
        if as_json {
            drop(to_stdout(&self.to_json().to_string()));
        }
        ExitCode::from(code)
    }

    fn to_json(&self) -> Value {
        match self {
            Self::Failed(message) => json!({ "error": { "kind": "failed", "message": message } }),
            Self::Usage(message) => json!({ "error": { "kind": "usage", "message": message } }),
            Self::Settings(error) => {
                let problems: Vec<Value> = error
                    .problems
                    .iter()
                    .map(|problem| json!({ "name": problem.name, "problem": problem.problem }))
                    .collect();
                json!({ "error": {
                    "kind": "settings",
                    "message": settings_message(error),
                    "problems": problems,
                } })
            }
        }
    }
}

impl From<SettingsError> for Failure {
    fn from(error: SettingsError) -> Self {
        Self::Settings(error)
    }
}

impl Table {
    /// A table with these headings and no rows.
    pub(crate) fn new(headings: &[&str]) -> Self {
        let headings = headings.iter().map(|&heading| heading.to_owned()).collect();
        Self {
            rows: vec![headings],
        }
    }

    /// Adds a row; the cells may hold anything.
    pub(crate) fn row(&mut self, cells: &[&str]) {
        self.rows
            .push(cells.iter().map(|cell| shown(cell)).collect());
    }
}

impl std::fmt::Display for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut widths: Vec<usize> = Vec::new();
        for row in &self.rows {
            for (column, cell) in row.iter().enumerate() {
                let width = cell.chars().count();
                match widths.get_mut(column) {
                    Some(known) => *known = width.max(*known),
                    None => widths.push(width),
                }
            }
        }
        for row in &self.rows {
            let mut line = String::new();
            for (cell, &width) in row.iter().zip(&widths) {
                write!(line, "{cell:width$}  ")?;
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// `text` as a terminal may show it: control and direction characters, and those that take no
/// room, as `\u{…}`; the backslash doubled, so that the form is unambiguous.
pub(crate) fn shown(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if character == '\\' {
            shown.push_str("\\\\");
        } else if is_deceptive(character) {
            shown.extend(character.escape_unicode());
        } else {
            shown.push(character);
        }
    }
    shown
}

/// Facts of one thing, for people: `name: value`, one a line, aligned.
pub(crate) fn facts(facts: &[(&str, &str)]) -> String {
    let width = facts.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let mut text = String::new();
    for (name, value) in facts {
        let line = format!("{name:width$}  {}", shown(value));
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// A word to people while a command works; never part of the answer.
pub(crate) fn note(text: &str) {
    drop(writeln!(io::stderr().lock(), "{text}"));
}

/// All that is wrong with the settings, in one report.
fn settings_report(error: &SettingsError) -> String {
    let mut report = format!(
        "error: {}; nothing was created or changed:\n",
        settings_message(error)
    );
    for problem in &error.problems {
        let (name, problem) = (shown(&problem.name), shown(&problem.problem));
        report.push_str(&format!("  {name}: {problem}\n"));
    }
    report
}

fn settings_message(error: &SettingsError) -> String {
    match error.problems.len() {
        0 | 1 => "a setting cannot be used".to_owned(),
        number => format!("{number} settings cannot be used"),
    }
}

/// A line of an answer that has no end.
pub(crate) fn print_line(text: &str) -> io::Result<()> {
    to_stdout(text)
}

/// A part of an answer that may be long, as it is: whole lines or not.
pub(crate) fn print_part(part: &[u8]) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(part)?;
    stdout.flush()
}

fn to_stdout(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{}", text.trim_end())?;
    stdout.flush()
}

const fn is_deceptive(character: char) -> bool {
    matches!(character,
        '\u{0}'..='\u{1f}' | '\u{7f}'..='\u{9f}' // C0, DEL, C1
        | '\u{ad}' | '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
        | '\u{61c}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' // zero width; LRM, RLM
        | '\u{2028}'..='\u{202e}' // line and paragraph separators; embeddings, overrides
        | '\u{2060}'..='\u{206f}' // word joiner, isolates
        | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff9}'..='\u{fffb}'
        | '\u{e0000}'..='\u{e0fff}' // tags, variation selectors
    )
}

#[cfg(test)]
mod tests {
    use vestibule::settings::SettingProblem;

    use super::*;

    #[test]
    fn deceptive_characters_are_escaped() {
        assert_eq!(shown("Acme"), "Acme");
        assert_eq!(shown("Ac\u{1b}[31mme"), "Ac\\u{1b}[31mme");
        assert_eq!(
            shown("a\u{202e}b\u{200b}c\u{9b}d"),
            "a\\u{202e}b\\u{200b}c\\u{9b}d"
        );
        assert_eq!(shown("a\nb\r\tc"), "a\\u{a}b\\u{d}\\u{9}c");
        assert_eq!(shown("\\u{a}"), "\\\\u{a}");
        assert_eq!(shown("Zoë 測試"), "Zoë 測試");
    }

    #[test]
    fn every_control_and_direction_character_is_escaped() {
        let bidi = "\u{61c}\u{200e}\u{200f}\u{202a}\u{202b}\u{202c}\u{202d}\u{202e}\u{2066}\u{2067}\u{2068}\u{2069}";
        let controls = (0..=0x10_ffff)
            .filter_map(char::from_u32)
            .filter(|character| character.is_control());
        for character in controls.chain(bidi.chars()) {
            let text = shown(&character.to_string());
            assert!(text.is_ascii() && text.starts_with("\\u{"), "{text}");
        }
    }

    #[test]
    fn columns_are_aligned_after_escaping() {
        let mut table = Table::new(&["ID", "NAME", "STATUS"]);
        table.row(&["1", "Acme\u{7}", "active"]);
        table.row(&["22", "B", "suspended"]);
        assert_eq!(
            table.to_string(),
            "ID  NAME       STATUS\n1   Acme\\u{7}  active\n22  B          suspended\n"
        );
    }

    #[test]
    fn one_report_names_every_setting() {
        let error = SettingsError {
            problems: vec![
                SettingProblem {
                    name: "A".to_owned(),
                    problem: "is missing; set it".to_owned(),
                },
                SettingProblem {
                    name: "B".to_owned(),
                    problem: "is not a number".to_owned(),
                },
            ],
        };
        let report = settings_report(&error);
        assert!(
            report.contains("\n  A: is missing; set it\n  B: is not a number\n"),
            "{report}"
        );
        let json = Failure::from(error).to_json();
        assert_eq!(json["error"]["problems"][1]["name"], "B");
    }

    #[test]
    fn facts_are_aligned() {
        assert_eq!(
            facts(&[("id", "1"), ("status", "active"), ("empty", "")]),
            "id      1\nstatus  active\nempty\n"
        );
    }
}
