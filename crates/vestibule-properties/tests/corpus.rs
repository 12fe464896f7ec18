//! The committed corpora: what the fuzzer found to be worth keeping holds in every run.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "test code"
)]

use std::{fs, path::PathBuf};

use vestibule_properties::PROPERTIES;

/// The inputs of a property, by name.
fn corpus(name: &str) -> Vec<(String, Vec<u8>)> {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../fuzz/corpus")
        .join(name);
    let files = fs::read_dir(&directory).unwrap_or_else(|error| panic!("{name}: {error}"));
    files
        .map(|file| file.unwrap().path())
        .map(|path| (path.display().to_string(), fs::read(&path).unwrap()))
        .collect()
}

fn holds(name: &str) {
    let (_, property) = PROPERTIES.iter().find(|(known, _)| *known == name).unwrap();
    for (file, bytes) in corpus(name) {
        // A panic's message does not know which file it was.
        println!("{file}");
        property(&bytes);
    }
    property(b"");
}

#[test]
fn assertion() {
    holds("assertion");
}

#[test]
fn authorization() {
    holds("authorization");
}

#[test]
fn forwarded() {
    holds("forwarded");
}

#[test]
fn key_set() {
    holds("key_set");
}

#[test]
fn request() {
    holds("request");
}

#[test]
fn settings() {
    holds("settings");
}

#[test]
fn token() {
    holds("token");
}

/// Small enough to be read in a clone, large enough to be one.
#[test]
fn corpora_are_small() {
    let mut bytes = 0;
    for (name, _) in PROPERTIES {
        let files = corpus(name);
        assert!((10..300).contains(&files.len()), "{name}: {}", files.len());
        bytes += files.iter().map(|(_, bytes)| bytes.len()).sum::<usize>();
    }
    assert!(bytes < 1024 * 1024, "{bytes} bytes");
}

/// Each property has a target and a list of words, and nothing else has.
#[test]
fn targets_are_the_properties() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fuzz");
    let mut targets: Vec<String> = fs::read_dir(root.join("fuzz_targets"))
        .unwrap()
        .map(|file| file.unwrap().path())
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    targets.sort();
    let names: Vec<_> = PROPERTIES.iter().map(|(name, _)| *name).collect();
    assert_eq!(targets, names);
}
