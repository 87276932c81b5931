//! Scopes of a whole process, for `tests/scopes.rs`.

#![allow(clippy::print_stdout, reason = "its output is what the tests read")]

use cache_runtime::cached;
use cache_runtime::testing::Scope;

#[cached(ttl = 60)]
fn counted(n: u64) -> u64 {
    n
}

fn on_another_thread() -> u64 {
    std::thread::spawn(|| counted(1)).join().expect("no panic")
}

fn process() {
    let (scope, other) = (Scope::new(), Scope::new());
    let entered = scope.enter_process();
    (0..3).for_each(|_| _ = on_another_thread());
    let in_process = counted::stats().runs;
    let own = {
        let _entered = other.enter();
        counted(1);
        counted(2);
        counted::stats().runs
    };
    // The next one waits until the process has left this one.
    let next = std::thread::spawn(|| {
        let scope = Scope::new();
        let _entered = scope.enter_process();
        counted(1);
        counted::stats().runs
    });
    drop(entered);
    println!("runs {in_process}, then {own}, then {}", next.join().expect("no panic"));
}

fn stray() {
    let scope = Scope::new();
    let _entered = scope.enter();
    (0..3).for_each(|_| _ = on_another_thread());
    println!("runs {}", counted::stats().runs);
}

fn main() {
    match std::env::args().nth(1).as_deref() {
        Some("process") => process(),
        _ => stray(),
    }
}
