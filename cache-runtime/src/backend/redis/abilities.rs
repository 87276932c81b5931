//! What a server lacks, found out by the very command that is wanted, and what replaces it.

use std::error::Error as StdError;
use std::mem;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::command::{Command, Set};
use super::exchange::{Answer, ask, incr_in_transaction, perform_each, set_in_transaction};
use super::{Reply, Request};
use crate::common::sync::lock;
use crate::error::{Effect, Error, ErrorKind, Reason, Refusal};
use crate::net::line::Line;

/// How long a server that has no way to compare and set isn't asked again.
const REFUSED_FOR: Duration = Duration::from_secs(10);

static NO_COMPARE_AND_SET: Refusal = Refusal {
    code: "compare-and-set",
    advice: "until `EVAL`, or `WATCH`, `MULTI` and `EXEC`, are allowed, results that replace something are not \
             stored, and runs are shared within a process only",
    effect: Effect::Operation,
    passes: false,
};

/// What is known of a server.
pub(super) struct Abilities {
    /// The redacted URL, for the log.
    place: String,
    has_no_mget: AtomicBool,
    has_no_scripts: AtomicBool,
    compare_and_set: Mutex<CompareAndSet>,
}

struct CompareAndSet {
    /// The best way that may work.
    way: Way,
    /// When all ways were refused, and why.
    refused: Option<(Instant, Error)>,
    is_told: bool,
}

/// The ways to compare and set, the best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// `SET … IFEQ`.
    Native,
    /// `EVAL`.
    Script,
    /// `WATCH`, `MULTI` and `EXEC`.
    Transaction,
}

impl Way {
    fn next(self) -> Option<Self> {
        match self {
            Self::Native => Some(Self::Script),
            Self::Script => Some(Self::Transaction),
            Self::Transaction => None,
        }
    }
}

impl Abilities {
    pub(super) fn new(place: String) -> Self {
        let compare_and_set = CompareAndSet { way: Way::Native, refused: None, is_told: false };
        let (has_no_mget, has_no_scripts) = (AtomicBool::new(false), AtomicBool::new(false));
        Self { place, has_no_mget, has_no_scripts, compare_and_set: Mutex::new(compare_and_set) }
    }

    /// Reads several values: `MGET` may not be allowed, or not for these keys together.
    pub(super) async fn get_many(&self, line: &mut impl Line, keys: &[&[u8]]) -> Answer<Reply> {
        if self.has_no_mget.load(Ordering::Relaxed) {
            return perform_each(line, &Request::GetMany(keys)).await;
        }
        let refused = match ask(line, &Command::get_many(keys)).await {
            Ok(Err(error)) if error.has_effect(Effect::Command) => error,
            answer => return answer,
        };
        let answer = perform_each(line, &Request::GetMany(keys)).await;
        if matches!(answer, Ok(Ok(_))) && !self.has_no_mget.swap(true, Ordering::Relaxed) {
            log::warn!("cache {}: no `MGET`, so keys are read one by one: {refused}", self.place);
        }
        answer
    }

    /// Removes several keys: one `DEL` may not be allowed for these keys together.
    pub(super) async fn delete_many(&self, line: &mut impl Line, keys: &[&[u8]]) -> Answer<Reply> {
        match ask(line, &Command::delete_many(keys)).await {
            Ok(Err(error)) if error.has_effect(Effect::Command) => {
                perform_each(line, &Request::DeleteMany(keys)).await
            }
            answer => answer,
        }
    }

    /// Adds to a number if there is one.
    pub(super) async fn incr(&self, line: &mut impl Line, key: &[u8], by: i64) -> Answer<Reply> {
        if !self.has_no_scripts.load(Ordering::Relaxed) {
            let refused = match ask(line, &Command::incr_by_script(key, by)).await {
                Ok(Err(error)) if error.has_effect(Effect::Command) => error,
                answer => return answer,
            };
            if !self.has_no_scripts.swap(true, Ordering::Relaxed) {
                log::warn!("cache {}: no `EVAL`, so `incr` takes two round trips: {refused}", self.place);
            }
        }
        incr_in_transaction(line, key, by).await.map(Ok)
    }

    /// Stores a value only if `old` is there, in the best way that the server allows.
    pub(super) async fn compare_and_set(
        &self,
        line: &mut impl Line,
        set: &Set<'_>,
        old: &[u8],
    ) -> Answer<Reply> {
        let mut way = match self.best_way() {
            Ok(way) => way,
            Err(error) => return Ok(Err(error)),
        };
        let mut refusals = Vec::new();
        loop {
            let answer = match way {
                Way::Native => ask(line, &set.if_equal(old)).await,
                Way::Script => ask(line, &set.by_script(old)).await,
                Way::Transaction => set_in_transaction(line, set, old).await.map(Ok),
            };
            match answer {
                Ok(Err(error)) | Err(error) if error.has_effect(Effect::Command) => refusals.push(error),
                answer => {
                    if matches!(answer, Ok(Ok(_))) {
                        self.learn(way, &refusals);
                    }
                    return answer;
                }
            }
            match way.next() {
                Some(next) => way = next,
                // The connection is closed, because a transaction may have begun.
                None => return Err(self.learn_refused(&refusals)),
            }
        }
    }

    fn best_way(&self) -> Result<Way, Error> {
        let mut known = lock(&self.compare_and_set);
        match &known.refused {
            Some((since, error)) if since.elapsed() < REFUSED_FOR => return Err(error.clone()),
            _ => known.refused = None,
        }
        Ok(known.way)
    }

    /// `way` works, and those before it don't.
    fn learn(&self, way: Way, refusals: &[Error]) {
        let is_news = {
            let mut known = lock(&self.compare_and_set);
            known.way = way;
            way == Way::Transaction && !mem::replace(&mut known.is_told, true)
        };
        if is_news {
            log::warn!(
                "cache {}: neither `SET … IFEQ` (Redis 8.4, Valkey 8.1) nor `EVAL` is allowed, so replacing an entry takes \
                 two round trips: {}",
                self.place,
                texts(refusals)
            );
        }
    }

    /// No way works.
    fn learn_refused(&self, refusals: &[Error]) -> Error {
        let message = format!("no compare-and-set: {}; {}", texts(refusals), NO_COMPARE_AND_SET.advice);
        let error = Error::new(ErrorKind::Denied, message).because(Reason::Refusal(&NO_COMPARE_AND_SET));
        let mut known = lock(&self.compare_and_set);
        // Another server may be behind the address by then.
        known.way = Way::Native;
        known.refused = Some((Instant::now(), error.clone()));
        error
    }
}

/// What the server said.
fn texts(refusals: &[Error]) -> String {
    let texts: Vec<_> = refusals.iter().filter_map(StdError::source).map(ToString::to_string).collect();
    texts.join(", ")
}
