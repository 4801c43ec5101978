//! The clock that peers read, and what a quota is to them.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use crate::compare::Setup;
use tollgate::Timestamp;

/// So long after their beginning peers first see a request: none of them is at its very start, and
/// a stamp can be earlier.
const BEGUN: u64 = 3_600_000_000_000;

/// A clock that is told the time: nanoseconds since some start.
#[derive(Clone, Default)]
pub(crate) struct Told {
    nanos: Rc<Cell<u64>>,
    first: Option<u64>,
}

impl Told {
    /// Makes it that time.
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

/// A number of 32 bits, as most peers take.
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

/// For those whose burst is the count.
pub(crate) fn burst_is_count(setup: Setup) -> Result<(), String> {
    match setup.quota.burst_size() == setup.quota.count() {
        true => Ok(()),
        false => Err("its burst is its count".to_owned()),
    }
}
