//! What MIGRATING.md tells people to write, compiled and run. Each snippet in it occurs here, which the last test checks.

#![cfg(feature = "servers")]

use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cache_runtime::Cache;
use cache_runtime::Origin;
use cache_runtime::cached;
use cache_runtime::testing::Scope;
use serde::{Deserialize, Serialize};

type Done = Result<(), Box<dyn std::error::Error>>;

/// Runs on memory, with no entries and a clock that stands still.
fn in_scope(test: impl FnOnce(&Scope) -> Done) {
    let scope = Scope::new();
    let _entered = scope.enter();
    test(&scope).unwrap();
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct User {
    id: u64,
}

#[derive(Debug, Clone, PartialEq)]
struct DbError;

impl std::fmt::Display for DbError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("no such row")
    }
}

impl std::error::Error for DbError {}

struct Db;

impl Db {
    fn user(&self, id: u64) -> Result<User, DbError> {
        if id == 0 { Err(DbError) } else { Ok(User { id }) }
    }

    fn price(&self, id: u64) -> Result<u64, DbError> {
        self.user(id).map(|user| user.id * 100)
    }
}

mod options {
    use super::*;

    #[cached(capacity = 100)]
    fn bounded(id: u64) -> u64 {
        id
    }

    #[cached(capacity = "unbounded")]
    fn wide(id: u64) -> u64 {
        id
    }

    #[test]
    fn bounds() {
        in_scope(|_| {
            for _ in 0..2 {
                assert_eq!((bounded(1), wide(2)), (1, 2));
            }
            assert_eq!((bounded::stats().hits, wide::stats().hits), (1, 1));
            Ok(())
        });
    }

    #[cached(ttl = 60)]
    fn for_a_minute(id: u64) -> u64 {
        id
    }

    #[cached(ttl = "250ms")]
    fn briefly(id: u64) -> u64 {
        id
    }

    #[derive(Clone)]
    struct Token {
        valid_for: Duration,
    }

    #[cached(ttl = |token| token.valid_for)]
    fn token(secs: u64) -> Result<Token, DbError> {
        Ok(Token { valid_for: Duration::from_secs(secs) })
    }

    fn lifetime() -> Duration {
        Duration::from_secs(60)
    }

    #[cached(ttl = lifetime())]
    fn configured(id: u64) -> u64 {
        id
    }

    #[test]
    fn lifetimes() {
        in_scope(|scope| {
            let call = || {
                for_a_minute(1);
                briefly(1);
                configured(1);
                token(60).map(drop)
            };
            let runs = || {
                [for_a_minute::stats(), briefly::stats(), configured::stats(), token::stats()]
                    .map(|stats| stats.runs)
            };
            call()?;
            scope.advance(Duration::from_millis(251));
            call()?;
            assert_eq!(runs(), [1, 2, 1, 1]);
            scope.advance(Duration::from_secs(60));
            call()?;
            assert_eq!(runs(), [2, 3, 2, 2]);
            Ok(())
        });
    }

    #[cached(idle = 60)]
    fn renewed(id: u64) -> u64 {
        id
    }

    #[cached]
    fn user(id: u64) -> u64 {
        id
    }

    fn user_or_new(id: u64, now: bool) -> u64 {
        if now { user::refresh(id) } else { user(id) }
    }

    #[test]
    fn renewal() {
        in_scope(|_| {
            renewed(1);
            user_or_new(1, false);
            user_or_new(1, false);
            user_or_new(1, true);
            assert_eq!((renewed::stats().runs, user::stats().runs, user::stats().hits), (1, 2, 1));
            Ok(())
        });
    }

    struct Request {
        tenant: u32,
        trace: u64,
    }

    #[cached(key = (request.tenant, page))]
    fn listing(request: &Request, page: u32) -> u64 {
        request.trace + u64::from(page)
    }

    #[cached(skip(db))]
    fn loaded(db: &Db, id: u64) -> Result<User, DbError> {
        db.user(id)
    }

    #[cached(key = ())]
    fn once(seed: u64) -> u64 {
        seed
    }

