//! `generate`: man pages and completions, out of the command line's own definition.
//!
//! For those who make packages; it is in no help text, so that neither are the pages and completions
//! of these commands.

use std::{env, fs, path::PathBuf};

use clap::{CommandFactory as _, Subcommand, ValueEnum};
use clap_complete::Shell;
use clap_mangen::{
    Man,
    roff::{Inline, Roff, bold, roman},
};
use jiff::Timestamp;
use serde_json::json;
use vestibule::settings::{SETTINGS, Setting, TABLES};

use super::{
    CommandLine,
    output::{Answer, Failure},
};

const VERSION: &str = env!("CARGO_PKG_VERSION");

#[derive(Debug, Subcommand)]
pub(crate) enum GenerateCommand {
    /// Write a man page for each command into a directory, which is made where there is none
    Man {
        /// The directory
        directory: PathBuf,
    },
    /// Print a shell's completions
    Completions {
        /// The shell
        shell: CompletionShell,
    },
}

/// The shells that packages have a place for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum CompletionShell {
    Bash,
    Zsh,
    Fish,
}

/// A file of its own for `man`.
#[derive(Debug)]
struct Page {
    name: String,
    text: String,
}

pub(crate) fn run(command: GenerateCommand) -> Result<Answer, Failure> {
    match command {
        GenerateCommand::Man { directory } => {
            let failed = |error| Failure::Failed(format!("{}: {error}", directory.display()));
            fs::create_dir_all(&directory).map_err(failed)?;
            let mut names = Vec::new();
            for page in pages() {
                fs::write(directory.join(&page.name), &page.text).map_err(failed)?;
                names.push(page.name);
            }
            let text = names.join("\n");
            Ok(Answer::new(&json!({ "pages": names }), text))
        }
        GenerateCommand::Completions { shell } => {
            let script = completions(shell);
            Ok(Answer::new(&json!({ "script": script }), script))
        }
    }
}

