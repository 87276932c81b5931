//! The contract of [`Backend`], line by line, as cases that every backend passes.
//!
//! The cases are written once, against [`AsyncBackend`]; a blocking backend takes them through
//! [`Ready`].

use std::sync::Arc;
use std::time::{Duration, Instant};

use cache_runtime::{AsyncBackend, Backend, BoxFuture, Bytes, Error, ErrorKind, SetOptions};
use tokio::task::JoinSet;
use tokio::time::sleep;

/// A blocking backend as an async one, whose futures are ready when first polled.
pub struct Ready<B: ?Sized>(pub Arc<B>);

impl<B: Backend + ?Sized> AsyncBackend for Ready<B> {
    fn get<'a>(&'a self, key: &'a [u8], deadline: Instant) -> BoxFuture<'a, Result<Option<Bytes>, Error>> {
        Box::pin(async move { self.0.get(key, deadline) })
    }

    fn get_many<'a>(
        &'a self,
        keys: &'a [&'a [u8]],
        deadline: Instant,
    ) -> BoxFuture<'a, Result<Vec<Option<Bytes>>, Error>> {
        Box::pin(async move { self.0.get_many(keys, deadline) })
    }

    fn set<'a>(
        &'a self,
        key: &'a [u8],
        value: Bytes,
        options: SetOptions,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move { self.0.set(key, value, options, deadline) })
    }

    fn add<'a>(
        &'a self,
        key: &'a [u8],
        value: Bytes,
        options: SetOptions,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<bool, Error>> {
        Box::pin(async move { self.0.add(key, value, options, deadline) })
    }

    fn compare_and_set<'a>(
        &'a self,
        key: &'a [u8],
        old: &'a [u8],
        new: Bytes,
        options: SetOptions,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<bool, Error>> {
        Box::pin(async move { self.0.compare_and_set(key, old, new, options, deadline) })
    }

    fn delete<'a>(&'a self, key: &'a [u8], deadline: Instant) -> BoxFuture<'a, Result<bool, Error>> {
        Box::pin(async move { self.0.delete(key, deadline) })
    }

    fn set_many<'a>(
        &'a self,
        entries: &'a [(&'a [u8], Bytes)],
        options: SetOptions,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<Vec<Result<(), Error>>, Error>> {
        Box::pin(async move { self.0.set_many(entries, options, deadline) })
    }

    fn delete_many<'a>(
        &'a self,
        keys: &'a [&'a [u8]],
        deadline: Instant,
    ) -> BoxFuture<'a, Result<usize, Error>> {
        Box::pin(async move { self.0.delete_many(keys, deadline) })
    }

    fn contains<'a>(&'a self, key: &'a [u8], deadline: Instant) -> BoxFuture<'a, Result<bool, Error>> {
        Box::pin(async move { self.0.contains(key, deadline) })
    }

    fn touch<'a>(
        &'a self,
        key: &'a [u8],
        ttl: Option<Duration>,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<bool, Error>> {
        Box::pin(async move { self.0.touch(key, ttl, deadline) })
    }

    fn incr<'a>(
        &'a self,
        key: &'a [u8],
        by: i64,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<Option<i64>, Error>> {
        Box::pin(async move { self.0.incr(key, by, deadline) })
    }

    fn ttl<'a>(&'a self, key: &'a [u8], deadline: Instant) -> BoxFuture<'a, Result<Option<Duration>, Error>> {
        Box::pin(async move { self.0.ttl(key, deadline) })
    }

    fn max_value_len(&self) -> usize {
        self.0.max_value_len()
    }
}

/// Runs every case on a blocking backend that has no entries; "at once" means on eight threads.
pub fn blocking(backend: Arc<dyn Backend>) {
    let threads = tokio::runtime::Builder::new_multi_thread().worker_threads(8).enable_all().build();
    // Spawned, because the thread that calls `block_on` is none of the eight.
    let suite = asynchronous(Arc::new(Ready(backend)));
    threads.unwrap().block_on(async { tokio::spawn(suite).await.unwrap() });
}

