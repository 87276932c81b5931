//! Cache functions with one attribute, in memory, Redis or Memcached.
//!
//! ```
//! use cache_runtime::cached;
//!
//! #[cached(ttl = 60)]
//! fn paths(grid: u32) -> u64 {
//!     if grid < 2 { 1 } else { paths(grid - 1) + paths(grid - 2) }
//! }
//!
//! assert_eq!(paths(80), 37_889_062_373_143_906);
//! ```
//!
//! The body runs only on a miss. [`cached`] says what the attribute takes; beside the function stands a
//! struct of the same name with its companions: `paths::invalidate(80)`, `paths::peek(80)`,
//! `paths::insert(80, value)`, `paths::refresh(80)`, `paths::uncached(80)`, `paths::clear()`,
//! `paths::stats()` and `paths::key(80)`.
//!
//! # What it promises, in this order
//!
//! 1. **Never a wrong answer.** No two functions, arguments or value shapes share an entry; bytes that
//!    were not written by this function in this shape are a miss ([`codec`](macro@cached#codec) says what a shape is).
//! 2. **Never worse than no cache.** A cache that is down costs a bounded delay, never an error, a panic
//!    or a lost result.
//! 3. **Never a stampede.** One run of the body per key at a time in a process, through panics and
//!    cancellations.
//!
//! # Backends
//!
//! | backend | feature | URL |
//! |---|---|---|
//! | memory, typed values | always | none needed |
//! | Redis | `redis` | `redis://[user:password@]host[:port][/db]`, `unix:///path/to.sock[?db=1]` |
//! | Memcached | `memcached` | `memcached://host[:port][,host[:port]…]` |
//! | memory, as a backend of bytes | always | `memory://` |
//! | [your own](Backend) | always | [`Config::backend`], [`Config::async_backend`] |
//!
//! Async functions on a remote backend need the feature `tokio`. All URLs take `?timeout=100ms`,
//! `?ttl=5m` and `?prefix=app:`; Redis and Memcached take `?pool=32` and `?max_value=1MiB`, memory takes
//! `?capacity=1000` and `?max_bytes=64MiB`. [`Config::from_env`] lists the variables that hold them.
//!
//! # Beyond the attribute
//!
//! [`Cache`] and [`AsyncCache`] are the plain get / set-with-timeout API; [`testing`] isolates unit tests;
//! [`check`] reports wrong settings at start-up; [`stats`] tells what the caches do.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod backend;
#[cfg(feature = "bincode")]
mod cache;
mod codec;
mod common;
mod config;
mod error;
mod flight;
mod freshness;
mod function;
mod key;
mod memory;
mod net;
mod remote;
mod stats;
pub mod testing;
mod value;

#[doc(hidden)]
pub mod private;

