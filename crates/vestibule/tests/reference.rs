//! The reference pages under `docs/` say what the code says. After a change:
//! `UPDATE_DOCS=1 cargo test -p vestibule --test reference`.

#![expect(clippy::unwrap_used, reason = "a helper of tests may stop them")]

use std::{env, fmt::Write as _, fs, path::Path};

use vestibule::settings::{SETTINGS, TABLES};

fn is_page(name: &str, text: &str) {
    let page = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../docs")
        .join(name);
    if env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&page, text).unwrap();
    }
    let found = fs::read_to_string(&page).unwrap();
    assert!(
        found == text,
        "docs/{name} is not up to date: run this test with UPDATE_DOCS=1"
    );
}

#[test]
fn settings() {
    let mut text = String::from(
        "# Settings\n\n\
         Environment variables, or the same names in lower case in a TOML file (`--config FILE`); the\n\
         environment wins. An empty variable counts as missing. Durations are plain numbers of seconds.\n\
         Settings marked \u{1f511} are secrets: they may also come from a file, as `NAME_FILE`, and are never\n\
         printed. A command needs only the settings that it uses, and names everything that is wrong with\n\
         them at once (exit code 2).\n\n\
         | name | default | meaning |\n| --- | --- | --- |\n",
    );
    for setting in SETTINGS {
        let key = if setting.secret { " \u{1f511}" } else { "" };
        writeln!(
            text,
            "| `{}`{key} | `{}` | {} |",
            setting.name, setting.default, setting.meaning
        )
        .unwrap();
    }
    text.push_str(
        "\n`SSL_CERT_FILE` is honoured for calls to Authress. `HTTP_PROXY` and the like are ignored: set\n\
         `PROVIDER_PROXY`.\n\n## Tables, in the file alone\n\n",
    );
    for (name, meaning) in TABLES {
        writeln!(text, "- `[[{name}]]`: {meaning}").unwrap();
    }
    is_page("settings.md", &text);
}