/// Runs every case on an async backend that has no entries.
pub async fn asynchronous(backend: Arc<dyn AsyncBackend>) {
    let store = Store(backend);
    let aging = Aging::start(&store).await;
    what_is_set_is_read_until_deleted(&store).await;
    the_last_set_counts(&store).await;
    add_stores_only_what_is_missing(&store).await;
    compare_and_set_stores_only_over_the_same_bytes(&store).await;
    get_many_keeps_the_order(&store).await;
    many_are_set_and_deleted(&store).await;
    contains_sees_what_is_there(&store).await;
    touch_changes_the_lifetime(&store).await;
    numbers_are_counted(&store).await;
    only_numbers_are_counted(&store).await;
    no_increment_is_lost(&store).await;
    keys_and_values_are_any_bytes(&store).await;
    long_keys_differ_to_the_last_byte(&store).await;
    values_may_be_empty_and_long(&store).await;
    calls_at_once_keep_apart(&store).await;
    one_of_many_adds_wins(&store).await;
    one_of_many_replacements_wins(&store).await;
    no_replacement_is_lost(&store).await;
    a_passed_deadline_is_a_timeout(&store).await;
    aging.end(&store).await;
}

/// The backend with a generous deadline, where every error fails the test.
#[derive(Clone)]
struct Store(Arc<dyn AsyncBackend>);

impl Store {
    async fn get(&self, key: &[u8]) -> Option<Bytes> {
        self.0.get(key, soon()).await.unwrap()
    }

    async fn get_many(&self, keys: &[&[u8]]) -> Vec<Option<Bytes>> {
        self.0.get_many(keys, soon()).await.unwrap()
    }

    async fn set(&self, key: &[u8], value: impl Into<Bytes>) {
        self.set_for(key, value, None).await;
    }

    async fn set_for(&self, key: &[u8], value: impl Into<Bytes>, ttl: impl Into<Option<Duration>>) {
        self.0.set(key, value.into(), SetOptions::new().ttl(ttl), soon()).await.unwrap();
    }

    async fn add(&self, key: &[u8], value: impl Into<Bytes>) -> bool {
        self.0.add(key, value.into(), SetOptions::new(), soon()).await.unwrap()
    }

    async fn compare_and_set(&self, key: &[u8], old: &[u8], new: impl Into<Bytes>) -> bool {
        self.0.compare_and_set(key, old, new.into(), SetOptions::new(), soon()).await.unwrap()
    }

    async fn delete(&self, key: &[u8]) -> bool {
        self.0.delete(key, soon()).await.unwrap()
    }

    async fn set_many(&self, entries: &[(&[u8], Bytes)]) {
        let results = self.0.set_many(entries, SetOptions::new(), soon()).await.unwrap();
        assert_eq!(results.len(), entries.len());
        results.into_iter().for_each(Result::unwrap);
    }

    async fn delete_many(&self, keys: &[&[u8]]) -> usize {
        self.0.delete_many(keys, soon()).await.unwrap()
    }

    async fn contains(&self, key: &[u8]) -> bool {
        self.0.contains(key, soon()).await.unwrap()
    }

    async fn touch(&self, key: &[u8], ttl: impl Into<Option<Duration>>) -> bool {
        self.0.touch(key, ttl.into(), soon()).await.unwrap()
    }

    async fn incr(&self, key: &[u8], by: i64) -> Option<i64> {
        self.0.incr(key, by, soon()).await.unwrap()
    }

    async fn ttl(&self, key: &[u8]) -> Option<Duration> {
        self.0.ttl(key, soon()).await.unwrap()
    }
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(10)
}

async fn what_is_set_is_read_until_deleted(store: &Store) {
    assert_eq!(store.get(b"plain").await, None);
    store.set(b"plain", "value").await;
    assert_eq!(store.get(b"plain").await.as_deref(), Some(&b"value"[..]));
    assert!(store.delete(b"plain").await);
    assert_eq!(store.get(b"plain").await, None);
    assert!(!store.delete(b"plain").await);
}

