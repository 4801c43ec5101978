#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

// Floor 0
mod decision;
mod quota;
mod sync;
mod tagged;
mod telemetry;
mod ticks;
mod time;
// Floor 1
mod algorithm;
mod busiest;
// Floor 2
mod cells;
mod records;
mod slots;
// Floor 3
mod concurrency_limiter;
mod queue;
mod rate_limiter;
mod set;
mod transaction;
// Floor 4
#[cfg(feature = "compat")]
pub mod compat;
mod enforcer;
mod pacer;
mod policy;
// Floor 5
#[cfg(feature = "http")]
pub mod http;
#[cfg(feature = "metrics")]
pub mod metrics;
#[cfg(feature = "simulation")]
pub mod simulation;
#[cfg(feature = "watch")]
mod watch;

/// The pages of `docs/`.
pub mod guide {
    #[doc = include_str!("../docs/algorithms.md")]
    pub mod algorithms {}
    #[doc = include_str!("../docs/architecture.md")]
    pub mod architecture {}
    #[doc = include_str!("../docs/benchmarks.md")]
    pub mod benchmarks {}
    #[doc = include_str!("../docs/cli.md")]
    pub mod cli {}
    #[doc = include_str!("../docs/design.md")]
    pub mod design {}
    #[doc = include_str!("../docs/guarantees.md")]
    pub mod guarantees {}
    #[doc = include_str!("../docs/http.md")]
    pub mod http {}
    #[cfg(all(feature = "compat", feature = "tower"))]
    #[doc = include_str!("../docs/migrating.md")]
    pub mod migrating {}
    #[cfg(feature = "policy")]
    #[doc = include_str!("../docs/policy-file.md")]
    pub mod policy_file {}
}

pub use algorithm::{
    Algorithm, FixedWindow, Gcra, History, LeakyBucket, SlidingGranules, SlidingLog, SlidingWindow,
    Tat, TwoWindows, Window,
};
pub use busiest::{Busiest, BusyKey};
pub use cells::Overflow;
pub use concurrency_limiter::{
    AcquireSlots, ConcurrencyLimiter, KeyedConcurrencyLimiter, Lease, LeaseExpired, SlotKey,
    SlotsBuilder, Usage,
};
pub use decision::{Allowed, Denied, Refused, Retry};
pub use enforcer::{
    Admission, AdmissionWithAnswers, Answers, Enforcer, EnforcerBuilder, EnforcerTotals,
    Explanation, LimitAnswer, LimitStatus, Permit, Reload, SkipReason, UnknownLimit, Value,
    Verdict,
};
#[cfg(feature = "stream")]
pub use pacer::PacedStream;
pub use pacer::{Batches, BatchesWhenFree, Pacer};
pub use policy::{
    AlgorithmName, Amount, CarryOver, Lack, Limit, LimitInWords, MAX_FACTS, Missing, Mode,
    Override, Policy, PolicyError, Problem, Share, ShareError,
};
pub use queue::WaitError;
pub use quota::{Quota, QuotaError};
pub use rate_limiter::{AcquireRate, Builder, Key, RateLimiter, Reservation};
pub use set::{Keys, Member, Set, SetKey, SetPermit, all};
pub use slots::MAX_SLOTS;
pub use time::{Clock, InSimulation, NoTimer, Sleep, Timestamp, VirtualClock};
#[cfg(feature = "watch")]
pub use watch::{PolicyWatcher, WatchError, WatchEvent, WatchHandle};
