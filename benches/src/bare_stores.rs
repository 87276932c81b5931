//! Bare stores, asked and filled by hand: what caching costs where nobody derives keys, expires or counts.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

use crate::Case;
use crate::functions::ROOM;

/// A case for each store: it is asked for the key `ask(index)`, and given `make(key)` if it has no value for it. Keys
/// are asked for as they are passed, borrowed or owned.
pub fn cases<'a, Q, A, V>(
    ask: impl Fn(u64) -> A + Copy + 'a,
    make: impl Fn(&Q) -> V + Copy + 'a,
) -> Vec<Case<'a>>
where
    Q: ToOwned<Owned: Hash + Eq + Send + Sync + 'static> + Hash + Eq + ?Sized,
    A: Borrow<Q>,
    V: Clone + Send + Sync + 'static,
{
    let moka = moka::sync::Cache::<Q::Owned, V>::new(ROOM as u64);
    let expiring = moka::sync::Cache::<Q::Owned, V>::builder()
        .max_capacity(ROOM as u64)
        .time_to_live(Duration::from_secs(3600))
        .build();
    let quick = quick_cache::sync::Cache::<Q::Owned, V>::new(ROOM);
    let papaya = papaya::HashMap::<Q::Owned, V>::new();
    let mut map = HashMap::<Q::Owned, V>::new();
    let in_moka = move |moka: &moka::sync::Cache<Q::Owned, V>, index| {
        let key = ask(index);
        moka.get(key.borrow()).unwrap_or_else(|| {
            let value = make(key.borrow());
            moka.insert(key.borrow().to_owned(), value.clone());
            value
        })
    };
    vec![
        Case::each("moka alone", move |index| in_moka(&moka, index)),
        Case::each("moka alone, time_to_live", move |index| in_moka(&expiring, index)),
        Case::each("quick_cache alone", move |index| {
            let key = ask(index);
            quick.get(key.borrow()).unwrap_or_else(|| {
                let value = make(key.borrow());
                quick.insert(key.borrow().to_owned(), value.clone());
                value
            })
        }),
        Case::each("papaya alone, unbounded", move |index| {
            let (key, papaya) = (ask(index), papaya.pin());
            papaya.get(key.borrow()).cloned().unwrap_or_else(|| {
                let value = make(key.borrow());
                papaya.insert(key.borrow().to_owned(), value.clone());
                value
            })
        }),
        Case::each("HashMap, one thread, unbounded", move |index| {
            let key = ask(index);
            map.get(key.borrow()).cloned().unwrap_or_else(|| {
                let value = make(key.borrow());
                map.insert(key.borrow().to_owned(), value.clone());
                value
            })
        }),
    ]
}