async fn the_last_set_counts(store: &Store) {
    for value in ["a long first value", "short", ""] {
        store.set(b"overwritten", value).await;
        assert_eq!(store.get(b"overwritten").await.unwrap(), value);
    }
}

async fn add_stores_only_what_is_missing(store: &Store) {
    assert!(store.add(b"added", "first").await);
    assert!(!store.add(b"added", "second").await);
    assert!(!store.add(b"added", "first").await, "the same value is there, and not by this call");
    assert_eq!(store.get(b"added").await.unwrap(), "first");
    assert!(store.delete(b"added").await);
    assert!(store.add(b"added", "third").await);
    assert_eq!(store.get(b"added").await.unwrap(), "third");
    store.set(b"added-empty", "").await;
    assert!(!store.add(b"added-empty", "full").await, "an empty value is a value");
}

async fn compare_and_set_stores_only_over_the_same_bytes(store: &Store) {
    assert!(!store.compare_and_set(b"replaced", b"", "first").await, "nothing is not an empty value");
    assert_eq!(store.get(b"replaced").await, None);
    let all: Vec<u8> = (0..=255).collect();
    store.set(b"replaced", all.clone()).await;
    for other in [&all[1..], &all[..255], b"", b"first", &[&all[..], b"\0"].concat()] {
        assert!(!store.compare_and_set(b"replaced", other, "second").await);
        assert_eq!(store.get(b"replaced").await.unwrap(), all);
    }
    assert!(store.compare_and_set(b"replaced", &all, "").await);
    assert_eq!(store.get(b"replaced").await.unwrap(), "");
    assert!(store.compare_and_set(b"replaced", b"", "third").await, "an empty value is a value");
    assert!(store.compare_and_set(b"replaced", b"third", "third").await);
    assert_eq!(store.get(b"replaced").await.unwrap(), "third");
    assert!(store.delete(b"replaced").await);
    assert!(!store.compare_and_set(b"replaced", b"third", "fourth").await);
    assert_eq!(store.get(b"replaced").await, None);
    store.set(b"replaced another", "other").await;
    assert!(!store.compare_and_set(b"replaced", b"other", "fifth").await);
}

async fn get_many_keeps_the_order(store: &Store) {
    assert!(store.get_many(&[]).await.is_empty());
    for name in ["a", "b", "c"] {
        store.set(format!("many-{name}").as_bytes(), name).await;
    }
    let keys: [&[u8]; 6] = [b"many-c", b"many-none", b"many-a", b"many-c", b"many-b", b"many-none"];
    let values = store.get_many(&keys).await;
    let values: Vec<_> = values.iter().map(Option::as_deref).collect();
    assert_eq!(values, [Some(&b"c"[..]), None, Some(b"a"), Some(b"c"), Some(b"b"), None]);

    let keys: Vec<_> = (0..1000).map(|n| format!("many-{n}")).collect();
    for key in keys.iter().step_by(7) {
        store.set(key.as_bytes(), key.clone()).await;
    }
    let values = store.get_many(&keys.iter().map(String::as_bytes).collect::<Vec<_>>()).await;
    assert_eq!(values.len(), keys.len());
    for (index, (key, value)) in keys.iter().zip(values).enumerate() {
        let expected = (index % 7 == 0).then_some(key.as_bytes());
        assert_eq!(value.as_deref(), expected, "{key}");
    }
}

