//! What the project's pages say of its sources is true of them.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a helper of tests may stop them"
)]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

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
