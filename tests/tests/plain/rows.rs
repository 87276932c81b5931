//! The behaviors, written once for both kinds of cache: `$wait` is `.await` or nothing, and `$make` begins a body.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use cache_runtime::testing::Scope;
use cache_runtime::{AsyncCache, Cache, Config, ErrorKind};
use serde::{Deserialize, Serialize};

const MINUTE: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_secs(1);
/// Memcached keeps an entry up to two seconds longer.
const GONE: Duration = Duration::from_millis(3_100);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Model {
    id: u32,
    name: String,
}

/// What can't be encoded.
#[derive(Debug, Serialize, Deserialize)]
struct Shifting {
    #[serde(skip_serializing_if = "Option::is_none")]
    first: Option<u8>,
    second: Option<u8>,
}

macro_rules! rows {
    ($name:ident, $cache:ty, [$($wait:tt)*], [$($make:tt)*]) => {
        pub(crate) async fn $name(scope: &Scope, url: &str, has_real_time: bool) {
            let cache = <$cache>::from_url(url).unwrap();
            macro_rules! get {
                ($key:expr, $ty:ty) => { cache.get::<$ty>($key)$($wait)*.unwrap() };
                ($in:ident, $key:expr, $ty:ty) => { $in.get::<$ty>($key)$($wait)*.unwrap() };
            }

            // simple, simple.str, non_existent, non_existent.default, default_none, overwrite
            cache.set("key", "value", None)$($wait)*.unwrap();
            assert_eq!(get!("key", String).as_deref(), Some("value"));
            assert_eq!(get!("does not exist", String), None);
            assert_eq!(get!("does not exist", String).unwrap_or("bang".into()), "bang");
            cache.set("none", &None::<u8>, None)$($wait)*.unwrap();
            assert_eq!(get!("none", Option<u8>), Some(None));
            cache.set("key", &vec![1_u8, 2], None)$($wait)*.unwrap();
            assert_eq!(get!("key", Vec<u8>), Some(vec![1, 2]));
            assert_eq!(get!("key", String), None, "another type is a miss");

            // add.*: new, taken, none_timeout, long_timeout, zero, unicode, binary, unpicklable
            assert!(cache.add("added", "first", None)$($wait)*.unwrap());
            assert!(!cache.add("added", "second", None)$($wait)*.unwrap());
            assert_eq!(get!("added", String).as_deref(), Some("first"));
            assert!(cache.add("added long", &1_u8, Duration::from_secs(31 * 86_400))$($wait)*.unwrap());
            assert_eq!(get!("added long", u8), Some(1));
            assert!(cache.add("added zero", &1_u8, Duration::ZERO)$($wait)*.unwrap());
            assert!(!cache.add("added", &1_u8, Duration::ZERO)$($wait)*.unwrap());
            assert_eq!((get!("added zero", u8), get!("added", String).as_deref()), (None, Some("first")));
            assert!(cache.add("ключ ☃", "Iñtërnâtiônàlizætiøn", None)$($wait)*.unwrap());
            assert_eq!(get!("ключ ☃", String).as_deref(), Some("Iñtërnâtiônàlizætiøn"));
            assert!(cache.add("added bytes", &b"\0\xff"[..], None)$($wait)*.unwrap());
            assert_eq!(get!("added bytes", Vec<u8>), Some(vec![0, 255]));
            let shifting = Shifting { first: None, second: Some(1) };
            assert_eq!(cache.add("odd", &shifting, None)$($wait)*.unwrap_err().kind(), ErrorKind::Encode);

            // delete, delete_nonexistent
            cache.set("a", "1", None)$($wait)*.unwrap();
            cache.set("b", "2", None)$($wait)*.unwrap();
            assert!(cache.delete("a")$($wait)*.unwrap() && !cache.delete("a")$($wait)*.unwrap());
            assert_eq!((get!("a", String), get!("b", String).as_deref()), (None, Some("2")));

            // has_key, has_key.untyped, has_key.null, has_key.no_expiry, in
            for (key, is_there) in [("b", true), ("none", true), ("added", true), ("a", false)] {
                assert_eq!(cache.contains(key)$($wait)*.unwrap(), is_there, "{key}");
            }

            // incr.*, decr.*, redis.int_plain
            cache.set("n", &41_i64, MINUTE)$($wait)*.unwrap();
            for (by, sum) in [(1, 42), (10, 52), (-10, 42), (-1, 41), (10, 51), (-52, -1), (0, -1)] {
                assert_eq!(cache.incr("n", by)$($wait)*.unwrap(), Some(sum));
                assert_eq!(get!("n", i64), Some(sum));
            }
            let left = cache.ttl("n")$($wait)*.unwrap().unwrap();
            assert!(left > MINUTE / 2 && left < 2 * MINUTE, "the lifetime stays: {left:?}");
            assert_eq!(cache.incr("missing", 1)$($wait)*.unwrap(), None);
            assert_eq!(cache.incr("missing", -1)$($wait)*.unwrap(), None);
            assert!(!cache.contains("missing")$($wait)*.unwrap(), "nothing is created");
            cache.set("n32", &1_i32, None)$($wait)*.unwrap();
            for key in ["b", "n32"] {
                assert_eq!(cache.incr(key, 1)$($wait)*.unwrap_err().kind(), ErrorKind::NotANumber);
            }
            cache.set("end", &i64::MAX, None)$($wait)*.unwrap();
            assert_eq!(cache.incr("end", 1)$($wait)*.unwrap_err().kind(), ErrorKind::NotANumber);
            assert_eq!(get!("end", i64), Some(i64::MAX));
            assert!(cache.add("counter", &0_i64, None)$($wait)*.unwrap());
            assert_eq!(cache.incr("counter", 1)$($wait)*.unwrap(), Some(1));
            assert_eq!(get!("n", u8), None, "a number is read as the type it was stored as");

            // touch.missing, touch.forever, touch.zero, expire_at, persist, ttl
            assert!(!cache.touch("missing", MINUTE)$($wait)*.unwrap());
            assert!(!cache.persist("missing")$($wait)*.unwrap());
            assert_eq!(cache.ttl("missing")$($wait)*.unwrap(), None);
            cache.set("touched", "x", MINUTE)$($wait)*.unwrap();
            assert!(cache.persist("touched")$($wait)*.unwrap());
            assert_eq!(cache.ttl("touched")$($wait)*.unwrap(), Some(Duration::MAX));
            assert!(cache.touch("touched", None)$($wait)*.unwrap());
            assert_eq!(cache.ttl("touched")$($wait)*.unwrap(), Some(Duration::MAX), "no default");
            assert!(cache.expire_at("touched", SystemTime::now() + 10 * MINUTE)$($wait)*.unwrap());
            assert!(cache.ttl("touched")$($wait)*.unwrap().unwrap() < 11 * MINUTE);
            assert!(cache.touch("touched", Duration::ZERO)$($wait)*.unwrap());
            assert_eq!(get!("touched", String), None);
            cache.set("touched", "x", MINUTE)$($wait)*.unwrap();
            assert!(cache.expire_at("touched", SystemTime::UNIX_EPOCH)$($wait)*.unwrap());
            assert_eq!(get!("touched", String), None);

            // get_many.present, get_many.iterator, get_many.none
            let many = cache.get_many::<String>(["b", "missing", "added", "n32"])$($wait)*.unwrap();
            assert_eq!(many, HashMap::from([("b", "2".to_owned()), ("added", "first".to_owned())]));
            assert!(cache.get_many::<u8>([])$($wait)*.unwrap().is_empty());
            let none = cache.get_many::<Option<u8>>(["none", "missing"])$($wait)*.unwrap();
            assert_eq!(none, HashMap::from([("none", None)]));

            // set_many.*, delete_many.*
            cache.set_many([("m1", "one"), ("m2", "two")], None)$($wait)*.unwrap();
            assert_eq!(get!("m2", String).as_deref(), Some("two"));
            cache.set_many::<str>([], None)$($wait)*.unwrap();
            cache.set_many([("c1", &1_i64), ("c2", &2)], MINUTE)$($wait)*.unwrap();
            assert_eq!(cache.incr("c2", 1)$($wait)*.unwrap(), Some(3));
            assert_eq!(cache.delete_many(["m1", "m2", "missing"])$($wait)*.unwrap(), 2);
            assert_eq!(cache.delete_many([])$($wait)*.unwrap(), 0);
            assert_eq!((get!("m1", String), get!("c1", i64)), (None, Some(1)));
            cache.set_many([("c1", &5_i64), ("c2", &5)], Duration::ZERO)$($wait)*.unwrap();
            assert!(!cache.contains("c1")$($wait)*.unwrap(), "zero deletes");
            let good = Shifting { first: Some(1), second: Some(1) };
            cache.set("bad", "old", None)$($wait)*.unwrap();
            let failed = cache.set_many([("good", &good), ("bad", &shifting)], None)$($wait)*.unwrap_err();
            assert!(failed.to_string().contains("`bad`") && !failed.to_string().contains("`good`"), "{failed}");
            let left = (cache.contains("good")$($wait)*.unwrap(), cache.contains("bad")$($wait)*.unwrap());
            assert_eq!(left, (true, false), "a failed set leaves nothing");

            // types, model.*, binary, unicode, unpicklable.*
            let dict = HashMap::from([("a".to_owned(), 1_u8)]);
            cache.set("dict", &dict, None)$($wait)*.unwrap();
            assert_eq!(get!("dict", HashMap<String, u8>), Some(dict));
            cache.set("tuple", &(1_u8, true, "x".to_owned(), 1.5_f64), None)$($wait)*.unwrap();
            assert_eq!(get!("tuple", (u8, bool, String, f64)), Some((1, true, "x".to_owned(), 1.5)));
            let model = Model { id: 1, name: "Ann".to_owned() };
            cache.set("model", &model, None)$($wait)*.unwrap();
            let again = get!("model", Model).unwrap();
            assert_eq!(again, model);
            cache.set("model again", &again, None)$($wait)*.unwrap();
            assert_eq!(get!("model again", Model), Some(model));
            cache.set("old", "old", None)$($wait)*.unwrap();
            let error = cache.set("old", &shifting, None)$($wait)*.unwrap_err();
            assert!(error.kind() == ErrorKind::Encode && error.to_string().contains("?codec="), "{error}");
            assert!(!cache.contains("old")$($wait)*.unwrap(), "a failed set leaves nothing");

            // long_timeout, longest_timeout, forever_timeout, zero_timeout, float_timeout
            let century = Duration::from_secs(100 * 365 * 86_400);
            for (index, ttl) in [Duration::from_secs(31 * 86_400), century, Duration::MAX].into_iter().enumerate() {
                cache.set(&format!("long {index}"), &1_u8, ttl)$($wait)*.unwrap();
                assert_eq!(get!(&format!("long {index}"), u8), Some(1));
            }
            cache.set("long 0", &2_u8, Duration::ZERO)$($wait)*.unwrap();
            assert_eq!(get!("long 0", u8), None);

            // key.chars, key.length
            for key in ["", " ", "a b\r\n\0", "中文", "a:b", "a/b", "%", &"k".repeat(251), &"k".repeat(5000)] {
                cache.set(key, key, None)$($wait)*.unwrap();
                assert_eq!(get!(key, String).as_deref(), Some(key));
                assert!(cache.delete(key)$($wait)*.unwrap());
            }

            // prefix, version.*
            let spaces = ["v1", "v2", "v1/x", "v1%2Fx", ""].map(|space| cache.within(space));
            let nested = cache.within("v1").within("x");
            for (n, space) in (0..).zip(spaces.iter().chain([&nested])) {
                assert!(space.add("key", &(n as i64), None)$($wait)*.unwrap(), "{n}");
                space.set_many([("s1", &n), ("s2", &(n + 1))], None)$($wait)*.unwrap();
            }
            for (n, space) in (0..).zip(spaces.iter().chain([&nested])) {
                assert_eq!(space.incr("key", 100)$($wait)*.unwrap(), Some(100 + n));
                assert_eq!(space.get_many::<i32>(["s1", "s2"])$($wait)*.unwrap()["s2"], n as i32 + 1);
            }
            let [one, two, ..] = &spaces;
            assert!(one.delete("key")$($wait)*.unwrap() && !one.contains("key")$($wait)*.unwrap());
            assert_eq!((get!(two, "key", i64), get!(nested, "key", i64)), (Some(101), Some(105)));
            assert_eq!(get!("key", Vec<u8>), Some(vec![1, 2]), "the outer space has its own");

            // clear: this space and those within it
            assert_eq!(one.get_or_set("made", None, $($make)* { 1_u8 })$($wait)*, 1);
            one.clear()$($wait)*.unwrap();
            assert_eq!((get!(one, "s1", i32), get!(nested, "key", i64)), (None, None));
            assert_eq!((get!(two, "key", i64), get!("b", String).as_deref()), (Some(101), Some("2")));
            assert!(!one.contains("s1")$($wait)*.unwrap() && one.incr("key", 1)$($wait)*.unwrap().is_none());
            assert!(one.add("s1", &7_i32, None)$($wait)*.unwrap(), "nothing is in the way");
            assert_eq!(get!(one, "s1", i32), Some(7));
            assert_eq!(one.get_or_set("made", None, $($make)* { 2_u8 })$($wait)*, 2);

            // gos, gos.none, gos.callable, gos.version, gos.overwrites, gos.race
            assert_eq!(cache.get_or_set("made", None, $($make)* { 1_u8 })$($wait)*, 1);
            assert_eq!(cache.get_or_set("made", None, $($make)* { 2_u8 })$($wait)*, 1);
            assert_eq!(two.get_or_set("made", None, $($make)* { 3_u8 })$($wait)*, 3);
            assert_eq!(cache.get_or_set("nothing", None, $($make)* { None::<u8> })$($wait)*, None);
            assert_eq!(cache.get_or_set("nothing", None, $($make)* { Some(1_u8) })$($wait)*, None);
            assert_eq!(cache.get_or_set("sum", None, $($make)* { 5_i64 })$($wait)*, 5);
            assert_eq!(cache.incr("sum", 1)$($wait)*.unwrap(), Some(6));
            assert_eq!(cache.get_or_set("sum", None, $($make)* { 9_i64 })$($wait)*, 6);
            let failed = cache.get_or_try_set("tried", None, $($make)* { Err::<u8, _>("no") })$($wait)*;
            assert_eq!((failed, cache.contains("tried")$($wait)*.unwrap()), (Err("no"), false));
            let body = $($make)* {
                cache.set("race", "newer", None)$($wait)*.unwrap();
                "older".to_owned()
            };
            assert_eq!(cache.get_or_set("race", None, body)$($wait)*, "newer", "and not its own");
            assert_eq!(get!("race", String).as_deref(), Some("newer"));
            let body = $($make)* {
                cache.delete("gone")$($wait)*.unwrap();
                "older".to_owned()
            };
            assert_eq!(cache.get_or_set("gone", None, body)$($wait)*, "older");
            assert_eq!(get!("gone", String), None, "deleted while it ran");
            cache.set("retyped", "text", None)$($wait)*.unwrap();
            assert_eq!(cache.get_or_set("retyped", None, $($make)* { 8_u8 })$($wait)*, 8);
            assert_eq!(get!("retyped", u8), Some(8), "an entry of another type is replaced");
            assert_eq!(cache.get_or_set("zero", Duration::ZERO, $($make)* { 1_u8 })$($wait)*, 1);
            assert_eq!(get!("zero", u8), None);

            // set_many.expiration, add.expired, delete.expired, touch.extends, expiration, incr.timeout
            cache.set_many([("e1", "x"), ("e2", "x"), ("e3", "x")], SHORT)$($wait)*.unwrap();
            cache.set("e4", &1_i64, SHORT)$($wait)*.unwrap();
            cache.set("e5", "x", Duration::from_millis(999))$($wait)*.unwrap();
            assert!(cache.add("e6", "x", SHORT)$($wait)*.unwrap());
            assert!(cache.touch("e3", MINUTE)$($wait)*.unwrap());
            assert_eq!(cache.incr("e4", 1)$($wait)*.unwrap(), Some(2));
            assert!(cache.contains("e1")$($wait)*.unwrap(), "not before its time");
            if has_real_time { tokio::time::sleep(GONE).await } else { scope.advance(GONE) }
            for key in ["e2", "e4", "e5"] {
                assert!(!cache.contains(key)$($wait)*.unwrap(), "{key} is still there");
            }
            assert!(!cache.delete("e1")$($wait)*.unwrap() && !cache.touch("e2", None)$($wait)*.unwrap());
            assert!(cache.add("e6", "anew", None)$($wait)*.unwrap());
            assert_eq!(cache.incr("e4", 1)$($wait)*.unwrap(), None);
            assert!(cache.contains("e3")$($wait)*.unwrap(), "touched");

            // default_timeout, default_timeout.year, default_timeout.none, touch.default
            let separator = if url.contains('?') { '&' } else { '?' };
            let day = <$cache>::from_url(&format!("{url}{separator}ttl=1d")).unwrap();
            day.set("default", "x", None)$($wait)*.unwrap();
            let is_about_a_day = |left: Option<Duration>| {
                left.is_some_and(|left| left > 1000 * MINUTE && left <= 1441 * MINUTE)
            };
            assert!(is_about_a_day(day.ttl("default")$($wait)*.unwrap()));
            day.set("default", "x", Duration::MAX)$($wait)*.unwrap();
            assert_eq!(day.ttl("default")$($wait)*.unwrap(), Some(Duration::MAX));
            assert!(day.touch("default", None)$($wait)*.unwrap());
            assert!(is_about_a_day(day.ttl("default")$($wait)*.unwrap()));
        }
    };
}

rows!(blocking, Cache, [], [||]);
rows!(asynchronous, AsyncCache, [.await], [async]);

/// Runs the rows of both kinds of cache on the backend at `url`.
pub(crate) fn on(config: Config, url: &str, has_real_time: bool) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let scope = Scope::with_config(config).unwrap();
    let prefixed = |prefix: &str| format!("{url}?timeout=10s&prefix={prefix}");
    runtime.block_on(scope.run(blocking(&scope, &prefixed("blocking:"), has_real_time)));
    runtime.block_on(scope.run(asynchronous(&scope, &prefixed("async:"), has_real_time)));
}