async fn many_are_set_and_deleted(store: &Store) {
    store.set_many(&[]).await;
    assert_eq!(store.delete_many(&[]).await, 0);
    store.set(b"lots-other", "other").await;
    let keys: Vec<_> = (0..1000).map(|n| format!("lots-{n}")).collect();
    let keys: Vec<_> = keys.iter().map(String::as_bytes).collect();
    let entries: Vec<_> = keys.iter().map(|key| (*key, Bytes::copy_from_slice(key))).collect();
    store.set_many(&entries).await;
    for (key, value) in keys.iter().zip(store.get_many(&keys).await) {
        assert_eq!(value.as_deref(), Some(*key));
    }
    store.set_many(&[(b"lots-1", "new".into()), (b"lots-1", "newer".into())]).await;
    assert_eq!(store.get(b"lots-1").await.unwrap(), "newer");
    assert_eq!(store.delete_many(&[b"lots-1", b"lots-none", b"lots-2"]).await, 2);
    assert_eq!(store.get_many(&[b"lots-1", b"lots-2"]).await, [None, None]);
    assert_eq!(store.delete_many(&keys).await, 998);
    assert_eq!(store.get(b"lots-other").await.unwrap(), "other");
}

async fn contains_sees_what_is_there(store: &Store) {
    for key in [&b"seen"[..], b"seen, with a space"] {
        assert!(!store.contains(key).await);
        store.set(key, "").await;
        assert!(store.contains(key).await);
        store.delete(key).await;
        assert!(!store.contains(key).await);
    }
}

async fn touch_changes_the_lifetime(store: &Store) {
    let (minute, hour) = (Duration::from_secs(60), Duration::from_secs(3600));
    // Memcached rounds up, and its clock may be about to tick.
    let is_about = |left: Option<Duration>, ttl: Duration| {
        left.is_some_and(|left| left <= ttl + Duration::from_secs(2) && left + Duration::from_secs(9) > ttl)
    };
    assert!(!store.touch(b"touched", minute).await && !store.touch(b"touched", None).await);
    assert_eq!(store.ttl(b"touched").await, None);
    for (value, sum) in [("value", None), ("-7", Some(-6))] {
        store.set_for(b"touched", value, hour).await;
        assert!(is_about(store.ttl(b"touched").await, hour));
        assert!(store.touch(b"touched", minute).await);
        assert!(is_about(store.ttl(b"touched").await, minute));
        if let Some(sum) = sum {
            assert_eq!(store.incr(b"touched", 1).await, Some(sum));
            assert!(is_about(store.ttl(b"touched").await, minute), "the lifetime stays");
            store.incr(b"touched", -1).await;
        }
        assert!(store.touch(b"touched", Duration::MAX).await);
        assert!(store.ttl(b"touched").await.unwrap() > 100 * hour);
        for _ in 0..2 {
            assert!(store.touch(b"touched", None).await, "also if it stays anyway");
            assert_eq!(store.ttl(b"touched").await, Some(Duration::MAX));
        }
        assert_eq!(store.get(b"touched").await.unwrap(), value);
    }
}

async fn numbers_are_counted(store: &Store) {
    assert_eq!(store.incr(b"number", 1).await, None);
    assert!(!store.contains(b"number").await, "nothing is created");
    store.set(b"number", "41").await;
    let sums = [(1, 42), (10, 52), (-10, 42), (-42, 0), (-1, -1), (0, -1), (-9_999, -10_000), (10_001, 1)];
    for (by, sum) in sums {
        assert_eq!(store.incr(b"number", by).await, Some(sum), "{by}");
        assert_eq!(store.get(b"number").await.unwrap(), sum.to_string());
        assert_eq!(store.get_many(&[b"number"]).await, [Some(sum.to_string().into())]);
    }
    assert!(store.compare_and_set(b"number", b"1", "5").await);
    assert_eq!(store.incr(b"number", 1).await, Some(6));
    for (start, by, end) in [(i64::MAX, i64::MIN, -1), (i64::MIN, i64::MAX, -1), (-1, i64::MIN + 1, i64::MIN)]
    {
        store.set(b"number", start.to_string()).await;
        assert_eq!(store.incr(b"number", by).await, Some(end), "{start} + {by}");
    }
    for (start, by) in [(i64::MAX, 1), (i64::MIN, -1), (-1, i64::MIN), (1, i64::MAX)] {
        store.set(b"number", start.to_string()).await;
        let error = store.0.incr(b"number", by, soon()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotANumber, "{error}");
        assert_eq!(store.get(b"number").await.unwrap(), start.to_string(), "it is as it was");
    }
}

