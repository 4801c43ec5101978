//! What is answered to who comes late, or after others.

use std::time::Duration;

use crate::algorithm::Algorithm;
use crate::decision::{Allowed, Denied, Retry};
use crate::time::Timestamp;

/// The same, with waits that are longer by as much as the clock lags behind the state.
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

/// What a state says to `cost` after `ahead` units were had by others.
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
    // Those ahead are served one after the other, so no sooner than all at once.
    let most = alone.burst().min(ahead.saturating_add(cost));
    let wait = match algorithm.decide(state, most, now) {
        Err(Denied { retry: Retry::After(wait), .. }) => wait,
        _ => Duration::ZERO,
    };
    let least = Duration::from_nanos(1);
    Err(Denied { retry: Retry::After(wait.max(least)), ..alone })
}
