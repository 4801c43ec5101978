#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

// The modules by layer: a module imports only from its own layer or from lower ones, which
// `tests/core/architecture.rs` checks by the comments below. The public names are exported at the
// end of this file or from the public modules.

// Floor 0
mod decision;
mod quota;
mod sync;
mod tagged;
mod telemetry;
mod ticks;
mod time;
// Floor 1
pub mod algorithm;
mod busiest;
// Floor 2
mod cells;
mod records;
mod slots;
// Floor 3
mod concurrency_limiter;
mod queue;
mod rate_limiter;
pub mod set;
mod transaction;
// Floor 4
#[cfg(feature = "compat")]
pub mod compat;
mod enforcer;
pub mod pacer;
pub mod policy;
// Floor 5
#[cfg(feature = "http")]
pub mod http;
#[cfg(feature = "metrics")]
pub mod metrics;
#[cfg(feature = "simulation")]
pub mod simulation;
#[cfg(feature = "watch")]
pub mod watch;

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

/// Futures that methods of other types return, for code that stores them in its own types.
pub mod future {
    pub use crate::concurrency_limiter::AcquireSlots;
    pub use crate::enforcer::{Admission, AdmissionWithAnswers};
    pub use crate::rate_limiter::AcquireRate;
    pub use crate::time::Sleep;
}

/// The state of limits: what an enforcer reports about its limits, and what it would decide.
pub mod status {
    pub use crate::enforcer::{EnforcerTotals, Explanation, LimitStatus, SkipReason, Verdict};
}

pub use busiest::{Busiest, BusyKey};
pub use cells::Overflow;
pub use concurrency_limiter::{
    ConcurrencyLimiter, ConcurrencyLimiterBuilder, KeyedConcurrencyLimiter, Lease, LeaseExpired,
    SlotKey, Usage,
};
pub use decision::{Allowed, Denied, Refused, Retry};
pub use enforcer::{
    Answers, Enforcer, EnforcerBuilder, LimitAnswer, Permit, Reload, UnknownLimit, Value,
};
pub use policy::{Limit, Mode, Policy, PolicyError};
pub use queue::WaitError;
pub use quota::{Quota, QuotaError};
pub use rate_limiter::{Key, RateLimiter, RateLimiterBuilder, Reservation};
pub use set::{Set, all};
pub use slots::MAX_SLOTS;
pub use time::{Clock, InSimulation, NoTimer, Timestamp, VirtualClock};
