//! A process that writes or reads and records a history, for `tests/consistency/history.rs`.
//!
//! ```text
//! historian writer|reader blocking|async <file of the truth> <file of the history> <ms that a body takes> \
//!     <whether the writer inserts>
//! ```
//!
//! `CACHE_SHARED_URL` is where its entries are. It ends when its standard input does.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{LazyLock, Mutex};
use std::time::Duration;

use cache_runtime::cached;
use cache_tests::history::{Event, KEYS, now};

static ARGUMENTS: LazyLock<Vec<String>> = LazyLock::new(|| std::env::args().collect());
static TRUTH: LazyLock<File> = LazyLock::new(|| open(Path::new(&ARGUMENTS[3])));
static HISTORY: LazyLock<Mutex<File>> = LazyLock::new(|| Mutex::new(open(Path::new(&ARGUMENTS[4]))));
static IS_OVER: AtomicBool = AtomicBool::new(false);

/// The calls that a reader makes at the same time.
const READERS: usize = 4;

fn open(path: &Path) -> File {
    File::options().read(true).append(false).write(true).open(path).expect("a file")
}

fn truth(key: usize) -> u64 {
    let mut stamp = [0; 8];
    TRUTH.read_exact_at(&mut stamp, 8 * key as u64).expect("the truth");
    u64::from_le_bytes(stamp)
}

fn record(event: Event) {
    HISTORY.lock().expect("no panic").write_all(event.line().as_bytes()).expect("a file");
}

/// About as long as the test asks for.
fn delay(stamp: u64) -> Duration {
    let longest: u64 = ARGUMENTS[5].parse().expect("a number");
    Duration::from_micros(longest * 1000 * (1 + stamp % 4) / 4)
}

#[cached(backend = "shared", ttl = 60)]
fn blocking(key: usize) -> u64 {
    let stamp = truth(key);
    std::thread::sleep(delay(stamp));
    stamp
}

#[cached(backend = "shared", ttl = 60)]
async fn asynchronous(key: usize) -> u64 {
    let stamp = truth(key);
    tokio::time::sleep(delay(stamp)).await;
    stamp
}

/// Changes the truth under one key after the other. Uses all ways to say so.
async fn write(is_async: bool) {
    let inserts = ARGUMENTS[6] == "true";
    for round in 0.. {
        let key = fastrand::usize(..KEYS);
        let stamp = truth(key) + 1;
        TRUTH.write_all_at(&stamp.to_le_bytes(), 8 * key as u64).expect("the truth");
        let is_known = match (round % 3, is_async) {
            (0, false) if inserts => blocking::insert(key, stamp).is_ok(),
            (0, true) if inserts => asynchronous::insert(key, stamp).await.is_ok(),
            (_, false) => blocking::invalidate(key).is_ok(),
            (_, true) => asynchronous::invalidate(key).await.is_ok(),
        };
        if is_known {
            record(Event::Known { key, stamp, at: now() });
        }
        if round % 7 == 0 {
            // Nothing is promised to others if the store fails, but this call has read the truth itself.
            let at = now();
            let stamp = if is_async { asynchronous::refresh(key).await } else { blocking::refresh(key) };
            record(Event::Read { key, stamp, at });
        }
        if IS_OVER.load(Ordering::Relaxed) {
            return;
        }
        tokio::time::sleep(Duration::from_micros(fastrand::u64(..2000))).await;
    }
}

async fn read(is_async: bool) {
    while !IS_OVER.load(Ordering::Relaxed) {
        let (key, at) = (fastrand::usize(..KEYS), now());
        let stamp = match is_async {
            true => asynchronous(key).await,
            false => tokio::task::spawn_blocking(move || blocking(key)).await.expect("no panic"),
        };
        record(Event::Read { key, stamp, at });
    }
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    std::thread::spawn(|| {
        std::io::stdin().read_to_end(&mut Vec::new()).expect("the test");
        IS_OVER.store(true, Ordering::Relaxed);
    });
    let is_async = ARGUMENTS[2] == "async";
    match ARGUMENTS[1].as_str() {
        "writer" => write(is_async).await,
        _ => {
            let readers: tokio::task::JoinSet<()> = (0..READERS).map(|_| read(is_async)).collect();
            readers.join_all().await;
        }
    }
}