async fn only_numbers_are_counted(store: &Store) {
    let too_large = (i128::from(i64::MAX) + 1).to_string();
    let values = ["", "text", "1.5", " 1", "1 ", "+1", "007", "-0", "0x1", "1\n", &too_large];
    for value in values {
        store.set(b"no number", value.to_owned()).await;
        let error = store.0.incr(b"no number", 1, soon()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotANumber, "{value:?}: {error}");
        assert_eq!(store.get(b"no number").await.unwrap(), value);
    }
}

async fn no_increment_is_lost(store: &Store) {
    store.set(b"incremented", "0").await;
    let mut tasks = JoinSet::new();
    for _ in 0..8 {
        let store = store.clone();
        tasks.spawn(async move {
            for _ in 0..50 {
                store.incr(b"incremented", 3).await.unwrap();
                store.incr(b"incremented", -2).await.unwrap();
            }
        });
    }
    assert_eq!(tasks.join_all().await.len(), 8);
    assert_eq!(store.get(b"incremented").await.unwrap(), "400");
}

async fn keys_and_values_are_any_bytes(store: &Store) {
    let all: Vec<u8> = (0..=255).collect();
    let keys = [
        &b""[..],
        &all,
        b" ",
        b"a b",
        b"a  b",
        b"a",
        b"a\r\n",
        b"a\r\nmd a\r\n",
        b"\0",
        b"\0\0",
        b"~",
        b"\xff\xfe",
        "schlüssel".as_bytes(),
        &[b'k'; 250],
        &[b'k'; 251],
    ];
    for (index, key) in keys.iter().enumerate() {
        let value = [&all[..], b"\r\nEND\r\n", &[u8::try_from(index).unwrap()]].concat();
        store.set(key, value).await;
    }
    let values = store.get_many(&keys).await;
    for (index, (key, many)) in keys.iter().zip(values).enumerate() {
        let one = store.get(key).await.unwrap();
        assert_eq!(one, [&all[..], b"\r\nEND\r\n", &[u8::try_from(index).unwrap()]].concat(), "{key:?}");
        assert_eq!(many, Some(one), "{key:?}");
        assert!(store.delete(key).await, "{key:?}");
    }
}

async fn long_keys_differ_to_the_last_byte(store: &Store) {
    let key = |last: u8| [&vec![b'x'; (64 << 10) - 1][..], &[last]].concat();
    store.set(&key(b'1'), "one").await;
    assert_eq!(store.get(&key(b'2')).await, None);
    store.set(&key(b'2'), "two").await;
    assert_eq!(store.get(&key(b'1')).await.unwrap(), "one");
    assert_eq!(store.get(&key(b'2')).await.unwrap(), "two");
    assert!(store.delete(&key(b'1')).await);
    assert_eq!(store.get(&key(b'2')).await.unwrap(), "two");
}

async fn values_may_be_empty_and_long(store: &Store) {
    let max = store.0.max_value_len();
    let mut lengths = vec![0, 1, 8 << 10, (64 << 10) + 1, 1 << 20, (1 << 20) + 1, 3 << 20];
    if max < 16 << 20 {
        lengths.extend([max, max + 1]);
    }
    // The longest key that goes out as it is leaves the least room for the value.
    for (key, length) in lengths.into_iter().flat_map(|length| [([b'l'; 250], length), ([0; 250], length)]) {
        let value: Bytes = (0..=250).cycle().take(length).collect();
        let stored = store.0.set(&key, value.clone(), SetOptions::new(), soon()).await;
        if length <= max {
            stored.unwrap();
            assert!(store.get(&key).await.unwrap() == value, "{length} bytes came back as others");
        } else {
            assert_eq!(stored.unwrap_err().kind(), ErrorKind::TooLarge);
            let added = store.0.add(b"too-long", value.clone(), SetOptions::new(), soon()).await;
            assert_eq!(added.unwrap_err().kind(), ErrorKind::TooLarge);
            let too_long = value.clone();
            let replaced = store.0.compare_and_set(&key, b"", value, SetOptions::new(), soon()).await;
            assert_eq!(replaced.unwrap_err().kind(), ErrorKind::TooLarge);
            let many = store.0.set_many(&[(b"too-long", too_long)], SetOptions::new(), soon()).await;
            assert_eq!(many.unwrap_err().kind(), ErrorKind::TooLarge);
        }
    }
}

