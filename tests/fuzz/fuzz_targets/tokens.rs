//! Under cargo-fuzz libFuzzer's target, else the fixed sequence: see the crate's documentation.

#![cfg_attr(fuzzing, no_main)]

use cache_fuzz::{Case, check};

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|text: &str| {
    if let Some(case) = Case::of_text(text) {
        check(&case);
    }
});

/// `[ROUNDS [NUMBER]]`, or `seeds DIRECTORY`.
#[cfg(not(fuzzing))]
fn main() {
    use cache_fuzz::{Outcome, mutate, seeds};

    /// A minute on two cores of 2024.
    const ROUNDS: u64 = 1_000_000;

    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let cases = seeds::all();
    if let [command, directory] = &arguments[..]
        && command == "seeds"
    {
        std::fs::create_dir_all(directory).expect("the directory can be made");
        for (index, case) in cases.iter().enumerate() {
            let path = std::path::Path::new(directory).join(format!("seed-{index}"));
            std::fs::write(path, case.text()).expect("the directory can be written to");
        }
        return;
    }
    let number = |index: usize, default| {
        arguments
            .get(index)
            .map_or(default, |text| text.parse().expect("ROUNDS and NUMBER are whole numbers"))
    };
    let (rounds, number) = (number(0, ROUNDS), number(1, 1));
    for case in &cases {
        report(case);
    }
    let (mutations, mut dice, mut expanded) = (mutate::Mutations::of(cases), mutate::Dice::new(number), 0);
    for _ in 0..rounds {
        expanded += u64::from(report(&mutations.next(&mut dice)) == Outcome::Expanded);
    }
    println!("{rounds} token streams, {expanded} of them accepted: none made the macro panic");
}

/// Shows the case that fails.
#[cfg(not(fuzzing))]
fn report(case: &Case) -> cache_fuzz::Outcome {
    std::panic::catch_unwind(|| check(case)).unwrap_or_else(|_| {
        eprintln!("\nthis made the macro panic, the attribute's tokens first:\n{}", case.text());
        std::process::exit(1);
    })
}