    #[cached]
    fn parse<T: FromStr + Clone + Send + Sync + 'static>(text: &str) -> Option<T> {
        text.parse().ok()
    }

    #[test]
    fn keys() {
        in_scope(|_| {
            assert_eq!(listing(&Request { tenant: 1, trace: 5 }, 2), 7);
            assert_eq!(listing(&Request { tenant: 1, trace: 6 }, 2), 7);
            assert_eq!(loaded(&Db, 7)?, loaded(&Db, 7)?);
            assert_eq!(loaded::stats().runs, 1);
            assert_eq!((once(1), once(2), once::stats().runs), (1, 1, 1));
            assert_eq!((parse::<u8>("7"), parse::<f64>("7")), (Some(7), Some(7.0)));
            Ok(())
        });
    }

    #[cached(cache_none = true, negative_ttl = 5)]
    fn found(id: u64) -> Result<Option<u64>, DbError> {
        Ok((id != 0).then_some(id))
    }

    #[cached]
    fn found_by_default(id: u64) -> Result<Option<u64>, DbError> {
        Ok((id != 0).then_some(id))
    }

    #[test]
    fn none_is_stored_only_on_request() {
        in_scope(|scope| {
            for _ in 0..2 {
                assert_eq!((found(0)?, found_by_default(0)?), (None, None));
            }
            assert_eq!((found::stats().runs, found_by_default::stats().runs), (1, 2));
            assert_eq!((found_by_default::stats().misses, found_by_default::stats().stores), (2, 0));
            scope.advance(Duration::from_secs(5));
            found(0)?;
            assert_eq!(found::stats().runs, 2);
            Ok(())
        });
    }

    static IS_DOWN: AtomicBool = AtomicBool::new(false);

    #[cached(ttl = 60, on_error = "1h")]
    fn rate(currency: &str) -> Result<usize, DbError> {
        if IS_DOWN.load(Ordering::Relaxed) { Err(DbError) } else { Ok(currency.len()) }
    }

    #[test]
    fn an_old_value_while_the_body_fails() {
        in_scope(|scope| {
            rate("EUR")?;
            IS_DOWN.store(true, Ordering::Relaxed);
            scope.advance(Duration::from_secs(61));
            assert_eq!((rate("EUR"), rate::uncached("EUR")), (Ok(3), Err(DbError)));
            scope.advance(Duration::from_secs(3_600));
            assert_eq!(rate("EUR"), Err(DbError));
            Ok(())
        });
    }

    #[cached(capacity = 100, ttl = 60)]
    fn both(id: u64) -> u64 {
        id
    }

    #[cached(companions = users)]
    fn named(id: u64) -> u64 {
        id
    }

    #[cached(companions = false)]
    fn alone(id: u64) -> u64 {
        id
    }

    struct Service;

    impl Service {
        #[cached(skip(self))]
        fn user(&self, id: u64) -> u64 {
            id
        }
    }

    #[test]
    fn companions() {
        in_scope(|_| {
            assert_eq!(
                (both(1), named(1), alone(1), alone(1), Service.user(1), Service.user(1)),
                (1, 1, 1, 1, 1, 1)
            );
            assert_eq!((users::stats().runs, Service::user_stats().runs), (1, 1));
            Ok(())
        });
    }

    #[cached(backend = "sessions")]
    fn session(id: u64) -> u64 {
        id
    }

    #[cached(backend = "redis", ttl = 60)]
    fn remote(id: u64) -> u64 {
        id
    }

    #[cached(backend = "redis", namespace = "users")]
    fn prefixed(id: u64) -> u64 {
        id
    }

    #[cached(backend = "disk", ttl = "1d")]
    fn thumbnail(id: u64) -> u64 {
        id
    }

    #[cached(backend = "redis", ttl = 60, single_flight = "cluster")]
    fn led(id: u64) -> u64 {
        id
    }

    #[test]
    fn servers() {
        in_scope(|_| {
            for _ in 0..2 {
                assert_eq!((session(1), remote(1), prefixed(1), thumbnail(1), led(1)), (1, 1, 1, 1, 1));
            }
            for stats in
                [session::stats(), remote::stats(), prefixed::stats(), thumbnail::stats(), led::stats()]
            {
                assert_eq!((stats.runs, stats.hits), (1, 1), "{stats}");
            }
            assert!(prefixed::key(1).starts_with("users:"));
            Ok(())
        });
    }
}

mod calls {
    use super::*;

    #[cached]
    fn user(id: u64) -> u64 {
        id
    }

    #[test]
    fn companions_instead_of_a_static() {
        in_scope(|_| {
            assert_eq!(user::uncached(7), 7);
            let is_cached = user::peek(7)?.is_some();
            assert!(!is_cached);
            let (value, origin) = user::lookup(7);
            assert_eq!((value, origin), (7, Origin::Run));
            assert_eq!((user::refresh(7), user(7)), (7, 7));
            assert_eq!(user::peek(7)?, Some(7));
            let value = 8;
            user::insert(7, value)?;
            assert_eq!(user(7), 8);
            user::invalidate(7)?;
            assert_eq!(user::peek(7)?, None);
            user(7);
            user::clear()?;
            assert_eq!(user::peek(7)?, None);
            assert_eq!(user::stats().hits, 2);
            println!("{}", user::stats());
            Ok(())
        });
    }

