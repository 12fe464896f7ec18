//! What the project's pages say of its sources is true of them.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a helper of tests may stop them"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use vestibule::{Code, Reason};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn table(path: &str) -> toml::Table {
    read(path).parse().unwrap()
}

/// The names of all tests, each as the way to it: package, directories, file, function.
fn tests() -> Vec<Vec<String>> {
    let mut tests = Vec::new();
    for packages in ["crates", "examples"] {
        for package in entries(&root().join(packages)) {
            let name = stem(&package).replace('-', "_");
            for sources in ["src", "tests"] {
                gather(&package.join(sources), &mut vec![name.clone()], &mut tests);
            }
        }
    }
    tests
}

fn entries(directory: &Path) -> Vec<PathBuf> {
    match fs::read_dir(directory) {
        Ok(entries) => entries.map(|entry| entry.unwrap().path()).collect(),
        Err(_) => Vec::new(),
    }
}

fn stem(path: &Path) -> String {
    path.file_stem().unwrap().to_str().unwrap().to_owned()
}

fn gather(directory: &Path, way: &mut Vec<String>, tests: &mut Vec<Vec<String>>) {
    for path in entries(directory) {
        let name = stem(&path);
        // These say nothing of what is tested.
        let named = !["mod", "main", "lib", "tests"].contains(&name.as_str());
        if named {
            way.push(name);
        }
        if path.is_dir() {
            gather(&path, way, tests);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let functions = functions(&fs::read_to_string(&path).unwrap());
            tests.extend(functions.into_iter().map(|function| {
                let mut way = way.clone();
                way.push(function);
                way
            }));
        }
        if named {
            way.pop();
        }
    }
}

/// The functions behind `#[test]` and its like.
fn functions(source: &str) -> Vec<String> {
    let mut marked = false;
    let mut names = Vec::new();
    for line in source.lines().map(str::trim_start) {
        if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
            marked = true;
        } else if let (true, Some((_, rest))) = (marked, line.split_once("fn ")) {
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            names.push(rest.split_at(end.unwrap_or(rest.len())).0.to_owned());
            marked = false;
        }
    }
    names
}

/// Rows of the tables whose last column is headed `test`: the line, and that column.
fn rows_with_tests(page: &str) -> Vec<(&str, &str)> {
    let mut wanted = false;
    let mut rows = Vec::new();
    for line in page.lines() {
        let Some(row) = line.strip_prefix('|').and_then(|row| row.strip_suffix('|')) else {
            wanted = false;
            continue;
        };
        let last = row.rsplit('|').next().unwrap().trim();
        if last == "test" {
            wanted = true;
        } else if wanted && !last.starts_with("---") {
            rows.push((line, last));
        }
    }
    rows
}

/// `SECURITY.md` and `docs/threats.md`: each attack has a test, and it is there.
#[test]
fn every_test_that_is_named_exists() {
    let tests = tests();
    assert!(tests.len() > 500, "{} tests found", tests.len());
    let mut named = 0;
    let mut missing = Vec::new();
    for page in ["SECURITY.md", "docs/threats.md"] {
        for (line, cell) in rows_with_tests(&read(page)) {
            let names: Vec<&str> = cell.split('`').skip(1).step_by(2).collect();
            if names.is_empty() {
                missing.push(format!("{page}: no test in {line}"));
            }
            for name in names {
                let parts: Vec<&str> = name.split("::").collect();
                let found = tests
                    .iter()
                    .any(|way| way.windows(parts.len()).any(|part| part == parts));
                if !found {
                    missing.push(format!("{page}: there is no test {name}"));
                }
                named += 1;
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
    assert!(named > 100, "{named} names");
}

/// Names in backticks in the first column of the tables below the headings.
fn first_column(page: &str, headings: &[&str]) -> BTreeSet<String> {
    let mut wanted = false;
    let mut names = BTreeSet::new();
    for line in page.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            wanted = headings.contains(&heading);
        }
        let name = line
            .strip_prefix("| `")
            .and_then(|rest| rest.split_once('`'));
        if let (true, Some((name, rest))) = (wanted, name) {
            let columns = rest.split('|').filter(|text| !text.trim().is_empty());
            assert_eq!(columns.count(), 2, "why, and who keeps it: {name}");
            assert!(names.insert(name.to_owned()), "{name} twice");
        }
    }
    names
}

/// `docs/dependencies.md`: why each direct dependency is there, and who keeps it.
#[test]
fn every_dependency_has_a_note() {
    let page = read("docs/dependencies.md");
    let noted = first_column(&page, &["On the request path", "Beside it"]);
    let mut direct = BTreeSet::new();
    for package in ["vestibule", "vestibule-server"] {
        let manifest = table(&format!("crates/{package}/Cargo.toml"));
        direct.extend(manifest["dependencies"].as_table().unwrap().keys().cloned());
    }
    direct.remove("vestibule");
    assert_eq!(noted, direct, "left: docs/dependencies.md");

    let lock = table("Cargo.lock");
    let locked: BTreeSet<&str> = lock["package"]
        .as_array()
        .unwrap()
        .iter()
        .map(|package| package["name"].as_str().unwrap())
        .collect();
    for name in first_column(&page, &["Behind these, and worth a name"]) {
        assert!(
            locked.contains(name.as_str()),
            "{name} is not used any more"
        );
    }
}

/// The name in backticks with which a line begins, behind `before`.
fn named<'p>(line: &'p str, before: &str) -> Option<&'p str> {
    let rest = line.strip_prefix(before)?.strip_prefix('`')?;
    rest.split_once('`').map(|(name, _)| name)
}

