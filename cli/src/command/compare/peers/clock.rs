//! The manual clock that peers read, and conversions of a quota into their parameters.
//! The peers are in the sibling files.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use crate::compare::Setup;
use tollgate::Timestamp;

/// The time of the first request on a peer's clock, in nanoseconds. It is above 0 so that no peer
/// meets a request at its time origin, and later requests can have earlier stamps.
const BEGUN: u64 = 3_600_000_000_000;

/// A clock that the contender sets before each decision, in nanoseconds since the peer's start.
#[derive(Clone, Default)]
pub(crate) struct Told {
    nanos: Rc<Cell<u64>>,
    first: Option<u64>,
}

impl Told {
    /// Sets the clock to `now`, and returns that time in nanoseconds since the peer's start.
    pub(crate) fn tell(&mut self, now: Timestamp) -> u64 {
        let first = *self.first.get_or_insert(now.as_nanos());
        let nanos = (BEGUN + now.as_nanos().saturating_sub(first))
            .saturating_sub(first.saturating_sub(now.as_nanos()));
        self.nanos.set(nanos);
        nanos
    }

    pub(crate) fn nanos(&self) -> u64 {
        self.nanos.get()
    }
}

/// Converts to the 32 bits that most peers count in.
pub(crate) fn small(number: u64) -> Result<u32, String> {
    u32::try_from(number).map_err(|_| format!("it counts in 32 bits, and {number} is more"))
}

/// The time in which one unit comes back, rounded down to whole nanoseconds as in most peers.
pub(crate) fn interval(setup: Setup) -> Result<Duration, String> {
    let interval = setup.quota.period() / small(setup.quota.count())?;
    if interval.is_zero() {
        Err("a unit takes less than a nanosecond".to_owned())
    } else {
        Ok(interval)
    }
}

/// Fails unless burst and count are equal, for peers without a separate burst.
pub(crate) fn burst_is_count(setup: Setup) -> Result<(), String> {
    match setup.quota.burst_size() == setup.quota.count() {
        true => Ok(()),
        false => Err("its burst is its count".to_owned()),
    }
}
