//! Mistakes that limiters have shipped, each as a short program that runs against any contender.
//! `amounts` holds those that admit too much or too little, `waits` those about stated waits.

mod amounts;
mod waits;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use super::contender::{Contender, Setup, Wait};
use super::entry::Entry;
use super::report::{Check, Outcome};
use tollgate::Quota;
use tollgate::Timestamp;

/// A time near today that is a multiple of every period in use.
const START: Timestamp = Timestamp::from_secs(1_699_999_200);

/// One mistake.
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

/// All mistakes that are checked.
pub(crate) fn list() -> Vec<Check> {
    PROGRAMS.iter().map(|p| Check { row: p.row, what: p.what.to_owned() }).collect()
}

/// The outcome of each check for a contender.
pub(crate) fn outcomes(entry: &Entry) -> Vec<Outcome> {
    let subject = Subject { entry };
    PROGRAMS.iter().map(|program| subject.outcome(program.run)).collect()
}

/// The contender under test.
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

    /// A fresh contender, or why there is none.
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

/// A contender that is asked for one key unless said otherwise.
struct Limiter(Box<dyn Contender>);

impl Limiter {
    fn allows(&mut self, cost: u64, at: Timestamp) -> bool {
        self.allows_key(0, cost, at)
    }

    fn allows_key(&mut self, key: u64, cost: u64, at: Timestamp) -> bool {
        self.0.decide(key, cost, at).is_allowed()
    }

    /// The stated wait; `None` if the request is allowed.
    fn wait(&mut self, cost: u64, at: Timestamp) -> Option<Wait> {
        match self.0.decide(0, cost, at) {
            super::contender::Answer::Allowed => None,
            super::contender::Answer::Denied(wait) => Some(wait),
        }
    }

    /// How many of `tries` single units it allows at one instant.
    fn burst(&mut self, tries: u64, at: Timestamp) -> u64 {
        (0..tries).map(|_| u64::from(self.allows(1, at))).sum()
    }
}

/// The outcome: what was seen is a mistake exactly if `wrong`.
fn shows(wrong: bool, seen: impl FnOnce() -> String) -> Result<Outcome, String> {
    Ok(if wrong { Outcome::Shows(seen()) } else { Outcome::Right })
}

/// Why nothing can be seen.
fn does_not_apply(why: &str) -> Result<Outcome, String> {
    Err(why.to_owned())
}