async fn calls_at_once_keep_apart(store: &Store) {
    let mut tasks = JoinSet::new();
    for task in 0..16_usize {
        let store = store.clone();
        tasks.spawn(async move {
            for round in 0..50 {
                let (key, value) =
                    (format!("task-{task}-{}", round % 5), format!("{task}:{round}").repeat(1 + task * 20));
                store.set(key.as_bytes(), value.clone()).await;
                assert_eq!(store.get(key.as_bytes()).await.unwrap(), value);
                let both = store.get_many(&[b"task-none", key.as_bytes()]).await;
                assert_eq!(both, [None, Some(value.into())]);
            }
        });
    }
    assert_eq!(tasks.join_all().await.len(), 16);
}

async fn one_of_many_adds_wins(store: &Store) {
    for round in 0..10 {
        let mut tasks = JoinSet::new();
        for task in 0..16 {
            let store = store.clone();
            tasks
                .spawn(async move { store.add(format!("race-{round}").as_bytes(), format!("{task}")).await });
        }
        let winners = tasks.join_all().await.into_iter().filter(|won| *won).count();
        assert_eq!(winners, 1);
    }
}

async fn one_of_many_replacements_wins(store: &Store) {
    for round in 0..10 {
        let key = format!("swap-{round}");
        store.set(key.as_bytes(), "old").await;
        let mut tasks = JoinSet::new();
        for task in 0..16 {
            let (store, key) = (store.clone(), key.clone());
            tasks.spawn(async move {
                let new = format!("{task}");
                store.compare_and_set(key.as_bytes(), b"old", new.clone()).await.then_some(new)
            });
        }
        let winners: Vec<_> = tasks.join_all().await.into_iter().flatten().collect();
        assert_eq!(winners.len(), 1);
        assert_eq!(store.get(key.as_bytes()).await.unwrap(), winners[0]);
    }
}

/// Each of many counts by itself, again whenever another was faster.
async fn no_replacement_is_lost(store: &Store) {
    store.set(b"counted", "0").await;
    let mut tasks = JoinSet::new();
    for _ in 0..8 {
        let store = store.clone();
        tasks.spawn(async move {
            for _ in 0..10 {
                loop {
                    let old = store.get(b"counted").await.unwrap();
                    let count: u32 = std::str::from_utf8(&old).unwrap().parse().unwrap();
                    if store.compare_and_set(b"counted", &old, (count + 1).to_string()).await {
                        break;
                    }
                }
            }
        });
    }
    assert_eq!(tasks.join_all().await.len(), 8);
    assert_eq!(store.get(b"counted").await.unwrap(), "80");
}

async fn a_passed_deadline_is_a_timeout(store: &Store) {
    store.set(b"late", "value").await;
    let (backend, late) = (&store.0, Instant::now());
    let errors = [
        backend.get(b"late", late).await.unwrap_err(),
        backend.get_many(&[b"late"], late).await.unwrap_err(),
        backend.set(b"late", "other".into(), SetOptions::new(), late).await.unwrap_err(),
        backend.add(b"later", "other".into(), SetOptions::new(), late).await.unwrap_err(),
        backend
            .compare_and_set(b"late", b"value", "other".into(), SetOptions::new(), late)
            .await
            .unwrap_err(),
        backend.delete(b"late", late).await.unwrap_err(),
        backend.set_many(&[(b"late", "other".into())], SetOptions::new(), late).await.unwrap_err(),
        backend.delete_many(&[b"late"], late).await.unwrap_err(),
        backend.contains(b"late", late).await.unwrap_err(),
        backend.touch(b"late", None, late).await.unwrap_err(),
        backend.incr(b"late", 1, late).await.unwrap_err(),
        backend.ttl(b"late", late).await.unwrap_err(),
    ];
    assert_eq!(errors.map(|error| error.kind()), [ErrorKind::Timeout; 12]);
    assert_eq!(store.get(b"late").await.unwrap(), "value");
}

