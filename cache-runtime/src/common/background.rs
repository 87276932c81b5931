//! Work that no caller waits for: probes of servers that are down, pending invalidations, heartbeats of leases.
//!
//! One thread serves the whole process. It starts when there is work and ends a little after the last of it. A job may
//! block for as long as one backend operation takes, because the other jobs wait for it. Jobs use backends as blocking
//! callers. A child of `fork` has a thread of its own and none of its parent's jobs. Knows nothing of what the jobs do.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::process::PerProcess;
use super::sync::lock;

/// How long the thread stays when there is nothing to do.
const IDLE: Duration = Duration::from_secs(1);

/// Runs, and returns the delay until it runs again, if it does.
type Job = Box<dyn FnMut() -> Option<Duration> + Send>;

/// When a job is due, and a number that tells apart jobs due at the same moment.
type Due = (Instant, u64);

#[derive(Default)]
struct Queue {
    jobs: BTreeMap<Due, Job>,
    scheduled: u64,
    has_thread: bool,
}

#[derive(Default)]
struct Background {
    queue: Mutex<Queue>,
    changed: Condvar,
}

impl Background {
    fn of_this_process() -> &'static Self {
        static BACKGROUND: PerProcess<Background> = PerProcess::new();
        BACKGROUND.get(|_| Self::default())
    }
}

/// Runs `job` after `delay`, and again after each delay that it returns. A job that panics is dropped.
///
/// Jobs outlive the code that schedules them: they hold `Weak` references and end when these are dead. Returns whether
/// the job was accepted; it is dropped if the system can't start a thread to run it.
pub(crate) fn schedule(delay: Duration, job: impl FnMut() -> Option<Duration> + Send + 'static) -> bool {
    schedule_job(delay, Box::new(job)).is_some()
}

/// Runs `ring` after `delay`, unless the returned alarm is dropped first. `None` if the system can't start a thread to
/// run it.
pub(crate) fn alarm(delay: Duration, ring: impl FnOnce() + Send + 'static) -> Option<Alarm> {
    let mut ring = Some(ring);
    let job = move || {
        if let Some(ring) = ring.take() {
            ring();
        }
        None
    };
    schedule_job(delay, Box::new(job)).map(|(background, due)| Alarm { background, due })
}

/// See [`alarm`].
#[must_use]
pub(crate) struct Alarm {
    background: &'static Background,
    due: Due,
}

impl Drop for Alarm {
    fn drop(&mut self) {
        if !ptr::eq(self.background, Background::of_this_process()) {
            return;
        }
        let job = lock(&self.background.queue).jobs.remove(&self.due);
        // Dropped after the lock is released, because what the job holds may schedule when it is dropped.
        drop(job);
    }
}

fn schedule_job(delay: Duration, job: Job) -> Option<(&'static Background, Due)> {
    let background = Background::of_this_process();
    let mut queue = lock(&background.queue);
    if !queue.has_thread {
        let started =
            std::thread::Builder::new().name("cache-background".to_owned()).spawn(|| work(background));
        if let Err(error) = started {
            log::warn!("can't start the background thread of caches: {error}");
            return None;
        }
        queue.has_thread = true;
    }
    let due = queue.push(delay, job);
    background.changed.notify_one();
    Some((background, due))
}

impl Queue {
    fn push(&mut self, delay: Duration, job: Job) -> Due {
        let now = Instant::now();
        let due = now.checked_add(delay).unwrap_or(now + Duration::from_secs(86_400));
        self.scheduled += 1;
        self.jobs.insert((due, self.scheduled), job);
        (due, self.scheduled)
    }
}

/// The loop of the background thread.
fn work(background: &'static Background) {
    let mut queue = lock(&background.queue);
    loop {
        let wait = match queue.jobs.first_key_value() {
            Some(((due, _), _)) => due.saturating_duration_since(Instant::now()),
            None => IDLE,
        };
        if wait.is_zero()
            && let Some((_, mut job)) = queue.jobs.pop_first()
        {
            drop(queue);
            let again = catch_unwind(AssertUnwindSafe(&mut job)).unwrap_or_else(|_| {
                log::error!("a background job of a cache panicked");
                None
            });
            // A finished job is dropped here, without the lock, because what it holds may schedule when it is dropped.
            let again = again.map(|delay| (delay, job));
            queue = lock(&background.queue);
            if let Some((delay, job)) = again {
                queue.push(delay, job);
            }
            continue;
        }
        let (next, waited) =
            background.changed.wait_timeout(queue, wait).unwrap_or_else(PoisonError::into_inner);
        queue = next;
        if waited.timed_out() && queue.jobs.is_empty() {
            queue.has_thread = false;
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    const SOON: Duration = Duration::from_secs(10);

    #[test]
    fn jobs_run_when_they_are_due_and_again_when_they_ask() {
        let (sender, receiver) = channel();
        let late = sender.clone();
        let mut left = 2;
        schedule(Duration::from_millis(80), move || {
            late.send("late").unwrap();
            None
        });
        schedule(Duration::from_millis(10), move || {
            sender.send("early").unwrap();
            left -= 1;
            (left > 0).then_some(Duration::from_millis(10))
        });
        let ran: Vec<_> = (0..3).map(|_| receiver.recv_timeout(SOON).unwrap()).collect();
        assert_eq!(ran, ["early", "early", "late"]);
        assert!(receiver.recv_timeout(SOON).is_err(), "both jobs are dropped");
    }

    #[test]
    fn a_panic_ends_its_own_job_only() {
        let (sender, receiver) = channel();
        schedule(Duration::ZERO, || panic!("on purpose"));
        schedule(Duration::from_millis(10), move || {
            sender.send(()).unwrap();
            None
        });
        receiver.recv_timeout(SOON).unwrap();
    }

    #[test]
    fn a_job_may_schedule_another() {
        let (sender, receiver) = channel();
        schedule(Duration::ZERO, move || {
            let sender = sender.clone();
            schedule(Duration::ZERO, move || {
                sender.send(()).unwrap();
                None
            });
            None
        });
        receiver.recv_timeout(SOON).unwrap();
    }
}
