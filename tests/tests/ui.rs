//! What the attribute refuses, and what it says: one program per rule beside the message it must give.
//! `TRYBUILD=overwrite cargo test --test ui` writes the messages anew; read them before you commit them.

#[test]
fn refused() {
    trybuild::TestCases::new().compile_fail("ui/fail/*.rs");
}

/// What only a build finds, because it depends on a type that the macro can't see: `cargo check` accepts these.
#[test]
fn refused_by_the_build() {
    let cases = trybuild::TestCases::new();
    // One program that passes makes trybuild build all of them.
    cases.pass("ui/pass/options.rs");
    cases.compile_fail("ui/fail-build/*.rs");
}

#[test]
fn accepted() {
    trybuild::TestCases::new().pass("ui/pass/*.rs");
}

/// What a feature that is not compiled in says on the literal that needs it.
#[cfg(not(feature = "servers"))]
#[test]
fn refused_without_features() {
    trybuild::TestCases::new().compile_fail("ui/fail-default/*.rs");
}
