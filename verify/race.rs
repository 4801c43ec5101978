//! What runs a model: its threads, in every order.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use loom::thread;

/// A thread of a model: a closure over clones of the limiters and clocks named.
macro_rules! thread {
    ($($name:ident),+; $run:expr) => {{
        $(let $name = $name.clone();)+
        Box::new(move || $run) as Box<dyn FnOnce() -> _>
    }};
}

/// Runs `body` in every way loom knows, whichever of its threads starts first, and says in how
/// many. A thread that starts later has its reads explored better (tokio-rs/loom #166).
pub fn model(threads: usize, body: impl Fn(usize) + Copy + Sync + Send + 'static) {
    explore(threads, if threads > 2 { Some(1) } else { None }, body);
}

/// As `model`, with one thread stopped at most once: where more takes too long.
pub fn long_model(body: impl Fn(usize) + Copy + Sync + Send + 'static) {
    explore(2, Some(1), body);
}

/// As `model`, but where stale values are read with one thread stopped at most once: so many loads are on
/// its way that more takes hours. With fresh values it is explored as any model.
pub fn wide_model(threads: usize, body: impl Fn(usize) + Copy + Sync + Send + 'static) {
    let preemptions = std::env::var_os("TOLLGATE_RMW").is_none().then_some(1);
    explore(threads, preemptions, body);
}

pub fn explore(
    threads: usize,
    preemptions: Option<usize>,
    body: impl Fn(usize) + Copy + Sync + Send + 'static,
) {
    for first in 0..threads {
        // The counter is std's: it outlives an execution and is no part of the model.
        let executions = Arc::new(AtomicU64::new(0));
        let count = executions.clone();
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = preemptions.or(builder.preemption_bound);
        builder.check(move || {
            count.fetch_add(1, Ordering::Relaxed);
            body(first);
        });
        println!("executions: {}", executions.load(Ordering::Relaxed));
    }
}

/// Runs `threads` at once, the `first` of them started first, and gives what they return.
pub fn race<T: 'static, const N: usize>(
    first: usize,
    threads: [Box<dyn FnOnce() -> T + 'static>; N],
) -> [T; N] {
    let mut threads = threads.map(Some);
    let mut handles = [const { None }; N];
    for index in (0..N).map(|offset| (first + offset) % N) {
        handles[index] = threads[index].take().map(thread::spawn);
    }
    handles.map(|handle| handle.unwrap().join().unwrap())
}