    #[test]
    fn a_scope_starts_at_zero() {
        in_scope(|_| {
            user(7);
            let scope = Scope::new();
            let _entered = scope.enter();
            assert_eq!((user::stats().runs, user::peek(7)?), (0, None));
            Ok(())
        });
    }
}

mod moka {
    use super::*;

    struct Shop {
        tenant: u32,
        db: Db,
    }

    impl Shop {
        #[cached(key = (self.tenant, id), capacity = 10_000, ttl = "5m")]
        fn price(&self, id: u64) -> Result<u64, DbError> {
            self.db.price(id)
        }
    }

    const LIFETIME: Duration = Duration::from_secs(60);

    #[derive(Clone)]
    struct Offer {
        valid_for: Duration,
    }

    impl Shop {
        #[cached(skip(self), max_bytes = "64MiB")]
        fn page(&self, id: u64) -> String {
            id.to_string()
        }

        #[cached(skip(self), ttl = LIFETIME)]
        fn stock(&self, id: u64) -> u64 {
            id
        }

        #[cached(skip(self), ttl = |offer| offer.valid_for)]
        fn offer(&self, secs: u64) -> Offer {
            Offer { valid_for: Duration::from_secs(secs) }
        }

        #[cached(skip(self), idle = 60)]
        fn popular(&self, id: u64) -> u64 {
            id
        }
    }

    #[test]
    fn a_method_instead_of_a_field() {
        in_scope(|scope| {
            let [shop, other] = [1, 2].map(|tenant| Shop { tenant, db: Db });
            assert_eq!((shop.price(7)?, shop.price(7)?, other.price_peek(7)?), (700, 700, None));
            assert_eq!(shop.price_peek(7)?, Some(700));
            let cents = 650;
            shop.price_insert(7, cents)?;
            assert_eq!(shop.price(7)?, 650);
            shop.price_invalidate(7)?;
            assert_eq!(shop.price(7)?, 700);
            Shop::price_clear()?;
            assert_eq!(shop.price_peek(7)?, None);

            let all = || (shop.page(1), shop.stock(1), shop.offer(30).valid_for, shop.popular(1));
            assert_eq!(all(), all());
            scope.advance(Duration::from_secs(30));
            all();
            assert_eq!(
                (Shop::page_stats().runs, Shop::stock_stats().runs, Shop::offer_stats().runs),
                (1, 1, 2)
            );
            Ok(())
        });
    }
}

mod redis {
    use super::*;

    #[cached(backend = "redis", ttl = 60, skip(db))]
    fn user(db: &Db, id: u64) -> Result<User, DbError> {
        db.user(id)
    }

    #[test]
    fn a_function_instead_of_get_and_set() {
        in_scope(|scope| {
            assert_eq!(user(&Db, 7)?, user(&Db, 7)?);
            let value = User { id: 8 };
            user::insert(7, value)?;
            assert_eq!(user::peek(7)?, Some(User { id: 8 }));
            user::invalidate(7)?;
            assert_eq!(user(&Db, 7)?, User { id: 7 });
            scope.advance(Duration::from_secs(60));
            user(&Db, 7)?;
            user::clear()?;
            assert_eq!(user::peek(7)?, None);
            assert_eq!((user(&Db, 0), user::stats().runs), (Err(DbError), 4));
            Ok(())
        });
    }

    #[test]
    fn values_of_no_function() {
        in_scope(|_| {
            let cache = Cache::named("redis")?;
            cache.set("visits", &7_u64, Duration::from_secs(60))?;
            assert_eq!(cache.get::<u64>("visits")?, Some(7));
            assert!(cache.delete("visits")?);
            Ok(())
        });
    }
}

/// The code that the document tells people to write: what is in backquotes in the second cell of a row, and blocks.
fn snippets(document: &str) -> Vec<String> {
    let mut snippets = Vec::new();
    for row in document.lines().filter(|line| line.starts_with("| ")) {
        let row = row.replace(r"\|", "\u{0}");
        let here = row.split('|').nth(2).unwrap();
        snippets.extend(here.split('`').skip(1).step_by(2).map(|code| code.replace('\u{0}', "|")));
    }
    let blocks = document.split("```rust\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    snippets.extend(blocks.filter(|block| !block.starts_with("// before")).map(str::to_owned));
    snippets
}

#[test]
fn every_snippet_of_the_document_is_tested() {
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let tested = words(include_str!("migrating.rs"));
    let snippets = snippets(include_str!("../../MIGRATING.md"));
    assert!(snippets.len() > 50, "{snippets:#?}");
    let untested: Vec<_> = snippets.iter().filter(|snippet| !tested.contains(&words(snippet))).collect();
    assert!(untested.is_empty(), "not in this file: {untested:#?}");
}
