//! Adjustments of an algorithm's answer: for a clock that lags behind the state, and for callers
//! behind others in the line. The algorithms themselves know of neither.

use std::time::Duration;

use crate::algorithm::Algorithm;
use crate::decision::{Allowed, Denied, Retry};
use crate::time::Timestamp;

/// The same answer with its waits longer by `by`, the time that the clock lags behind the state.
pub(super) fn later(answer: Result<Allowed, Denied>, by: Duration) -> Result<Allowed, Denied> {
    if by.is_zero() {
        return answer;
    }
    match answer {
        Ok(Allowed(standing)) => Ok(Allowed(standing.later(by))),
        Err(Denied { standing, retry }) => {
            let retry = match retry {
                Retry::After(wait) => Retry::After(wait.saturating_add(by)),
                other => other,
            };
            Err(Denied { standing: standing.later(by), retry })
        }
    }
}

/// The decision on `cost` for a caller that comes after `ahead` units of others.
pub(super) fn behind<A: Algorithm>(
    algorithm: &A,
    state: &A::State,
    ahead: u64,
    cost: u64,
    now: Timestamp,
) -> Result<Allowed, Denied> {
    if ahead == 0 || cost == 0 {
        return algorithm.decide(state, cost, now);
    }
    let alone = match algorithm.decide(state, cost, now) {
        Err(denied) if denied.retry == Retry::Never => return Err(denied),
        Err(denied) => denied,
        Ok(allowed) => Denied::just_now(allowed),
    };
    // The callers ahead are served one by one, which takes no less time than all at once, so this
    // wait is a lower bound.
    let most = alone.burst().min(ahead.saturating_add(cost));
    let wait = match algorithm.decide(state, most, now) {
        Err(Denied { retry: Retry::After(wait), .. }) => wait,
        _ => Duration::ZERO,
    };
    let least = Duration::from_nanos(1);
    Err(Denied { retry: Retry::After(wait.max(least)), ..alone })
}
