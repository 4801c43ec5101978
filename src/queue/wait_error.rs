//! [`WaitError`]: why a wait ended without a grant.
//!
//! Its parameter is the refusal of the limiter that the caller waited for.

use std::fmt;

use crate::decision::Denied;
use crate::time::NoTimer;

/// Why a wait ended without a grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WaitError<R = Denied> {
    /// The call was not admitted in time, could not have been, or the line was full.
    Denied(R),
    /// The clock has no timer, which a wait under `.await` needs.
    NoTimer,
    /// The call would block the thread of a simulation, which is the one that moves the time.
    InSimulation,
    /// The limiter was dropped while the call waited.
    Gone,
}

impl<R> WaitError<R> {
    pub(crate) fn map<T>(self, of: impl FnOnce(R) -> T) -> WaitError<T> {
        match self {
            WaitError::Denied(refusal) => WaitError::Denied(of(refusal)),
            WaitError::NoTimer => WaitError::NoTimer,
            WaitError::InSimulation => WaitError::InSimulation,
            WaitError::Gone => WaitError::Gone,
        }
    }
}

impl<R: fmt::Display> fmt::Display for WaitError<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WaitError::Denied(refusal) => refusal.fmt(f),
            WaitError::NoTimer => NoTimer.fmt(f),
            WaitError::InSimulation => f.write_str(
                "a blocking wait inside a simulation would never end: wait under `.await` there",
            ),
            WaitError::Gone => f.write_str("the limiter was dropped while this call waited"),
        }
    }
}

impl<R: fmt::Debug + fmt::Display> std::error::Error for WaitError<R> {}
