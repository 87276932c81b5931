//! Numbers under short keys once more, so that a hit reads two cache lines and writes none.
//!
//! To look into the index takes a guard, which tells all threads that this one is reading: an exchange that the processor
//! lets nothing overtake, so that the next look-up doesn't begin before this one has come from memory. Here each set of
//! places is a [seqlock](crate::common::seqlock). Within a set a key is found by a byte of its hash, all eight compared at once,
//! as in SwissTable.
//!
//! What is here is a copy of what the index has, made by those who found it there, and may be lost at any time: a place
//! is given to another, and a table that grows begins empty. But nothing stays that the index has let go. An entry is
//! [gone](Copied::is_gone) before its set is searched for it, and who has the set to write a copy looks at that first.
//!
//! There is no table before the first hit on a number, and it grows only where hits displace each other and places are
//! fewer than two for each entry of the store: 34 bytes a place, at most eight places an entry. Beside entries that are
//! bounded by bytes it takes an eighth of these bytes at the most.

use std::sync::OnceLock;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};

use crate::common::seqlock::Version;
use crate::common::stripe;
use crate::common::sync::checked::{AtomicBool, AtomicU64, AtomicUsize};
use crate::key::ShortKey;

/// Places of a set, one for each byte of a word.
const PLACES: usize = 8;
/// Sets of the first table; the next has some times as many.
const FIRST: usize = 8;
const GROWTH: usize = 4;
const TABLES: usize = 10;
/// How often, about, a copy finds its set full until it takes the place of another.
const PATIENCE: u32 = 4;

/// The table in use, and those before it, which may still have readers.
#[derive(Default)]
pub(super) struct Front {
    tables: [OnceLock<Table>; TABLES],
    /// Which of them is in use, if there is any.
    newest: AtomicUsize,
    /// Places of the last one that were taken from one entry for another.
    displaced: AtomicUsize,
    /// Somebody makes the next.
    grows: AtomicBool,
}

/// As many sets as a power of two.
pub(super) struct Table {
    /// The bits of a hash that say which set.
    mask: usize,
    heads: Box<[Head]>,
    places: Box<[[Place; PLACES]]>,
}

/// Of a set, what tells where to look.
#[derive(Default)]
#[repr(align(16))]
struct Head {
    version: Version,
    /// A byte for each place: 0 if it is free, else a byte of the hash.
    marks: AtomicU64,
}

/// Half a cache line.
#[derive(Default)]
#[repr(align(32))]
struct Place {
    key: [AtomicU64; 2],
    number: AtomicU64,
    life: AtomicU64,
}

/// Of an entry, that it leaves the index: set before it does.
pub(super) type Gone = AtomicBool;

/// An entry of the index, as far as it is copied.
pub(super) struct Copied<'e> {
    pub(super) key: ShortKey,
    pub(super) number: u64,
    pub(super) life: Life,
    pub(super) is_gone: &'e Gone,
}

/// When an entry expires and what it cost: see `Slot`. In one word, so that neither is later or more than it is, and
/// almost as much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Life(u64);

/// How many places a table may have that takes as much as `bytes`, when it has grown once more.
pub(super) fn enough_for(bytes: u64) -> usize {
    let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
    bytes / (size_of::<Place>() + size_of::<Head>() / PLACES) / GROWTH
}

impl Front {
    /// Where to look, if there is anything.
    #[inline]
    pub(super) fn newest(&self) -> Option<&Table> {
        self.table(self.newest.load(SeqCst))
    }

    #[inline]
    fn table(&self, at: usize) -> Option<&Table> {
        self.tables.get(at)?.get()
    }

    /// Copies an entry for those who come next, where a table of fewer than `enough` places may grow.
    #[cold]
    #[inline(never)]
    pub(super) fn put(&self, hash: u64, entry: &Copied<'_>, enough: usize) {
        let newest = self.newest.load(SeqCst);
        let Some(table) = self.table(newest).or_else(|| self.make(0)) else { return };
        let Some((head, places)) = table.set(hash) else { return };
        let at = match head.free() {
            Some(free) => free,
            None if !stripe::one_in(PATIENCE) => return,
            None => {
                let displaced = self.displaced.fetch_add(1, Relaxed);
                let is_small = table.places.as_flattened().len() < enough && newest + 1 < TABLES;
                if displaced > table.mask && is_small {
                    // Others go on without: a large one takes a while.
                    if !self.grows.swap(true, SeqCst) {
                        self.make(newest + 1);
                        self.grows.store(false, SeqCst);
                    }
                    return;
                }
                displaced % PLACES
            }
        };
        let Some(place) = places.get(at) else { return };
        head.version.try_write(|| {
            if !entry.is_gone.load(SeqCst) {
                place.write(entry);
                head.mark(at, mark(hash));
            }
        });
    }

    /// Forgets what is under `key`, which is gone.
    pub(super) fn remove(&self, hash: u64, key: ShortKey) {
        let Some((head, places)) = self.newest().and_then(|table| table.set(hash)) else { return };
        // Also if it isn't here: who writes next has to see that it is gone.
        head.version.write(|| {
            let is_it = |at: &usize| places.get(*at).is_some_and(|place| place.read(key).is_some());
            head.marked(hash).filter(is_it).for_each(|at| head.mark(at, 0));
        });
    }

