#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

// Floor 0
mod decision;
mod quota;
mod sync;
mod ticks;
mod time;
// Floor 1
mod algorithm;
// Floor 2
mod cells;
// Floor 3
mod gate;
mod rate_limiter;
mod set;
// Floor 4
mod enforcer;
mod policy;
// Floor 5
#[cfg(feature = "replay")]
pub mod replay;

pub use cells::Overflow;
pub use decision::{Allowed, Denied, Refused, Retry};
pub use enforcer::{
    Absent, Enforcer, EnforcerBuilder, Explanation, LimitStatus, Permit, Reload, UnknownLimit,
    Value, Verdict,
};
pub use policy::{
    Amount, Limit, LimitInWords, MAX_FACTS, Missing, Mode, Override, Policy, PolicyError, Problem,
    Share, ShareError,
};
pub use quota::{Quota, QuotaError};
pub use rate_limiter::{Builder, Key, RateLimiter, Reservation};
pub use set::{Keys, Set, SetPermit, all};
pub use time::{Clock, NoTimer, Sleep, Timestamp, VirtualClock};
