//! No stage of the pipeline can be skipped: programs that try must not compile, and for the
//! reason that they name.
//!
//! `tests/ui` holds the programs. Each line that must be refused ends in `//~ E0451`, with the
//! compiler's code for the reason; a program that refuses nothing must compile. They are given to
//! `rustc` with the library that this test was built with, which takes a moment; a second build
//! of all dependencies would take minutes. What types do not implement is decided here, while
//! this file is compiled.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test's helpers may stop it, as the test itself may"
)]

use std::{
    collections::BTreeSet,
    env,
    ffi::OsString,
    fmt, fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use vestibule::{
    BearerToken, Lease, Principal, SystemAccess, TenantSession, VerifiedToken,
    assertion::{AssertionToken, VerifiedAssertion},
    provider::access_key::AccessKey,
    settings::Secret,
    tenancy::SessionQuery,
    token::VerifyingKey,
};

/// Line and code of an error.
type Refused = BTreeSet<(u64, String)>;

/// Fails to compile where the type implements one of the traits: then there are two ways to read
/// `some_item`.
macro_rules! implements_none {
    ($type:ty: $($trait:path),+) => {
        const _: fn() = || {
            trait Ambiguous<A> {
                fn some_item() {}
            }
            impl<T: ?Sized> Ambiguous<()> for T {}
            $({
                struct Taken;
                impl<T: ?Sized + $trait> Ambiguous<Taken> for T {}
            })+
            let _ = <$type as Ambiguous<_>>::some_item;
        };
    };
}

// Secrets cannot be printed, and what proves something cannot be read from anywhere.
implements_none!(BearerToken<'static>: fmt::Display, Serialize, DeserializeOwned);
implements_none!(AccessKey: fmt::Display, Serialize, DeserializeOwned);
implements_none!(Secret: fmt::Display, Serialize, DeserializeOwned);
implements_none!(VerifyingKey: Default, DeserializeOwned, From<[u8; 32]>);
implements_none!(VerifiedToken: Default, Serialize, DeserializeOwned, From<String>, From<Value>);
implements_none!(AssertionToken<'static>: fmt::Display, Serialize, DeserializeOwned);
implements_none!(VerifiedAssertion: Default, Serialize, DeserializeOwned, From<String>, From<Value>);
implements_none!(Principal: Default, DeserializeOwned, From<VerifiedToken>, From<Value>);
implements_none!(Lease: Clone, Default, From<Principal>, DeserializeOwned);
implements_none!(SystemAccess: Clone, Copy, Default, Serialize, DeserializeOwned, From<()>);
// A session gives away neither its transaction nor its connection.
implements_none!(
    TenantSession:
    Default,
    std::ops::Deref,
    AsRef<sqlx::SqliteConnection>,
    sqlx::Executor<'static>,
    sqlx::Acquire<'static>
);
implements_none!(SessionQuery: std::ops::Deref, Clone);

#[test]
fn programs() {
    let compiler = Compiler::of_this_test();
    let mut programs: Vec<PathBuf> = fs::read_dir("tests/ui")
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    programs.sort();
    assert!(programs.iter().any(|program| expected(program).is_empty()));
    let mut wrong = Vec::new();
    for program in &programs {
        let (expected, found) = (expected(program), compiler.refuses(program));
        if expected != found {
            let program = program.display();
            wrong.push(format!("{program}: expected {expected:?}, found {found:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What the comments of a program say.
fn expected(program: &Path) -> Refused {
    let text = fs::read_to_string(program).unwrap();
    let lines = (1..).zip(text.lines());
    lines
        .filter_map(|(number, line)| {
            let (_, code) = line.split_once("//~ ")?;
            Some((number, code.trim().to_owned()))
        })
        .collect()
}

/// `rustc` with the library.
struct Compiler {
    library: PathBuf,
    dependencies: PathBuf,
}

impl Compiler {
    /// Finds the library where this test itself lies. Cargo has built it last for this test, so
    /// the latest one is no older than what is tested.
    fn of_this_test() -> Self {
        let test = env::current_exe().unwrap();
        let dependencies = test.parent().unwrap().to_owned();
        let library = fs::read_dir(&dependencies)
            .unwrap()
            .map(|entry| entry.unwrap())
            .filter(|entry| {
                let name = entry.file_name();
                let name = name.to_string_lossy();
                name.starts_with("libvestibule-") && name.ends_with(".rlib")
            })
            .max_by_key(|entry| entry.metadata().unwrap().modified().unwrap())
            .unwrap_or_else(|| panic!("no library in {}", dependencies.display()))
            .path();
        Self {
            library,
            dependencies,
        }
    }

    fn refuses(&self, program: &Path) -> Refused {
        let out = tempfile::tempdir().unwrap();
        let mut library = OsString::from("vestibule=");
        library.push(&self.library);
        let mut dependencies = OsString::from("dependency=");
        dependencies.push(&self.dependencies);
        let output = Command::new("rustc")
            .args(["--edition=2024", "--crate-type=lib", "--emit=metadata"])
            .args(["--error-format=json", "--cap-lints=allow", "--out-dir"])
            .arg(out.path())
            .arg("--extern")
            .arg(library)
            .arg("-L")
            .arg(dependencies)
            .arg(program)
            .output()
            .unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        let refused: Refused = said
            .lines()
            .flat_map(|line| refusals(&serde_json::from_str(line).unwrap()))
            .collect();
        // An error without a code or a place, such as a missing library, is no refusal.
        assert_eq!(output.status.success(), refused.is_empty(), "{said}");
        refused
    }
}

/// The places that an error names, with its code. Warnings and summaries name none.
fn refusals(message: &Value) -> Refused {
    let code = message.pointer("/code/code").and_then(Value::as_str);
    let spans = message.get("spans").and_then(Value::as_array);
    let is_error = message.get("level").is_some_and(|level| level == "error");
    let (Some(code), Some(spans), true) = (code, spans, is_error) else {
        return Refused::new();
    };
    spans
        .iter()
        .filter(|span| span.get("is_primary") == Some(&Value::Bool(true)))
        .filter_map(|span| span.get("line_start")?.as_u64())
        .map(|line| (line, code.to_owned()))
        .collect()
}
