//! Which of its own places a thread counts in, so that threads that count at once don't meet.
//!
//! A lane belongs to one thread until it ends, which makes adding to a number in it a load and a store; an atomic
//! addition takes ten times as long. Threads for which none is left share some lanes and add atomically.
//!
//! Knows no counters: it hands out numbers, and tells when a thread is at its end and must not use thread-local
//! variables of others any more.

use std::cell::Cell;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};

/// Lanes with a thread of their own.
const OWN: usize = u64::BITS as usize;
/// Lanes that the other threads share.
const SHARED: usize = 16;
/// How many lanes there are.
pub(crate) const LANES: usize = OWN + SHARED;

const NOT_ASKED: usize = usize::MAX;
const ENDING: usize = usize::MAX - 1;

thread_local! {
    static LANE: Cell<usize> = const { Cell::new(NOT_ASKED) };
    /// A linear congruential generator.
    static DICE: Cell<u32> = const { Cell::new(1) };
    static RELEASE: Release = const { Release };
}

/// A bit for each lane that belongs to a thread.
static TAKEN: AtomicU64 = AtomicU64::new(0);

/// A place to count in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lane(usize);

impl Lane {
    /// For whoever has none.
    pub(crate) const ANY: Self = Self(OWN);

    #[inline]
    pub(crate) fn index(self) -> usize {
        self.0
    }

    /// Whether nobody else counts there.
    #[inline]
    pub(crate) fn is_own(self) -> bool {
        self.0 < OWN
    }
}

/// The lane of this thread; `None` when the thread is at its end, and thread-local variables with destructors may be gone.
#[inline]
pub(crate) fn current() -> Option<Lane> {
    match LANE.get() {
        lane if lane < LANES => Some(Lane(lane)),
        ENDING => None,
        _ => Some(claim()),
    }
}

/// By chance, once in `number` times, a power of two.
#[inline]
pub(crate) fn one_in(number: u32) -> bool {
    // Not `LocalKey::set`, which is a call.
    let next = DICE.with(|dice| {
        dice.set(dice.get().wrapping_mul(1_664_525).wrapping_add(1_013_904_223));
        dice.get()
    });
    // The high bits are the random ones.
    next.leading_zeros() >= number.trailing_zeros()
}

#[cold]
fn claim() -> Lane {
    static SHARING: AtomicUsize = AtomicUsize::new(0);
    // Destructors run from the last to the first. The index of a store has one for each thread; made sure that it is
    // there by now, it outlives ours, after which nobody goes to an index by way of it.
    drop(papaya::HashSet::<u8>::new().pin());
    RELEASE.with(|_| {});
    // Else all threads would throw the same, and those that end soon never what is rare.
    static SEED: AtomicU32 = AtomicU32::new(1);
    DICE.set(SEED.fetch_add(0x9e37_79b9, Ordering::Relaxed));
    let free = |taken: u64| (taken != u64::MAX).then(|| taken | (taken + 1));
    // What the last owner counted is seen by the next one.
    let lane = match TAKEN.fetch_update(Ordering::AcqRel, Ordering::Acquire, free) {
        Ok(taken) => taken.trailing_ones() as usize,
        Err(_) => OWN + SHARING.fetch_add(1, Ordering::Relaxed) % SHARED,
    };
    LANE.set(lane);
    Lane(lane)
}

/// Gives the lane back at the end of the thread.
struct Release;

impl Drop for Release {
    fn drop(&mut self) {
        let lane = LANE.replace(ENDING);
        if lane < OWN {
            TAKEN.fetch_and(!(1 << lane), Ordering::AcqRel);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_have_lanes_of_their_own_until_they_end() {
        let mine = current().unwrap();
        let theirs = std::thread::spawn(|| (current(), current())).join().unwrap();
        assert_eq!(theirs.0, theirs.1);
        assert_ne!(theirs.0, Some(mine));
        let many = || {
            let all_have_one = std::sync::Barrier::new(2 * LANES);
            std::thread::scope(|scope| {
                let claim = || {
                    let lane = current().unwrap();
                    all_have_one.wait();
                    lane
                };
                let threads: Vec<_> = (0..2 * LANES).map(|_| scope.spawn(claim)).collect();
                threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
            })
        };
        for lanes in [many(), many()] {
            let mut own: Vec<usize> =
                lanes.iter().filter(|lane| lane.is_own()).map(|lane| lane.index()).collect();
            let owners = own.len();
            own.sort_unstable();
            own.dedup();
            assert_eq!(own.len(), owners, "two threads in one lane");
            assert!(owners > 0 && lanes.iter().all(|lane| lane.index() < LANES));
        }
    }

    #[test]
    fn threads_throw_dice_of_their_own() {
        let throw = || {
            current().unwrap();
            (0..32).filter(|_| one_in(64)).count()
        };
        let thrown: usize = (0..200).map(|_| std::thread::spawn(throw).join().unwrap()).sum();
        assert!((40..200).contains(&thrown), "{thrown} of 6,400 throws, where 100 are to be expected");
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
