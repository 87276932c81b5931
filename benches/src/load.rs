//! Many callers at once: threads and tasks that share a number of operations.

use std::thread;

use tokio::runtime::Runtime;

/// How many keys callers ask for, in turn.
pub const KEYS: u64 = 1000;

/// The key that caller `caller` asks for in its call `index`: callers don't walk in step.
pub fn key(caller: u64, index: u64) -> u64 {
    (index * 7 + caller * 13) % KEYS
}

/// How many of `operations` are for caller `caller` of `count`.
fn share(operations: u64, count: u64, caller: u64) -> u64 {
    operations / count + u64::from(caller < operations % count)
}

/// A thread for each of `callers`, which does its part of `operations`.
pub fn threads<C: Send>(callers: &mut [C], operations: u64, call: impl Fn(&mut C, u64) + Sync) {
    let (count, call) = (callers.len() as u64, &call);
    thread::scope(|scope| {
        for (caller, number) in callers.iter_mut().zip(0..) {
            scope.spawn(move || {
                (0..share(operations, count, number)).for_each(|index| call(caller, key(number, index)))
            });
        }
    });
}

/// `count` tasks on `runtime` that share `operations`.
pub fn tasks<F>(
    runtime: &Runtime,
    count: u64,
    operations: u64,
    call: impl Fn(u64) -> F + Clone + Send + 'static,
) where
    F: Future<Output = ()> + Send,
{
    runtime.block_on(async {
        let run = |number| {
            let call = call.clone();
            async move {
                for index in 0..share(operations, count, number) {
                    call(key(number, index)).await;
                }
            }
        };
        let tasks: Vec<_> = (0..count).map(|number| tokio::spawn(run(number))).collect();
        for task in tasks {
            task.await.expect("no call panics");
        }
    });
}

/// A runtime on one thread if there is one processor, else on as many as there are processors.
pub fn runtime(processors: usize) -> Runtime {
    let mut builder = match processors {
        1 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    builder.enable_all().build().expect("a runtime starts")
}

/// 100 bytes, different for each `id`.
pub fn small(id: u64) -> String {
    format!("{id:0>100}")
}

/// 4 KiB, different for each `id`.
pub fn large(id: u64) -> Vec<u8> {
    id.to_le_bytes().repeat(512)
}
