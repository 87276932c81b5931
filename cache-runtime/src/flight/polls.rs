//! Whether the future that leads a run is still polled.
//!
//! A future makes progress only while somebody polls it. Its owner may keep it without doing so: a `buffer_unordered`
//! whose consumer waits for the same key, or a runtime that nobody drives any more. Waiters of such a run would wait
//! forever. So a run whose future was woken and not polled for some time counts as dropped. A slow body is not affected: its
//! future isn't woken before there is something to do.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

use super::Flight;
use crate::common::sync::lock;

/// How often a future is looked at after it was woken, until it counts as dropped. Counting looks instead of time makes a
/// process that was stopped for a while no reason.
const PATIENCE: u32 = 3;

/// What is known of the future that leads a run.
#[derive(Default)]
pub(super) struct Polls(Mutex<State>);

#[derive(Default)]
struct State {
    phase: Phase,
    /// The waker of the task.
    task: Option<Waker>,
}

#[derive(Default)]
enum Phase {
    /// It waits for a wake-up, or the leader is a thread.
    #[default]
    Quiet,
    Polled {
        was_woken: bool,
    },
    /// It should be polled, and was looked at so often meanwhile.
    Woken {
        looks: u32,
    },
}

impl Polls {
    fn begin(&self, task: &Waker) {
        let mut state = lock(&self.0);
        state.phase = Phase::Polled { was_woken: false };
        match &mut state.task {
            Some(known) => known.clone_from(task),
            unknown => *unknown = Some(task.clone()),
        }
    }

    fn end(&self, is_ready: bool) {
        let mut state = lock(&self.0);
        let was_woken = matches!(state.phase, Phase::Polled { was_woken: true });
        state.phase = if was_woken && !is_ready { Phase::Woken { looks: 0 } } else { Phase::Quiet };
    }

    /// Records that it should be polled. Returns the waker of the task.
    fn wake(&self) -> Option<Waker> {
        let mut state = lock(&self.0);
        match &mut state.phase {
            Phase::Quiet => state.phase = Phase::Woken { looks: 0 },
            Phase::Polled { was_woken } => *was_woken = true,
            Phase::Woken { .. } => {}
        }
        state.task.clone()
    }

    /// Looks at it; returns whether it counts as dropped.
    pub(super) fn look(&self) -> bool {
        match &mut lock(&self.0).phase {
            Phase::Woken { looks } => {
                *looks += 1;
                *looks >= PATIENCE
            }
            Phase::Quiet | Phase::Polled { .. } => false,
        }
    }
}

impl Wake for Flight {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if let Some(task) = self.polls.wake() {
            task.wake();
        }
    }
}

/// Polls the futures of a run's leader.
#[derive(Clone)]
pub(crate) struct LeaderPolls(pub(super) Arc<Flight>);

impl LeaderPolls {
    /// Records that a task which was spawned for the run should be polled.
    pub(crate) fn spawned(&self) {
        let _no_task_yet = self.0.polls.wake();
    }

    /// Waits until the run counts as dropped, and forever if it ends.
    pub(crate) async fn abandoned(self) {
        self.0.abandoned().await;
    }

    pub(crate) fn poll<F: Future>(&self, future: Pin<&mut F>, context: &mut Context<'_>) -> Poll<F::Output> {
        self.0.polls.begin(context.waker());
        let polled = future.poll(&mut Context::from_waker(&self.0.clone().into()));
        self.0.polls.end(polled.is_ready());
        polled
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::*;

    fn looks(polls: &Polls) -> usize {
        (0..10).take_while(|_| !polls.look()).count()
    }

    #[test]
    fn a_future_counts_as_dropped_only_when_it_was_woken() {
        let polls = Polls::default();
        assert_eq!(looks(&polls), 10, "a thread leads");
        polls.begin(Waker::noop());
        assert_eq!(looks(&polls), 10, "one poll may take long");
        polls.end(false);
        assert_eq!(looks(&polls), 10, "it waits");
        polls.wake();
        assert_eq!(looks(&polls), 2);
        polls.begin(Waker::noop());
        assert_eq!(looks(&polls), 10, "it is polled again");
    }

    #[test]
    fn a_future_that_wakes_itself_counts_from_the_end_of_its_poll() {
        let polls = Polls::default();
        polls.begin(Waker::noop());
        polls.wake();
        assert_eq!(looks(&polls), 10);
        polls.end(false);
        assert_eq!(looks(&polls), 2);
        polls.begin(Waker::noop());
        polls.wake();
        polls.end(true);
        assert_eq!(looks(&polls), 10, "it has ended");
    }
}
