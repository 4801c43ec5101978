//! Checks for limiters that admit too much or too little.
//!
//! The bound must hold for every algorithm, so it is the loosest of them all: twice the count
//! within a period, and the count in each period after it.

use std::time::Duration;

use super::{Program, START, shows};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

pub(super) const FAST_RATES: Program = Program {
    row: 2,
    what: "whole nanoseconds a unit: fast rates admit too much",
    run: |subject| {
        const SECONDS: u64 = 40;
        for rate in [150_000_000, 700_000_000] {
            let mut limiter = subject.fresh(rate, SECOND, rate)?;
            let (each, step) = (rate / 100, Duration::from_millis(5));
            let asked = u64::from(limiter.allows(rate, START)) * rate;
            let admitted: u64 = (0..SECONDS as u32 * 200)
                .map(|n| u64::from(limiter.allows(each, START + step * n)) * each)
                .sum();
            let (admitted, most) = (asked + admitted, (SECONDS + 2) * rate);
            if admitted > most {
                let more = (admitted - most) * 100 / most;
                let seen = || format!("{rate}/s: {more} % above the most it may be in {SECONDS} s");
                return shows(true, seen);
            }
        }
        shows(false, String::new)
    },
};

pub(super) const LARGE_BURST: Program = Program {
    row: 4,
    what: "a burst of 2^32 at one an hour overflows",
    run: |subject| {
        let huge = u64::from(u32::MAX);
        let mut limiter = subject.fresh(1, 60 * MINUTE, huge)?;
        let first = limiter.allows(huge, START);
        let then = limiter.allows(huge, START + SECOND);
        // A limiter without a burst allows neither.
        shows(first && then, || "the burst passes twice within a second".to_owned())
    },
};

pub(super) const SAVED_MORE: Program = Program {
    row: 5,
    what: "an idle key saves up more than the burst",
    run: |subject| {
        for idle in [10_000, 17_900, 1_000_000] {
            let mut limiter = subject.fresh(10, 10 * SECOND, 10)?;
            limiter.burst(10, START);
            let passed = limiter.burst(100, START + Duration::from_millis(idle));
            if passed > 10 {
                return shows(true, || format!("{passed} pass at once (10) after {idle} ms idle"));
            }
        }
        shows(false, String::new)
    },
};

pub(super) const NEW_AND_IDLE: Program = Program {
    row: 8,
    what: "a new key, or an idle one, gets more than the burst",
    run: |subject| {
        let mut limiter = subject.fresh(1, SECOND, 1)?;
        let new = limiter.burst(5, START);
        let idle = limiter.burst(5, START + 100 * SECOND);
        let wrong = new.max(idle) > 1;
        shows(wrong, || format!("burst 1: {new} for a new key, {idle} for an idle one"))
    },
};

pub(super) const OVER_COST_RESETS: Program = Program {
    row: 9,
    what: "a request above the burst resets the key",
    run: |subject| {
        let mut limiter = subject.fresh(5, MINUTE, 5)?;
        limiter.allows(5, START);
        limiter.allows(6, START);
        let again = limiter.burst(5, START);
        shows(again > 0, || format!("asking for 6 of 5 gives {again} more at once (0)"))
    },
};

pub(super) const TRUNCATED_REFILL: Program = Program {
    row: 10,
    what: "polling often loses a part of each refill",
    run: |subject| {
        let run = |step: Duration| {
            let mut limiter = subject.fresh(1, MINUTE, 1)?;
            let polls = (61 * SECOND).as_nanos() / step.as_nanos();
            let allows = |n| limiter.allows(1, START + step * n);
            Ok::<_, String>((0..=polls as u32).map(allows).filter(|allowed| *allowed).count())
        };
        let (seldom, often) = (run(MINUTE)?, run(Duration::from_micros(119))?);
        let seen =
            || format!("1/m in 61 s: {often} polled every 119 us, {seldom} polled every minute");
        shows(often < seldom, seen)
    },
};

pub(super) const STALE_CALLER: Program = Program {
    row: 14,
    what: "a caller with an earlier stamp moves time back",
    run: |subject| {
        let mut limiter = subject.fresh(100, SECOND, 100)?;
        let (step, stale) = (Duration::from_micros(500), Duration::from_millis(50));
        let admitted: u32 = (0..20_000)
            .map(|n| START + step * n)
            .map(|now| {
                u32::from(limiter.allows(1, now)) + u32::from(limiter.allows(1, now - stale))
            })
            .sum();
        shows(admitted > 1_200, || format!("100/s in 10 s: {admitted} pass (at most 1,200)"))
    },
};

pub(super) const SHORT_PERIOD: Program = Program {
    row: 20,
    what: "a period below a millisecond never refills",
    run: |subject| {
        let period = Duration::from_micros(999);
        let mut limiter = subject.fresh(1, period, 1)?;
        let admitted = (0..100).filter(|n| limiter.allows(1, START + period * *n)).count();
        // The sliding counter gives one of two.
        shows(admitted < 40, || format!("1 per 999 us: {admitted} of 100 pass, one a period"))
    },
};

pub(super) const WINDOW_REOPENS: Program = Program {
    row: 31,
    what: "time that runs backwards reopens a window",
    run: |subject| {
        let mut limiter = subject.fresh(3, 10 * SECOND, 3)?;
        let before = START - Duration::from_nanos(1);
        let admitted: u64 =
            (0..10).map(|n| limiter.burst(3, if n % 2 == 0 { START } else { before })).sum();
        shows(admitted > 3, || format!("{admitted} of 3 pass within two nanoseconds"))
    },
};

pub(super) const FLOOD_RESETS: Program = Program {
    row: 34,
    what: "a flood of fresh keys resets keys in debt",
    run: |subject| {
        const ROOM: usize = 2_048;
        const DEBTORS: u64 = 500;
        let mut limiter = subject.with_room_for(ROOM, 10, 60 * MINUTE, 10)?;
        for key in 0..DEBTORS {
            limiter.allows_key(key, 10, START);
        }
        for key in 0..10 * ROOM as u64 {
            limiter.allows_key(DEBTORS + key, 10, START + SECOND);
        }
        let at = START + 2 * SECOND;
        let again = (0..DEBTORS).filter(|key| limiter.allows_key(*key, 1, at)).count();
        shows(again > 0, || format!("{again} of {DEBTORS} keys in debt pass after a flood (0)"))
    },
};
