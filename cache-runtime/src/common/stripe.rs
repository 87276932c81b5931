//! Striped counters: each thread counts in a stripe of its own, so that counting doesn't contend.
//!
//! A stripe belongs to one thread until that thread ends, so adding to it is a load and a store; an atomic addition takes
//! ten times as long. Threads that find no free stripe share some and add atomically.
//!
//! Knows no counters. It hands out stripe numbers, and tells when a thread is shutting down and must not use other
//! thread-local variables any more.

use std::cell::Cell;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};

/// Stripes that belong to one thread each.
const OWN: usize = u64::BITS as usize;
/// Stripes that all other threads share.
const SHARED: usize = 16;
/// How many stripes there are.
pub(crate) const STRIPES: usize = OWN + SHARED;

const NOT_ASKED: usize = usize::MAX;
const ENDING: usize = usize::MAX - 1;

thread_local! {
    static STRIPE: Cell<usize> = const { Cell::new(NOT_ASKED) };
    /// The state of a linear congruential generator.
    static DICE: Cell<u32> = const { Cell::new(1) };
    static RELEASE: Release = const { Release };
}

/// A bit for each stripe that belongs to a thread.
static TAKEN: AtomicU64 = AtomicU64::new(0);
/// How many threads share the other stripes.
static SHARING: AtomicUsize = AtomicUsize::new(0);

/// The stripe that a thread counts in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stripe(usize);

impl Stripe {
    /// A shared stripe, for threads that have none of their own.
    pub(crate) const ANY: Self = Self(OWN);

    #[inline]
    pub(crate) fn index(self) -> usize {
        self.0
    }

    /// Whether only one thread counts there.
    #[inline]
    pub(crate) fn is_own(self) -> bool {
        self.0 < OWN
    }
}

/// The stripe of this thread. `None` while the thread shuts down: its other thread-local variables may be gone.
#[inline]
pub(crate) fn current() -> Option<Stripe> {
    match STRIPE.get() {
        stripe if stripe < STRIPES => Some(Stripe(stripe)),
        ENDING => None,
        _ => Some(claim()),
    }
}

/// Whether no thread but this one has a stripe. The threads that a child of `fork` lacks keep theirs.
pub(crate) fn is_only_user() -> bool {
    let own = match STRIPE.get() {
        stripe if stripe < OWN => 1 << stripe,
        _ => 0,
    };
    TAKEN.load(Ordering::Acquire) & !own == 0 && SHARING.load(Ordering::Relaxed) == 0
}

/// True once in `number` calls on average; `number` is a power of two.
#[inline]
pub(crate) fn one_in(number: u32) -> bool {
    // `LocalKey::set` would be a function call.
    let next = DICE.with(|dice| {
        dice.set(dice.get().wrapping_mul(1_664_525).wrapping_add(1_013_904_223));
        dice.get()
    });
    // In this generator only the high bits are random.
    next.leading_zeros() >= number.trailing_zeros()
}

#[cold]
fn claim() -> Stripe {
    // Thread-local destructors run in reverse order of first use. The index of a store keeps a thread-local variable;
    // using it here first makes it outlive ours, and after ours nothing uses an index through it.
    drop(papaya::HashSet::<u8>::new().pin());
    RELEASE.with(|_| {});
    // With one seed all threads would draw the same numbers, and short-lived threads would never draw a rare one.
    static SEED: AtomicU32 = AtomicU32::new(1);
    DICE.set(SEED.fetch_add(0x9e37_79b9, Ordering::Relaxed));
    let free = |taken: u64| (taken != u64::MAX).then(|| taken | (taken + 1));
    // Acquire: the next owner sees what the last one counted.
    let stripe = match TAKEN.fetch_update(Ordering::AcqRel, Ordering::Acquire, free) {
        Ok(taken) => taken.trailing_ones() as usize,
        Err(_) => OWN + SHARING.fetch_add(1, Ordering::Relaxed) % SHARED,
    };
    STRIPE.set(stripe);
    Stripe(stripe)
}

/// Gives the stripe back when the thread ends.
struct Release;

impl Drop for Release {
    fn drop(&mut self) {
        let stripe = STRIPE.replace(ENDING);
        if stripe < OWN {
            TAKEN.fetch_and(!(1 << stripe), Ordering::AcqRel);
        } else {
            SHARING.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_thread_has_its_own_stripe_until_it_ends() {
        let mine = current().unwrap();
        let theirs = std::thread::spawn(|| (current(), current())).join().unwrap();
        assert_eq!(theirs.0, theirs.1);
        assert_ne!(theirs.0, Some(mine));
        let many = || {
            let all_have_one = std::sync::Barrier::new(2 * STRIPES);
            std::thread::scope(|scope| {
                let claim = || {
                    let stripe = current().unwrap();
                    all_have_one.wait();
                    stripe
                };
                let threads: Vec<_> = (0..2 * STRIPES).map(|_| scope.spawn(claim)).collect();
                threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
            })
        };
        for stripes in [many(), many()] {
            let mut own: Vec<usize> =
                stripes.iter().filter(|stripe| stripe.is_own()).map(|stripe| stripe.index()).collect();
            let owners = own.len();
            own.sort_unstable();
            own.dedup();
            assert_eq!(own.len(), owners, "two threads in one stripe");
            assert!(owners > 0 && stripes.iter().all(|stripe| stripe.index() < STRIPES));
        }
    }

    #[test]
    fn threads_draw_different_numbers() {
        let draw = || {
            current().unwrap();
            (0..32).filter(|_| one_in(64)).count()
        };
        let drawn: usize = (0..200).map(|_| std::thread::spawn(draw).join().unwrap()).sum();
        assert!((40..200).contains(&drawn), "{drawn} of 6,400 draws; about 100 expected");
    }

    thread_local! {
        static LAST: AtTheEnd = const { AtTheEnd };
    }

    struct AtTheEnd;

    impl Drop for AtTheEnd {
        fn drop(&mut self) {
            assert_eq!(current(), None);
        }
    }

    #[test]
    fn the_end_of_a_thread_is_noticed() {
        let ended = std::thread::spawn(|| {
            LAST.with(|_| {});
            assert!(current().is_some());
        });
        ended.join().unwrap();
    }
}