fn completions(shell: CompletionShell) -> String {
    let shell = match shell {
        CompletionShell::Bash => Shell::Bash,
        CompletionShell::Zsh => Shell::Zsh,
        CompletionShell::Fish => Shell::Fish,
    };
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut public(), "vestibule", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

/// The command line without what help texts do not show: completions would show it.
fn public() -> clap::Command {
    let whole = CommandLine::command();
    let shown = whole
        .get_subcommands()
        .filter(|command| !command.is_hide_set());
    clap::Command::new("vestibule")
        .version(VERSION)
        .about(whole.get_about().cloned().unwrap_or_default())
        .subcommand_required(true)
        .args(whole.get_arguments())
        .subcommands(shown)
}

fn pages() -> Vec<Page> {
    let mut whole = public().disable_help_subcommand(true);
    // Names such as vestibule-account-list, and the options that every command has.
    whole.build();
    let mut pages = Vec::new();
    gather(&whole, None, &mut pages);
    pages
}

fn gather(command: &clap::Command, parent: Option<&str>, pages: &mut Vec<Page>) {
    let name = command
        .get_display_name()
        .unwrap_or_else(|| command.get_name());
    pages.push(Page {
        name: format!("{name}.1"),
        text: text(command, parent),
    });
    for command in command.get_subcommands() {
        gather(command, Some(name), pages);
    }
}

/// A page: what is known of the command, and what holds for all of them.
fn text(command: &clap::Command, parent: Option<&str>) -> String {
    let man = Man::new(command.clone())
        .date(date())
        .source(format!("vestibule {VERSION}"))
        .manual("Vestibule");
    let mut page = Vec::new();
    // Writing to memory does not fail.
    drop(man.render_title(&mut page));
    drop(man.render_name_section(&mut page));
    drop(man.render_synopsis_section(&mut page));
    drop(man.render_description_section(&mut page));
    drop(man.render_options_section(&mut page));
    if command.has_subcommands() {
        drop(man.render_subcommands_section(&mut page));
    }
    let mut rest = Roff::new();
    rest.control("SH", ["EXIT STATUS"]);
    rest.text([roman(
        "0: done. 1: failed. 2: wrong usage or settings, and nothing was touched.",
    )]);
    match parent {
        None => settings(&mut rest),
        Some(parent) => {
            rest.control("SH", ["SEE ALSO"]);
            rest.text([bold(parent), roman("(1)")]);
            if parent != "vestibule" {
                rest.text([roman("and")]);
                rest.text([bold("vestibule"), roman("(1), which lists the settings.")]);
            }
        }
    }
    drop(rest.to_writer(&mut page));
    String::from_utf8_lossy(&page).into_owned()
}

/// The day of SOURCE_DATE_EPOCH: the same sources give the same pages. Without it none, as a blank,
/// since an empty field would be lost.
fn date() -> String {
    env::var("SOURCE_DATE_EPOCH")
        .ok()
        .and_then(|seconds| Timestamp::from_second(seconds.parse().ok()?).ok())
        .map_or_else(|| " ".to_owned(), |at| at.strftime("%Y-%m-%d").to_string())
}

fn settings(page: &mut Roff) {
    page.control("SH", ["ENVIRONMENT"]);
    page.text([roman(
        "Settings are environment variables, or the same names in lower case in the TOML file of \
         --config; the environment wins. An empty variable counts as missing. Durations are \
         numbers of seconds. A secret may also come from a file, whose path is in NAME_FILE.",
    )]);
    for Setting {
        name,
        default,
        meaning,
        secret,
    } in SETTINGS
    {
        page.control("TP", []);
        page.text([bold(*name), roman(format!(" [{default}]"))]);
        let mut meaning = with_code(meaning);
        if *secret {
            meaning.push(roman("; a secret"));
        }
        page.text(meaning);
    }
    page.control("SH", ["SETTINGS FILE"]);
    page.text([roman(
        "In the TOML file alone, beside the settings, are these tables:",
    )]);
    for (name, meaning) in TABLES {
        page.control("TP", []);
        page.text([bold(format!("[[{name}]]"))]);
        // Links of the documentation lead nowhere here.
        page.text(with_code(meaning.split(" ([").next().unwrap_or_default()));
    }
}

/// Text in which backticks stand around what is code.
fn with_code(text: &str) -> Vec<Inline> {
    let parts = text.split('`').enumerate();
    parts
        .map(|(number, part)| match number % 2 {
            0 => roman(part),
            _ => bold(part),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The words of each command that help texts show.
    fn shown(command: &clap::Command, way: &str, found: &mut Vec<String>) {
        found.push(way.to_owned());
        for command in command.get_subcommands() {
            if !command.is_hide_set() && command.get_name() != "help" {
                shown(command, &format!("{way}-{}", command.get_name()), found);
            }
        }
    }

    #[test]
    fn every_command_has_a_page() {
        let mut expected = Vec::new();
        shown(&CommandLine::command(), "vestibule", &mut expected);
        let pages = pages();
        let names: Vec<_> = pages
            .iter()
            .filter_map(|page| page.name.strip_suffix(".1"))
            .collect();
        assert_eq!(names, expected);
        assert!(names.contains(&"vestibule-account-move") && names.len() > 20);
        for page in &pages {
            for heading in [".SH NAME", ".SH SYNOPSIS", ".SH DESCRIPTION", ".SH OPTIONS"] {
                assert!(page.text.contains(heading), "{}: {heading}", page.name);
            }
            assert!(page.text.contains("\\-\\-json"), "{}", page.name);
        }
    }

    #[test]
    fn the_first_page_has_every_setting() {
        let pages = pages();
        let text = &pages.first().unwrap().text;
        for setting in SETTINGS {
            let name = format!("\\fB{}\\fR", setting.name);
            assert!(text.contains(&name), "{name}");
        }
        assert!(!text.contains("]("), "a link of the documentation");
    }

    #[test]
    fn completions_show_what_help_shows() {
        for shell in CompletionShell::value_variants() {
            let script = completions(*shell);
            for word in ["account", "set-role", "other-provider", "config"] {
                assert!(script.contains(word), "{shell:?}: {word}");
            }
            assert!(!script.contains("completions"), "{shell:?}");
        }
    }

    #[test]
    fn no_help_text_shows_these_commands() {
        let help = CommandLine::command().render_long_help().to_string();
        assert!(!help.contains("generate"), "{help}");
    }
}
