//! The connections of async callers: as many per runtime and server as calls are under way, up to the pool's size.
//!
//! Which is used next and when a call is redone is as in `pool.rs`. Knows nothing of what is said over them.

use tokio::sync::Semaphore;

use super::pool::{Idle, Member, Redo};
use super::wire::AsyncWire;
use crate::error::Error;

/// The connections of one runtime to one server. A future dropped on the way drops its connection,
/// and with it the answer that may still come.
pub(crate) struct AsyncPool {
    idle: Idle<AsyncWire>,
    slots: Semaphore,
}

/// What a call has to say, and to which server. No closures: the compiler can't tell that their futures are `Send`.
pub(crate) trait Exchange: Sync {
    type Answer: Send;

    fn connect(&self) -> impl Future<Output = Result<AsyncWire, Error>> + Send;

    fn ask(&self, wire: &mut AsyncWire) -> impl Future<Output = Result<Self::Answer, Error>> + Send;
}

impl AsyncPool {
    pub(crate) const fn new(size: usize) -> Self {
        Self { idle: Idle::new(), slots: Semaphore::const_new(size) }
    }

    /// Asks on an idle connection, else on a new one. The deadline is a timer around this.
    pub(crate) async fn run<E: Exchange>(&self, redo: Redo, exchange: E) -> Result<E::Answer, Error> {
        let _slot = self.slots.acquire().await;
        if let Some(mut member) = self.idle.take() {
            match exchange.ask(&mut member.connection).await {
                Err(error) if redo.applies(&error) => self.idle.forget(&member),
                result => return self.idle.settle(member, result),
            }
        }
        let mut member = Member::new(exchange.connect().await?);
        let result = exchange.ask(&mut member.connection).await;
        self.idle.settle(member, result)
    }
}