/// `docs/refusals.md`: the list of codes says what the caller sees, and leads to an entry of each;
/// an entry has a row for each reason of its code, with cause and fix, and no other.
#[test]
fn every_refusal_has_an_entry() {
    let page = read("docs/refusals.md");
    let listed: Vec<&str> = page
        .lines()
        .filter(|line| line.starts_with("| [`"))
        .collect();
    let expected: Vec<String> = Code::ALL
        .iter()
        .map(|code| {
            let (name, status, title) = (code.as_str(), code.status().as_u16(), code.title());
            format!("| [`{name}`](#{name}) | {status} | {title} |")
        })
        .collect();
    assert_eq!(listed, expected, "left: docs/refusals.md");

    let mut reasons = BTreeMap::new();
    let mut codes = Vec::new();
    for entry in page.split("\n## ").skip(1) {
        let Some(name) = named(entry, "") else {
            continue;
        };
        codes.push(name);
        for row in entry.lines() {
            let Some(reason) = named(row, "| ") else {
                continue;
            };
            assert_eq!(row.matches(" | ").count(), 2, "cause and fix: {row}");
            assert!(
                row.contains("**Caller") || row.contains("**Operator"),
                "{row}"
            );
            assert_eq!(reasons.insert(reason, name), None, "{reason} twice");
        }
    }
    let known: Vec<&str> = Code::ALL.iter().map(|code| code.as_str()).collect();
    assert_eq!(codes, known, "left: docs/refusals.md");
    let known: BTreeMap<&str, &str> = Reason::ALL
        .iter()
        .map(|reason| (reason.as_str(), reason.code().as_str()))
        .collect();
    assert_eq!(reasons, known, "left: docs/refusals.md");
}

/// `docs/refusals.md`: below its heading, each entry shows status, challenge and pause as they are
/// on the wire.
#[test]
fn entries_of_refusals_show_what_the_caller_sees() {
    let page = read("docs/refusals.md");
    for code in Code::ALL {
        let heading = format!("\n## `{code}`\n\n");
        let (_, entry) = page.split_once(heading.as_str()).unwrap();
        let seen = entry.split("\n\n").next().unwrap();
        let status = format!("**{}**", code.status().as_u16());
        assert!(seen.starts_with(&status), "{code}: {seen}");
        let challenge = code.challenge(true);
        let shown = challenge.is_none_or(|it| seen.contains(&format!("`WWW-Authenticate: {it}`")));
        assert!(shown, "{code}: {seen}");
        let has_challenge = seen.contains("WWW-Authenticate");
        assert_eq!(has_challenge, challenge.is_some(), "{code}: {seen}");
        if let Some(seconds) = Code::retry_after(code.status()) {
            let pause = format!("`Retry-After: {seconds}`");
            assert!(seen.contains(&pause), "{code}: {seen}");
        }
    }
}
