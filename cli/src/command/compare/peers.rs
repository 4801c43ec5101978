//! Limiters of other crates, if they are compiled in.

#[cfg(feature = "peers")]
mod buckets;
#[cfg(feature = "peers")]
mod clock;
#[cfg(feature = "peers")]
mod gcras;
#[cfg(feature = "peers")]
mod heap;
#[cfg(feature = "peers")]
mod rate_net;

use crate::compare::{Entry, Heap, LeftOut};

/// All peers.
#[cfg(feature = "peers")]
pub(crate) fn entries() -> Vec<Entry> {
    [gcras::entries(), buckets::entries(), rate_net::entries()].into_iter().flatten().collect()
}

#[cfg(not(feature = "peers"))]
pub(crate) fn entries() -> Vec<Entry> {
    Vec::new()
}

/// The counter of allocated bytes, if it is compiled in.
pub(crate) fn heap() -> Option<Heap> {
    #[cfg(feature = "peers")]
    return Some(heap::bytes);
    #[cfg(not(feature = "peers"))]
    None
}

/// The peers that are not compiled in.
pub(crate) fn left_out() -> Vec<LeftOut> {
    const CRATES: [&str; 6] =
        ["governor", "gcra", "throttlecrab", "ratelimit", "leaky-bucket", "rate-net"];
    let absent = |name: &&str| LeftOut {
        name: (*name).to_owned(),
        why: "compiled without the feature `peers`".to_owned(),
    };
    if cfg!(feature = "peers") { Vec::new() } else { CRATES.iter().map(absent).collect() }
}

/// Calls `run` without panic messages on standard error: some peers panic, and the report says so.
pub(crate) fn quietly<T>(run: impl FnOnce() -> T) -> T {
    let said = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| ()));
    let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run));
    std::panic::set_hook(said);
    done.unwrap_or_else(|_| {
        panic!("the comparison itself panicked; run it without peers to see why")
    })
}
