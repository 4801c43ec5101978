//! The clock that peers read, and a quota in the terms of peers.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use crate::compare::Setup;
use tollgate::Timestamp;

/// Peers see their first request this long after they are created, so that none of them is at its
/// very start and a timestamp can be earlier.
const BEGUN: u64 = 3_600_000_000_000;

/// A clock that is set to nanoseconds since some start.
#[derive(Clone, Default)]
pub(crate) struct Told {
    nanos: Rc<Cell<u64>>,
    first: Option<u64>,
}

impl Told {
    /// Sets the time.
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

/// A 32-bit number, as most peers take.
pub(crate) fn small(number: u64) -> Result<u32, String> {
    u32::try_from(number).map_err(|_| format!("it counts in 32 bits, and {number} is more"))
}

/// How long a unit takes to come back, in whole nanoseconds as most peers have it.
pub(crate) fn interval(setup: Setup) -> Result<Duration, String> {
    let interval = setup.quota.period() / small(setup.quota.count())?;
    if interval.is_zero() {
        Err("a unit takes less than a nanosecond".to_owned())
    } else {
        Ok(interval)
    }
}

/// For peers whose burst is the count.
pub(crate) fn burst_is_count(setup: Setup) -> Result<(), String> {
    match setup.quota.burst_size() == setup.quota.count() {
        true => Ok(()),
        false => Err("its burst is its count".to_owned()),
    }
}