pub use bytes::Bytes;
/// Caches a function: its body runs only on a miss.
///
/// ```
/// use cache_runtime::cached;
///
/// #[cached(ttl = 60)]
/// fn user(id: u64) -> Result<String, std::num::ParseIntError> {
///     let number: u64 = "7".parse()?;
///     Ok(format!("user {}", number * id))
/// }
///
/// assert_eq!(user(6)?, "user 42");          // runs the body
/// assert_eq!(user(6)?, "user 42");          // does not
/// assert_eq!(user::stats().hits, 1);
/// user::invalidate(6).unwrap();             // the next call runs the body again
/// # Ok::<(), std::num::ParseIntError>(())
/// ```
///
/// Blocking and `async` functions are written alike; on an `async fn` the companions that touch a
/// backend are async too. Arguments are borrowed for the key, so they need no `Clone`; they need
/// `serde::Serialize`, unless they are skipped. In memory, values need `Clone + Send + Sync + 'static`; on
/// any other backend `serde::Serialize + serde::de::DeserializeOwned`.
///
/// A function that returns a future (`-> impl Future`, `-> Pin<Box<dyn Future>>`) and borrows arguments that the future
/// visibly doesn't hold (no `+ '_`) makes it on every call: what stands before its `async` runs on hits too.
///
/// # `backend`
///
/// `"memory"`, the default, keeps typed values in this process. `"redis"` and `"memcached"` need the feature of the
/// same name. Any other name is an alias, configured as `CACHE_<ALIAS>_URL` or by [`Config`].
///
/// ```
/// # use cache_runtime::{cached, Config};
/// #[cached(backend = "sessions", ttl = "30m")]
/// fn session(token: &str) -> Option<u64> {
///     token.strip_prefix("user-")?.parse().ok()
/// }
///
/// Config::from_env().url("sessions", "memory://").install()?;
/// assert_eq!(session("user-7"), Some(7));
/// # Ok::<(), cache_runtime::Error>(())
/// ```
///
/// # `ttl`
///
/// A number of seconds, a text with `ms`, `s`, `m`, `h` or `d`, any expression of type `Duration`, or a
/// closure that decides for each value (what is inside `Ok` or `Some`). `Duration::ZERO` from a closure or an
/// expression stores nothing. In memory a value is not served past its lifetime: where the kernel's coarse clock can't
/// tell (within 50 ms of the end), the exact one is asked.
///
/// ```
/// # use cache_runtime::cached;
/// # use std::time::Duration;
/// const SHORT: Duration = Duration::from_millis(500);
///
/// struct Token { text: String, valid_for: Duration }
/// # impl Clone for Token { fn clone(&self) -> Self { Token { text: self.text.clone(), valid_for: self.valid_for } } }
///
/// #[cached(ttl = 1.5)]
/// fn seconds() -> u32 { 1 }
/// #[cached(ttl = "250ms")]
/// fn text() -> u32 { 2 }
/// #[cached(ttl = SHORT)]
/// fn expression() -> u32 { 3 }
/// #[cached(ttl = |token| token.valid_for)]
/// fn token() -> Result<Token, String> {
///     Ok(Token { text: "t".to_owned(), valid_for: Duration::from_secs(60) })
/// }
/// # assert_eq!(seconds() + text() + expression(), 6);
/// # assert_eq!(token().unwrap().text, "t");
/// ```
///
/// # `key` and `skip`
///
/// All arguments identify a call, unless `skip` leaves some out or `key` says what does: a template, whose fields
/// are escaped, or a tuple of expressions over the arguments.
///
/// ```
/// # use cache_runtime::cached;
/// struct Db;
/// struct Request { path: String, trace_id: u64 }
///
/// #[cached(skip(db))]
/// fn by_id(db: &Db, id: u64) -> u64 { id }
///
/// #[cached(key = "page:{request.path}")]
/// fn page(request: &Request) -> String { format!("{} {}", request.path, request.trace_id) }
///
/// #[cached(key = (request.path.len(), flag))]
/// fn mixed(request: &Request, flag: bool) -> usize { request.path.len() + usize::from(flag) }
///
/// by_id(&Db, 7);
/// assert_eq!(by_id::peek(7).unwrap(), Some(7));   // a companion takes what the key reads
/// assert!(page::key(&Request { path: "/a b".into(), trace_id: 1 }).ends_with(":page:%2Fa%20b"));
/// # mixed(&Request { path: "/".into(), trace_id: 1 }, true);
/// ```
///
/// # `cache_none`, `cache_err`, `negative_ttl`, `cache_if`
///
/// Only `Some` and `Ok` are stored, recognised by type, through any alias, also where one is inside the other. In a method
/// or a generic function both have to be written out (`cargo build` says so, `cargo check` doesn't); where a type parameter
/// stands for one, nothing is stored, and the log says so once.
/// `cache_none = true` and `cache_err = true` store `None` and `Err` too, for `negative_ttl` if there is one.
/// `cache_if` sees what is inside `Ok` or `Some`.
///
/// ```
/// # use cache_runtime::cached;
/// #[cached(ttl = 60, cache_none = true, negative_ttl = 5)]
/// fn find(id: u64) -> Option<String> { (id != 0).then(|| id.to_string()) }
///
/// #[cached(cache_if = |rows| !rows.is_empty())]
/// fn rows(n: usize) -> std::io::Result<Vec<u8>> { Ok(vec![0; n]) }
///
/// find(0);
/// assert_eq!(find::peek(0).unwrap(), Some(None));
/// rows(0).unwrap();
/// assert_eq!(rows::peek(0).unwrap(), None);
/// ```
///
/// # `capacity` and `max_bytes`
///
/// The bound of a memory function's entries: 10,000 unless said otherwise. What stays is what is used often (TinyLFU), so a
/// new value may be the one to go. The bound may be passed by a sixteenth, and by 64 entries at the most, for a moment.
/// `max_bytes` measures values as serde shows them, so it needs `Serialize`. Numbers that are asked for are held once more,
/// in up to an eighth of these bytes.
///
/// ```
/// # use cache_runtime::cached;
/// #[cached(capacity = 1_000, max_bytes = "64MiB")]
/// fn page(n: u32) -> String { n.to_string() }
/// # assert_eq!(page(1), "1");
/// ```
///
/// # `stale`, `early`, `jitter`
///
/// `stale` is a window behind the lifetime. A value in it is served at once while one renewal runs; if the body returns
/// an `Err` or panics, the old value goes on, with a pause between attempts, until the window ends (the
/// `stale-while-revalidate` and `stale-if-error` of [RFC 5861](https://www.rfc-editor.org/rfc/rfc5861)).
///
/// `early` renews before the end, by chance and by what a run costs, so that of many callers one does so in time and no
/// caller waits (XFetch: Vattani, Chierichetti, Lowenstein, [Optimal Probabilistic Cache Stampede
/// Prevention](https://www.vldb.org/pvldb/vol8/p886-vattani.pdf), VLDB 2015). `true` is its β of 1; more is earlier.
///
/// `jitter = 0.1` takes by chance up to a tenth from each lifetime, so that what was stored together doesn't end
/// together. It lengthens none.
///
/// A renewal runs in the background, as a thread or (with the feature `tokio`) a task, if the arguments can be kept: a free function without
/// generics whose arguments are `Clone + Send` values, or plain references to such (`&str` and `&[T]` too), and whose
/// future is `Send`. Otherwise the caller that starts it runs the body, and gets the new value, while all others are
/// served the old one. A type that hides what it borrows (`Row` for `Row<'_>`) must show it for that.
///
/// ```
/// # use cache_runtime::cached;
/// #[cached(ttl = "5m", stale = "1h", jitter = 0.1)]
/// fn rates(currency: &str) -> Result<f64, std::num::ParseFloatError> { "1.08".parse() }
///
/// #[cached(ttl = 60, early = true)]
/// fn front_page() -> String { "news".into() }
/// # assert_eq!((rates("EUR"), front_page()), (Ok(1.08), "news".into()));
/// ```
///
/// # `single_flight`
///
/// With `"process"`, the default, one call at a time runs the body for a key, and the calls that come meanwhile wait for
/// its result, on every backend, threads and tasks alike. A panic is its caller's own, and one waiter takes over, as it
/// does if the running future is dropped. An `Err`, or a value that is not to be stored, is not shared: all who waited
/// run the body at once. `invalidate`, `insert` and `clear` end a run for later calls: they start anew, and its
/// result is returned to its callers and not stored. `"off"` leaves all of that out.
///
/// `"cluster"` makes the same true among all processes and machines that share a server. The call that runs the body
/// holds a lease under the key, which it renews while the body runs; the others look for its result every 2 to 50
/// milliseconds. When the holder dies, another takes over within two seconds. A lease costs three more round trips for
/// each run; hits cost nothing more. A call within a run of such a function waits for another run for two seconds at
/// the most, because that may be waiting for the run it is in. Where the server fails, or a [`Backend`] of one's own
/// has no [`replace`](Backend::replace), it is as with `"process"`.
///
/// ```
/// # #[cfg(feature = "redis")] {
/// # use cache_runtime::{cached, testing::Scope};
/// #[cached(backend = "redis", ttl = 60, single_flight = "cluster")]
/// fn report(month: u32) -> u64 { u64::from(month) * 1_000 }
/// # let scope = Scope::new();
/// # let _entered = scope.enter();
/// assert_eq!(report(5), 5_000); // one process of all computes it
/// # }
/// ```
///
/// ```
/// # use cache_runtime::cached;
/// #[cached(single_flight = "off")]
/// fn cheap(n: u64) -> u64 { n + 1 }
/// # assert_eq!(cheap(1), 2);
/// ```
///
/// `single_flight(wait = "2s")` bounds the waiting, with `"cluster"` in front of it too: who has waited that long for
/// another's run runs the body for itself, and that result is not stored. Give it to an async function whose futures may
/// lie unpolled for a while, as in a `buffer_unordered` whose consumer is busy: else a call that leads a run there and
/// isn't polled keeps all others of its key waiting.
///
/// ```
/// # use cache_runtime::cached;
/// #[cached(single_flight(wait = "2s"))]
/// fn slow(n: u64) -> u64 { n + 1 }
/// # assert_eq!(slow(1), 2);
/// ```
///
/// # `namespace` and `version`
///
/// A function is known on a server by crate, modules and name. `namespace` gives it another name, which survives
/// moving it; `version` is a number to bump when the meaning of its values changes but their type does not.
///
/// A function that stands within another one, or in a block, is known by a digest of its text too, because blocks have no
/// names: a changed body finds nothing old. Two of one name and one text in such places share entries if each process calls
/// one of them only, and so do methods of local types in an `impl` of a trait: give them a `namespace`.
///
/// ```
/// # use cache_runtime::cached;
/// #[cached(namespace = "prices", version = 3)]
/// fn price(id: u64) -> u64 { id * 100 }
/// assert!(price::key(1).starts_with("prices:3:"));
/// ```
///
/// # `codec`
///
/// How values are written on a server: `"bincode"` (the default), `"postcard"`, `"msgpack"`, `"json"`, each a
/// feature. The first two know fields by position; the shape of a type is all of its parts, and a type that changes reads
/// nothing of its old values. The other two know fields by name: they serve enums with `untagged` or `tag`,
/// `#[serde(flatten)]`, `skip_serializing_if`, `serde_json::Value` and types that evolve. The shape of a type is its name
/// with them, and old values are read wherever serde can: a new field is `None` if it is an `Option`, or what
/// `#[serde(default)]` says, and an integer becomes a float. Bump `version` where that is wrong.
///
/// A value is stored only if its bytes decode to it, as serde shows it, and as its `PartialEq` says where it has one. So
/// derive `PartialEq` for a type with `#[serde(skip)]` or a lossy conversion: else it comes back without what serde left out.
/// Of a type parameter `PartialEq` is known if it is among the bounds.
///
/// ```
/// # #[cfg(feature = "json")] {
/// # use cache_runtime::{cached, Config};
/// #[cached(backend = "drafts", codec = "json")]
/// fn draft(id: u64) -> Vec<String> { vec![format!("draft {id}")] }
///
/// # Config::from_env().url("drafts", "memory://").install().unwrap();
/// # assert_eq!(draft(7), draft(7));
/// # assert_eq!(draft::stats().hits, 1);
/// # }
/// ```
///
/// # `companions`
///
/// `companions = name` renames the struct beside the function, where its name is taken by a module or type;
/// `companions = false` leaves it out, as it must be where a trait is implemented.
///
/// ```
/// # use cache_runtime::cached;
/// mod user {}
///
/// #[cached(companions = user_cache)]
/// fn user(id: u64) -> u64 { id }
///
/// user(1);
/// user_cache::clear().unwrap();
/// # Ok::<(), cache_runtime::Error>(())
/// ```
///
/// # Methods
///
/// In an `impl` the companions are siblings of the method: `price_peek`, `price_invalidate` and so on. `key` or
/// `skip(self)` says what `self` means for the key; a companion takes `&self` if the key reads it. A function in an
/// `impl` whose signature says neither `self` nor `Self` needs `companions = Self`.
///
/// ```
/// # use cache_runtime::cached;
/// struct Shop { tenant: u32, discount: u64 }
///
/// impl Shop {
///     #[cached(key = (self.tenant, id), ttl = 60)]
///     fn price(&self, id: u64) -> u64 { id * 100 - self.discount }
///
///     #[cached(companions = Self)]
///     fn tax(cents: u64) -> u64 { cents / 5 }
/// }
///
/// let shop = Shop { tenant: 1, discount: 5 };
/// assert_eq!(shop.price(2), 195);
/// assert_eq!(shop.price_peek(2).unwrap(), Some(195));
/// shop.price_invalidate(2).unwrap();
/// Shop::price_clear().unwrap();
/// assert_eq!(Shop::tax(100), 20);
/// assert_eq!(Shop::tax_stats().runs, 1);
/// ```
///
/// # Traits and generics
///
/// Each implementing type and each instantiation has entries of its own: in memory by the identity of types, on a
/// server by their names and the shape of the value.
///
/// A closure has no name of its own: an instantiation for one is not cached on a server, and the log says so once. The same
/// goes for two types of one name (in sibling blocks of a function, or in two versions of a crate) as soon as a process has
/// seen both. Where each process sees one of them, nothing tells them apart: give them different names.
///
/// ```
/// # use cache_runtime::cached;
/// trait Animal {
///     fn sound(&self) -> String;
///
///     #[cached(skip(self), companions = false)]
///     fn twice(&self) -> String { self.sound().repeat(2) }
/// }
/// # struct Dog; struct Cat;
/// # impl Animal for Dog { fn sound(&self) -> String { "wau".into() } }
/// # impl Animal for Cat { fn sound(&self) -> String { "miau".into() } }
///
/// #[cached]
/// fn parse<T: std::str::FromStr + Clone + Send + Sync + 'static>(text: &str) -> Option<T> { text.parse().ok() }
///
/// assert_eq!((Dog.twice(), Cat.twice()), ("wauwau".into(), "miaumiau".into()));
/// assert_eq!((parse::<u8>("7"), parse::<f64>("7")), (Some(7), Some(7.0)));
/// assert_eq!(parse::peek::<u8>("7").unwrap(), Some(7));
/// ```
///
/// # `crate`
///
/// `crate = path` is where this crate is found when it is renamed or re-exported.
///
/// ```
/// mod prelude {
///     pub use cache_runtime as cache;
/// }
/// use prelude::cache::cached;
///
/// #[cached(crate = prelude::cache)]
/// fn double(n: u64) -> u64 { n * 2 }
/// # assert_eq!((double(2), double(2), double::stats().hits), (4, 4, 1));
/// ```
pub use cache_macros::cached;

#[cfg(feature = "tokio")]
pub use crate::backend::batched::Batched;
#[cfg(feature = "memcached")]
pub use crate::backend::memcached::Memcached;
pub use crate::backend::memory::Memory;
#[cfg(feature = "redis")]
pub use crate::backend::redis::Redis;
pub use crate::backend::{AsyncBackend, Backend, BoxFuture};
#[cfg(feature = "bincode")]
pub use crate::cache::{AsyncCache, Cache, Value};
pub use crate::config::Config;
pub use crate::config::context::{CheckError, check};
pub use crate::error::{Error, ErrorKind};
pub use crate::function::stats;
pub use crate::memory::Bound;
pub use crate::stats::{AllStats, Stats};
