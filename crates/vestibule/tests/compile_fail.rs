//! What must not compile: each file under `ui` tries to go around one check.

#[test]
fn what_must_not_compile() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
