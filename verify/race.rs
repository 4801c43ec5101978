//! Runs a model: starts its threads and explores their interleavings.

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

/// Explores all executions of `body` that loom finds, once with each of its threads started first,
/// and prints their number. loom explores the reads of a thread better if it starts later
/// (tokio-rs/loom #166).
pub fn model(threads: usize, body: impl Fn(usize) + Copy + Sync + Send + 'static) {
    explore(threads, if threads > 2 { Some(1) } else { None }, body);
}

/// As `model`, with at most one preemption, for models that would take too long otherwise.
pub fn long_model(body: impl Fn(usize) + Copy + Sync + Send + 'static) {
    explore(2, Some(1), body);
}

/// As `model`, but with stale values explores at most one preemption: there are so many loads that
/// more would take hours. With fresh values (`TOLLGATE_RMW`) it explores as `model` does.
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
        // An atomic of std: it outlives an execution and is no part of the model.
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

/// Runs `threads` concurrently, `first` started first, and returns their results.
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
