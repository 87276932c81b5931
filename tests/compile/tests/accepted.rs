//! Programs that compile and run.

#[allow(clippy::toplevel_ref_arg, reason = "patterns as people write them")]
#[path = "../ui/pass/arguments.rs"]
mod arguments;
// Some lints ignore bodies of more than one line.
#[rustfmt::skip]
#[path = "../ui/pass/no_warnings.rs"]
mod no_warnings;
#[path = "../ui/pass/options.rs"]
mod options;

#[test]
fn run() {
    arguments::main();
    no_warnings::main();
    options::main();
}
