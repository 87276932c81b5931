//! Random bytes and numbers. A child of `fork` draws other ones than its parent.

use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};
use std::process;
use std::time::SystemTime;

use fastrand::Rng;

use super::process::PerProcess;

/// Bytes from the operating system, which no other process gets.
pub(crate) fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    if getrandom::fill(&mut bytes).is_err() {
        // A sandbox without a source of random bytes. What differs between processes and moments is the best there is.
        for byte in &mut bytes {
            let hash = RandomState::new().hash_one((process::id(), SystemTime::now()));
            *byte = hash.to_le_bytes()[0];
        }
    }
    bytes
}

/// A number from 0 up to 1. Fast, and predictable: nothing secret depends on it.
pub(crate) fn dice() -> f64 {
    thread_local! {
        static GENERATOR: PerProcess<Cell<Rng>> = const { PerProcess::new() };
    }
    let draw = |generator: &PerProcess<Cell<Rng>>| {
        let generator = generator.get(|_| Cell::new(Rng::with_seed(u64::from_le_bytes(bytes()))));
        let mut rng = generator.replace(Rng::with_seed(0));
        let drawn = rng.f64();
        generator.set(rng);
        drawn
    };
    // While the thread shuts down, its variables may be gone.
    GENERATOR.try_with(draw).unwrap_or_else(|_| fastrand::f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_differ() {
        assert_ne!(bytes::<16>(), bytes());
    }

    #[test]
    fn dice_cover_their_range() {
        let drawn: Vec<f64> = (0..1_000).map(|_| dice()).collect();
        assert!(drawn.iter().all(|dice| (0.0..1.0).contains(dice)));
        for tenth in 0..10 {
            let share = f64::from(tenth) / 10.0;
            assert!(drawn.iter().any(|dice| (share..share + 0.1).contains(dice)), "{tenth}");
        }
    }
}
