//! Compares stated waits with the shortest wait that helps. That one is found by retrying after
//! several waits, each with a fresh contender with the same history.

use std::time::Duration;

use super::arrivals::{Arrival, Arrivals};
use super::contender::{MAX_KEYS, Setup, Wait};
use super::entry::Entry;
use super::report::Waits;

/// Denied requests that are examined in a scenario.
const SAMPLE: usize = 8;

/// The longest wait that is searched, in multiples of the time that the whole burst takes to come
/// back.
const PATIENCE: u32 = 4;

/// What is known of one denied request.
struct Denial<'a> {
    entry: &'a Entry,
    setup: Setup,
    /// All requests of its key up to and including itself.
    history: Vec<Arrival>,
}

/// Judges a sample of the denied requests, which are indices in the list of arrivals.
pub(crate) fn judge(
    entry: &Entry,
    arrivals: &Arrivals,
    denials: &[(usize, Wait)],
) -> Option<Waits> {
    if denials.is_empty() {
        return None;
    }
    let sampled = denials.len().min(SAMPLE);
    let mut waits = Waits { sampled: 0, stated: 0, exact: 0, early_ns: 0, late_ns: 0, wrong: 0 };
    // The last request of each of equally many parts, since it has the longest history.
    for sample in 1..=sampled {
        let Some((index, wait)) = denials.get(denials.len() * sample / sampled - 1) else {
            continue;
        };
        waits.sampled += 1;
        let Some(denial) = Denial::new(entry, arrivals, *index) else { continue };
        match *wait {
            Wait::Unstated => continue,
            Wait::Never => match denial.is_allowed_after(denial.patience()) {
                true => waits.wrong += 1,
                false => waits.exact += 1,
            },
            Wait::After(stated) => denial.compare(stated, &mut waits),
        }
        waits.stated += 1;
    }
    Some(waits)
}

impl<'a> Denial<'a> {
    fn new(entry: &'a Entry, arrivals: &Arrivals, index: usize) -> Option<Denial<'a>> {
        let setup = Setup { quota: arrivals.quota, max_keys: MAX_KEYS };
        let key = arrivals.list.get(index)?.key;
        let until = arrivals.list.get(..=index)?;
        let history = until.iter().filter(|arrival| arrival.key == key).copied().collect();
        Some(Denial { entry, setup, history })
    }

    /// Whether the same request is allowed when it is made again after a wait.
    fn is_allowed_after(&self, wait: Duration) -> bool {
        let (Ok(mut contender), Some(last)) = (self.entry.make(self.setup), self.history.last())
        else {
            return false;
        };
        for Arrival { at, key, cost } in &self.history {
            contender.decide(*key, *cost, *at);
        }
        contender.decide(last.key, last.cost, last.at + wait).is_allowed()
    }

    /// The longest wait that is tried.
    fn patience(&self) -> Duration {
        let quota = self.setup.quota;
        let bursts = u32::try_from(quota.burst_size().div_ceil(quota.count())).unwrap_or(u32::MAX);
        quota.period().saturating_mul(bursts.max(1)).saturating_mul(PATIENCE)
    }

    fn compare(&self, stated: Duration, waits: &mut Waits) {
        let instant = Duration::from_nanos(1);
        let before = stated.checked_sub(instant);
        if self.is_allowed_after(stated) {
            match before.filter(|before| self.is_allowed_after(*before)) {
                None => waits.exact += 1,
                Some(before) => {
                    let late = stated.saturating_sub(self.least(Duration::ZERO, before));
                    waits.late_ns = waits.late_ns.max(nanos(late));
                }
            }
        } else if self.is_allowed_after(stated.max(self.patience())) {
            let early = self.least(stated, stated.max(self.patience())).saturating_sub(stated);
            waits.early_ns = waits.early_ns.max(nanos(early));
        } else {
            waits.wrong += 1;
        }
    }

    /// The shortest wait above `denied`, or 0, with which the request is allowed; it is allowed at
    /// `allowed`.
    fn least(&self, denied: Duration, allowed: Duration) -> Duration {
        let (mut denied, mut allowed) = (nanos(denied), nanos(allowed));
        while allowed - denied > 1 {
            let middle = denied + (allowed - denied) / 2;
            match self.is_allowed_after(Duration::from_nanos(middle)) {
                true => allowed = middle,
                false => denied = middle,
            }
        }
        Duration::from_nanos(allowed)
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