/// Entries with lifetimes, which run out while the other cases are at work.
struct Aging {
    start: Instant,
}

const TTL: Duration = Duration::from_millis(1500);
/// The lifetime, rounded up to whole seconds, and two more.
const GONE: Duration = Duration::from_secs(4);

impl Aging {
    async fn start(store: &Store) -> Self {
        store.set_for(b"age-month", "kept", Duration::from_secs(31 * 86_400)).await;
        store.set_for(b"age-longest", "kept", Duration::MAX).await;
        store.set_for(b"age-none", "kept", None).await;
        store.set_for(b"age-replaced", "short", TTL).await;
        store.set_for(b"age-replaced", "kept", None).await;
        store.set_for(b"age-shortest", "gone", Duration::from_nanos(1)).await;
        store.set_for(b"age-touched", "gone", None).await;
        assert!(store.touch(b"age-touched", Duration::from_nanos(1)).await);
        store.set_for(b"age-counted", "1", Duration::from_millis(1)).await;
        let _may_be_gone = store.incr(b"age-counted", 1).await;
        store.set_for(b"age-kept", "kept", TTL).await;
        assert!(store.touch(b"age-kept", Duration::from_secs(60)).await);
        let many = [(&b"age-many"[..], Bytes::from("gone"))];
        store.0.set_many(&many, SetOptions::new().ttl(TTL), soon()).await.unwrap();
        store.set_for(b"age-set", "gone", TTL).await;
        let start = Instant::now();
        assert!(store.0.add(b"age-added", "gone".into(), SetOptions::new().ttl(TTL), soon()).await.unwrap());
        store.set_for(b"age-replacing", "old", None).await;
        let replaced = store
            .0
            .compare_and_set(b"age-replacing", b"old", "gone".into(), SetOptions::new().ttl(TTL), soon())
            .await;
        assert!(replaced.unwrap());
        store.set_for(b"age-renewed", "short", TTL).await;
        assert!(store.compare_and_set(b"age-renewed", b"short", "kept").await);
        // Memcached's clock ticks once a second: early in a second, and late in one.
        for half in 0..2 {
            assert_eq!(store.get(b"age-set").await.unwrap(), "gone", "half {half} of the lifetime");
            assert_eq!(store.get(b"age-added").await.unwrap(), "gone", "half {half} of the lifetime");
            assert_eq!(store.get(b"age-replacing").await.unwrap(), "gone", "half {half} of the lifetime");
            sleep(TTL / 2).await;
        }
        Self { start }
    }

    async fn end(&self, store: &Store) {
        for key in [
            &b"age-set"[..],
            b"age-added",
            b"age-shortest",
            b"age-replacing",
            b"age-touched",
            b"age-counted",
            b"age-many",
        ] {
            while store.get(key).await.is_some() {
                assert!(self.start.elapsed() < GONE, "{} is still there", String::from_utf8_lossy(key));
                sleep(Duration::from_millis(20)).await;
            }
        }
        assert!(
            !store.compare_and_set(b"age-replacing", b"gone", "anew").await,
            "what has run out is not there"
        );
        assert!(!store.contains(b"age-set").await && !store.delete(b"age-set").await);
        assert!(!store.touch(b"age-many", None).await && store.incr(b"age-counted", 1).await.is_none());
        assert!(store.add(b"age-added", "anew").await, "what has run out is not in the way");
        for key in
            [&b"age-month"[..], b"age-longest", b"age-none", b"age-replaced", b"age-renewed", b"age-kept"]
        {
            assert_eq!(store.get(key).await.unwrap(), "kept", "{}", String::from_utf8_lossy(key));
        }
    }
}
