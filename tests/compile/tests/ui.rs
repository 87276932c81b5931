//! What the attribute refuses, and what it says: one program per rule beside the message it must give.
//! `TRYBUILD=overwrite cargo test -p cache-compile-tests` writes the messages anew; read them before you commit them.
//!
//! trybuild compiles the dependencies once for `cargo check` and once for `cargo build`. Each takes a minute, so one runs
//! with all features and the other with the default ones.

#[cfg(feature = "servers")]
#[test]
fn refused() {
    trybuild::TestCases::new().compile_fail("ui/fail/*.rs");
}

/// `cargo check` accepts the programs in `fail-build`, because they depend on types that the macro can't see. Those in
/// `fail-default` use features that are not compiled in.
#[cfg(not(feature = "servers"))]
#[test]
fn refused_by_the_build() {
    let cases = trybuild::TestCases::new();
    // One program that passes makes trybuild build all of them.
    cases.pass("ui/pass/options.rs");
    cases.compile_fail("ui/fail-build/*.rs");
    cases.compile_fail("ui/fail-default/*.rs");
}