    /// Forgets everything.
    pub(super) fn clear(&self) {
        let heads = self.newest().into_iter().flat_map(|table| &table.heads);
        heads.for_each(|head| head.version.write(|| head.marks.store(0, Relaxed)));
    }

    /// Makes the table that is to be used from now on.
    fn make(&self, next: usize) -> Option<&Table> {
        let sets = FIRST * GROWTH.pow(u32::try_from(next).ok()?);
        let table = self.tables.get(next)?.get_or_init(|| Table::new(sets));
        if self.newest.fetch_max(next, SeqCst) < next {
            self.displaced.store(0, Relaxed);
        }
        Some(table)
    }
}

impl Table {
    /// The number under `key`, if it is here, and how long it may be served: at least.
    #[inline(always)]
    pub(super) fn get(&self, hash: u64, key: ShortKey) -> Option<(u64, Life)> {
        let (head, places) = self.set(hash)?;
        head.version.read(|_| head.marked(hash).find_map(|at| places.get(at)?.read(key)))
    }

    fn new(sets: usize) -> Self {
        let heads = (0..sets).map(|_| Head::default()).collect();
        Self { mask: sets - 1, heads, places: (0..sets).map(|_| Default::default()).collect() }
    }

    #[inline]
    fn set(&self, hash: u64) -> Option<(&Head, &[Place; PLACES])> {
        #[allow(clippy::cast_possible_truncation, reason = "of the low bits")]
        let at = hash as usize & self.mask;
        match (self.heads.get(at), self.places.get(at)) {
            (Some(head), Some(places)) => Some((head, places)),
            _ => None,
        }
    }
}

/// The byte of a hash by which a set is searched.
#[inline]
fn mark(hash: u64) -> u64 {
    hash >> 56 | 1
}

/// Each byte 1.
const ONES: u64 = u64::from_ne_bytes([1; PLACES]);

impl Head {
    /// The places that may have a key of that hash.
    #[inline]
    fn marked(&self, hash: u64) -> impl Iterator<Item = usize> + use<> {
        zeros(self.marks.load(Relaxed) ^ (mark(hash) * ONES))
    }

    fn free(&self) -> Option<usize> {
        zeros(self.marks.load(Relaxed)).next()
    }

    fn mark(&self, at: usize, mark: u64) {
        let marks = self.marks.load(Relaxed) & !(0xff << (8 * at));
        self.marks.store(marks | mark << (8 * at), Relaxed);
    }
}

/// Where the bytes are that are 0: those and no others, since a free place may still hold what it held.
#[inline]
fn zeros(word: u64) -> impl Iterator<Item = usize> {
    // In each byte the highest bit becomes 1 if any is, without a carry to the next.
    const LOW: u64 = ONES * 0x7f;
    let mut zeros = !(((word & LOW) + LOW) | word | LOW);
    std::iter::from_fn(move || {
        let at = zeros.trailing_zeros() as usize / 8;
        zeros &= zeros.wrapping_sub(1);
        (at < PLACES).then_some(at)
    })
}

impl Place {
    #[inline(always)]
    fn read(&self, key: ShortKey) -> Option<(u64, Life)> {
        let is_key = self.key[0].load(Relaxed) == key[0] && self.key[1].load(Relaxed) == key[1];
        is_key.then(|| (self.number.load(Relaxed), Life(self.life.load(Relaxed))))
    }

    fn write(&self, entry: &Copied<'_>) {
        self.key[0].store(entry.key[0], Relaxed);
        self.key[1].store(entry.key[1], Relaxed);
        self.number.store(entry.number, Relaxed);
        self.life.store(entry.life.0, Relaxed);
    }
}

impl Life {
    /// Bits of the cost: its highest ones, and how many are left out below them.
    const COST: u32 = Self::HIGH + Self::LOW;
    const HIGH: u32 = 18;
    const LOW: u32 = 6;
    /// Deadlines are in units of so many bits of nanoseconds, of about a millisecond.
    const UNIT: u32 = 20;
    const NEVER: u64 = u64::MAX >> Self::COST;

    pub(super) fn new(deadline: u64, cost: u64) -> Self {
        let until = match deadline {
            u64::MAX => Self::NEVER,
            deadline => (deadline >> Self::UNIT).min(Self::NEVER - 1),
        };
        let left_out = (u64::BITS - cost.leading_zeros()).saturating_sub(Self::HIGH);
        Self(until << Self::COST | cost >> left_out << Self::LOW | u64::from(left_out))
    }

    #[inline]
    pub(crate) fn deadline(self) -> u64 {
        match self.0 >> Self::COST {
            Self::NEVER => u64::MAX,
            until => until << Self::UNIT,
        }
    }

    #[inline]
    pub(crate) fn cost(self) -> u64 {
        let high = self.0 >> Self::LOW & ((1 << Self::HIGH) - 1);
        high << (self.0 & ((1 << Self::LOW) - 1))
    }
}

#[cfg(all(test, shuttle))]
mod model;
#[cfg(all(test, not(shuttle)))]
mod tests;
