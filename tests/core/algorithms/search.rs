//! The search for the arrivals that get the most out of an algorithm: never above its bound, and
//! as much as its worst case.

use tollgate::algorithm::Algorithm;
use tollgate::{Quota, Retry};

use crate::algorithms::every;
use crate::algorithms::naive::Rule;
use crate::oracle::{Rng, at, nanos, quota};

/// One step of a caller.
#[derive(Clone, Copy, Debug)]
enum Step {
    Pass(u64),
    Take(u64),
    TakeAll,
    /// Waits as it is told, if denied, and takes.
    AwaitAndTake(u64),
    /// Takes with a stamp that lies so far back.
    TakeEarly(u64),
}

fn any_step(rng: &mut Rng, period: u64) -> Step {
    match rng.below(10) {
        0 => Step::Pass(rng.below(2 * period)),
        1 => Step::Pass(rng.pick(&[1, period / 4, period - 1, period, period + 1])),
        2 => Step::Pass(rng.below(period / 4)),
        3 => Step::Take(1 + rng.below(3)),
        4..=6 => Step::TakeAll,
        7 | 8 => Step::AwaitAndTake(1),
        _ => Step::TakeEarly(rng.below(2 * period)),
    }
}

/// What is admitted, and when, of callers that begin at `now`.
fn admitted<A: Algorithm>(algorithm: &A, mut now: u64, steps: &[Step]) -> Vec<(u64, u64)> {
    let mut state = A::State::default();
    let mut admitted: Vec<(u64, u64)> = Vec::new();
    for step in steps {
        let latest = admitted.last().map_or(0, |(at, _)| *at);
        let remaining = |now| algorithm.decide(&state, 0, at(now)).unwrap().remaining();
        let (cost, stamp) = match *step {
            Step::Pass(by) => {
                now += by;
                continue;
            }
            Step::Take(cost) => (cost, now),
            Step::TakeAll => (remaining(now), now),
            Step::AwaitAndTake(cost) => {
                if let Err(denied) = algorithm.decide(&state, cost, at(now)) {
                    if let Retry::After(wait) = denied.retry() {
                        now += nanos(wait);
                    }
                }
                (cost, now)
            }
            Step::TakeEarly(by) => {
                let early = now.saturating_sub(by);
                (remaining(early), early)
            }
        };
        let allowed = algorithm.decide(&state, cost, at(stamp)).is_ok();
        if allowed || algorithm.counts_denied() {
            algorithm.charge(&mut state, cost, at(stamp));
        }
        if allowed && cost > 0 {
            admitted.push((stamp.max(latest), cost));
        }
    }
    admitted
}

/// The most in a closed interval of length `within`; none of any length is above the bound.
fn most<A: Algorithm>(algorithm: &A, admitted: &[(u64, u64)], within: u64) -> u64 {
    let mut most = 0;
    for (first, (begin, _)) in admitted.iter().enumerate() {
        let mut units = 0;
        for (end, cost) in &admitted[first..] {
            units += cost;
            let bound = algorithm.bound(std::time::Duration::from_nanos(end - begin));
            let quota = algorithm.quota();
            assert!(units <= bound, "{units} of {bound} in [{begin}, {end}] of {quota}");
            if end - begin <= within {
                most = most.max(units);
            }
        }
    }
    most
}

/// The most that a seeded hill climb finds in an interval of length `within`; it stops at `enough`.
fn climb<A: Algorithm>(algorithm: &A, within: u64, enough: u64, rng: &mut Rng) -> u64 {
    let period = nanos(algorithm.quota().period());
    let mut best = 0;
    for _ in 0..60 {
        let mut begin = rng.below(3 * period);
        let mut steps: Vec<Step> = (0..16).map(|_| any_step(rng, period)).collect();
        let mut height = most(algorithm, &admitted(algorithm, begin, &steps), within);
        for _ in 0..120 {
            let (mut other, mut other_begin) = (steps.clone(), begin);
            for _ in 0..1 + rng.below(3) {
                match rng.below(8) {
                    0 => other_begin = rng.below(3 * period),
                    1 => other.swap(rng.below(16) as usize, rng.below(16) as usize),
                    _ => other[rng.below(16) as usize] = any_step(rng, period),
                }
            }
            let found = most(algorithm, &admitted(algorithm, other_begin, &other), within);
            if found >= height {
                (steps, begin, height) = (other, other_begin, found);
            }
        }
        best = best.max(height);
        if best >= enough {
            break;
        }
    }
    best
}

/// The worst case as it is known, where it is less than the bound.
fn worst(rule: Rule, quota: &Quota, within: u64, bound: u64) -> u64 {
    let period = nanos(quota.period());
    match rule {
        // A unit began the window, and that is not at its end.
        Rule::FirstHit | Rule::FirstHitOfAll if within % period != 0 => bound - 1,
        _ => bound,
    }
}

fn search<A: Algorithm>(make: impl Fn(Quota) -> A, rule: impl Fn(&Quota) -> Rule) {
    let mut rng = Rng(14);
    for quota in [quota(4, 40, 4), quota(3, 20, 5), quota(5, 28, 2), quota(1, 8, 1)] {
        let (algorithm, rule) = (make(quota), rule(&quota));
        let period = nanos(quota.period());
        for within in [0, 1, period / 4, period - 1, period, period + 1] {
            let bound = algorithm.bound(std::time::Duration::from_nanos(within));
            let worst = worst(rule, &quota, within, bound);
            let found = climb(&algorithm, within, worst, &mut rng);
            assert_eq!(found, worst, "{rule:?} of {quota} within {within} ns, bound {bound}");
        }
    }
}
every!(search);

/// In figures, what the documentation of each says of `n` per period.
#[test]
fn the_worst_cases_as_documented() {
    use tollgate::algorithm::{
        FixedWindow, Gcra, LeakyBucket, SlidingGranules, SlidingLog, SlidingWindow,
    };
    let (n, period) = (6, 60);
    let quota = quota(n, period, n);
    let mut rng = Rng(15);
    fn found<A: Algorithm>(algorithm: A, within: u64, most: u64, rng: &mut Rng) {
        assert_eq!(climb(&algorithm, within, most + 1, rng), most, "within {within}");
    }
    found(Gcra::new(quota), period - 1, 2 * n - 1, &mut rng);
    found(LeakyBucket::new(quota), period - 1, 2 * n - 1, &mut rng);
    found(FixedWindow::new(quota), 1, 2 * n, &mut rng);
    found(FixedWindow::new(quota).from_first_hit(), 1, 2 * n - 1, &mut rng);
    found(FixedWindow::new(quota).counting_denied(), 1, 2 * n, &mut rng);
    found(SlidingWindow::new(quota), period - 1, 2 * n - 1, &mut rng);
    found(SlidingGranules::new(quota, 6), period - 10 + 1, 2 * n, &mut rng);
    found(SlidingGranules::new(quota, 6), period - 10, n, &mut rng);
    found(SlidingGranules::new(quota, 6).strict(), period - 1, n, &mut rng);
    found(SlidingLog::new(quota), period - 1, n, &mut rng);
}
