//! Programs that compile and run.

#[allow(clippy::toplevel_ref_arg, reason = "patterns as people write them")]
#[path = "../ui/pass/arguments.rs"]
mod arguments;
#[path = "../ui/pass/forbidden_lints.rs"]
mod forbidden_lints;
#[path = "../ui/pass/names_of_locals.rs"]
mod names_of_locals;
#[path = "../ui/pass/names_of_modules.rs"]
mod names_of_modules;
// Some lints ignore bodies of more than one line.
#[rustfmt::skip]
#[path = "../ui/pass/no_warnings.rs"]
mod no_warnings;
#[path = "../ui/pass/options.rs"]
mod options;

#[test]
fn run() {
    arguments::main();
    forbidden_lints::main();
    names_of_locals::main();
    names_of_modules::main();
    no_warnings::main();
    options::main();
}
