//! Checks of the wait that a limiter states when it denies a request.

use std::time::Duration;

use super::{Program, START, does_not_apply, shows};
use crate::compare::contender::Wait;

pub(super) const OVER_BURST: Program = Program {
    row: 6,
    what: "a cost above the burst is told to come back, in vain",
    run: |subject| {
        let mut limiter = subject.fresh(10, Duration::from_secs(1), 10)?;
        match limiter.wait(50, START) {
            None => shows(true, || "50 units pass at a burst of 10".to_owned()),
            Some(Wait::Never) => shows(false, String::new),
            Some(Wait::After(wait)) => {
                shows(true, || format!("50 of 10: told to come back in {wait:?} (never)"))
            }
            Some(Wait::Unstated) => does_not_apply("it states no wait"),
        }
    },
};

pub(super) const ROUNDED_DOWN: Program = Program {
    row: 15,
    what: "a wait is rounded down: denied again when it is over",
    run: |subject| {
        let period = Duration::from_nanos(10);
        let mut limiter = subject.fresh(3, period, 3)?;
        if !limiter.allows(3, START) {
            return does_not_apply("it does not allow the burst of such a quota");
        }
        match limiter.wait(1, START) {
            Some(Wait::After(wait)) => {
                let again = !limiter.allows(1, START + wait);
                shows(again, || format!("3 per 10 ns: denied after the {wait:?} it was told"))
            }
            Some(Wait::Never) => shows(true, || "3 per 10 ns: told that no wait helps".to_owned()),
            Some(Wait::Unstated) => does_not_apply("it states no wait"),
            None => does_not_apply("4 units pass of 3 at such a quota"),
        }
    },
};
