//! Checks for mistakes that limiters have shipped. Each check is a short program that runs on any
//! contender. Checks of admitted amounts are in `amounts`, checks of stated waits in `waits`.

mod amounts;
mod waits;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use super::contender::{Contender, Setup, Wait};
use super::entry::Entry;
use super::report::{Check, Outcome};
use tollgate::Quota;
use tollgate::Timestamp;

/// The time at which checks start, close to today: a multiple of an hour, and so of every period
/// here of whole seconds.
const START: Timestamp = Timestamp::from_secs(1_699_999_200);

/// A check for one mistake.
struct Program {
    row: u32,
    what: &'static str,
    run: fn(&Subject) -> Result<Outcome, String>,
}

const PROGRAMS: [Program; 12] = [
    amounts::FAST_RATES,
    amounts::LARGE_BURST,
    amounts::SAVED_MORE,
    waits::OVER_BURST,
    amounts::NEW_AND_IDLE,
    amounts::OVER_COST_RESETS,
    amounts::TRUNCATED_REFILL,
    amounts::STALE_CALLER,
    waits::ROUNDED_DOWN,
    amounts::SHORT_PERIOD,
    amounts::WINDOW_REOPENS,
    amounts::FLOOD_RESETS,
];

/// The mistakes that the checks look for.
pub(crate) fn list() -> Vec<Check> {
    PROGRAMS.iter().map(|p| Check { row: p.row, what: p.what.to_owned() }).collect()
}

/// The outcome of each check for a contender.
pub(crate) fn outcomes(entry: &Entry) -> Vec<Outcome> {
    let subject = Subject { entry };
    PROGRAMS.iter().map(|program| subject.outcome(program.run)).collect()
}

/// The contender that is checked.
struct Subject<'a> {
    entry: &'a Entry,
}

impl Subject<'_> {
    fn outcome(&self, run: fn(&Subject) -> Result<Outcome, String>) -> Outcome {
        match catch_unwind(AssertUnwindSafe(|| run(self))) {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(why)) => Outcome::DoesNotApply(why),
            Err(_) => Outcome::Shows("it panics".to_owned()),
        }
    }

    /// A fresh limiter, or the reason why the contender cannot be made for this quota.
    fn fresh(&self, count: u64, period: Duration, burst: u64) -> Result<Limiter, String> {
        self.with_room_for(1 << 16, count, period, burst)
    }

    fn with_room_for(
        &self,
        max_keys: usize,
        count: u64,
        period: Duration,
        burst: u64,
    ) -> Result<Limiter, String> {
        let quota = Quota::new(count, period).and_then(|quota| quota.with_burst(burst));
        let quota = quota.map_err(|error| error.to_string())?;
        Ok(Limiter(self.entry.make(Setup { quota, max_keys })?))
    }
}

/// A contender, used with a single key by all methods that take none.
struct Limiter(Box<dyn Contender>);

impl Limiter {
    fn allows(&mut self, cost: u64, at: Timestamp) -> bool {
        self.allows_key(0, cost, at)
    }

    fn allows_key(&mut self, key: u64, cost: u64, at: Timestamp) -> bool {
        self.0.decide(key, cost, at).is_allowed()
    }

    /// The stated wait, or `None` if the request is allowed.
    fn wait(&mut self, cost: u64, at: Timestamp) -> Option<Wait> {
        match self.0.decide(0, cost, at) {
            super::contender::Answer::Allowed => None,
            super::contender::Answer::Denied(wait) => Some(wait),
        }
    }

    /// How many of `tries` requests of one unit it allows at the same instant.
    fn burst(&mut self, tries: u64, at: Timestamp) -> u64 {
        (0..tries).map(|_| u64::from(self.allows(1, at))).sum()
    }
}

/// The outcome of a check that saw `seen`, which is a mistake if `wrong`.
fn shows(wrong: bool, seen: impl FnOnce() -> String) -> Result<Outcome, String> {
    Ok(if wrong { Outcome::Shows(seen()) } else { Outcome::Right })
}

/// The result of a check that cannot show anything, with the reason.
fn does_not_apply(why: &str) -> Result<Outcome, String> {
    Err(why.to_owned())
}
