//! The laws of the trait, and each algorithm against its rule, on random histories.

use std::fmt::Debug;

use tollgate::algorithm::Algorithm;
use tollgate::{Allowed, Denied, Quota, Retry};

use crate::algorithms::every;
use crate::algorithms::naive::{Naive, Rule};
use crate::oracle::{Census, Rng, TODAY, at, nanos, steps};

/// Tiny quotas, where edges are met by chance, and any.
pub(crate) fn any_quota(rng: &mut Rng) -> Quota {
    loop {
        let (count, per, burst) = match rng.below(8) {
            0 => {
                let per = rng.magnitude(u64::MAX);
                (rng.magnitude(1 << 60), per, rng.magnitude(1 << 60))
            }
            1 => {
                let quota = crate::oracle::any_quota(rng);
                (quota.count(), nanos(quota.period()), quota.burst_size())
            }
            _ => (1 + rng.below(9), 1 + rng.below(60), rng.below(13)),
        };
        let burst = if rng.one_in(2) { count } else { burst };
        let quota = Quota::new(count, std::time::Duration::from_nanos(per));
        if let Ok(quota) = quota.and_then(|quota| quota.with_burst(burst)) {
            return quota;
        }
    }
}

/// Ticks are of a nanosecond or finer, so a bucket is exact.
pub(crate) fn ticks_finely(quota: &Quota) -> bool {
    let full = u128::from(quota.burst_size()) * quota.period().as_nanos();
    full < (1 << 59) * u128::from(quota.count())
}

/// Debt of more than decades counts as less in a bucket.
fn within_reach(naive: &Naive) -> bool {
    let units: u128 = naive.charged.iter().map(|(_, units)| u128::from(*units)).sum();
    let nanos = units.saturating_mul(naive.quota.period().as_nanos());
    nanos < (1 << 54) * u128::from(naive.quota.count())
}

/// A cost around what remains, or any.
pub(crate) fn any_cost(rng: &mut Rng, capacity: u64, remaining: u64) -> u64 {
    match rng.below(12) {
        0 => 0,
        1 => u64::MAX,
        2 => capacity.saturating_add(1),
        3 => capacity,
        4 => remaining,
        5 => remaining.saturating_add(1),
        6 => 1,
        _ => rng.magnitude(capacity.max(1)),
    }
}

/// The next timestamp: near an edge of a window, or anywhere within a few periods.
pub(crate) fn any_next(rng: &mut Rng, now: u64, period: u64) -> u64 {
    let edge = now - now % period;
    match rng.below(10) {
        0..=2 => now,
        3 => now.saturating_add(1),
        4 => edge.saturating_add(period),
        5 => edge.saturating_add(period - 1).max(now),
        6 => now.saturating_add(period),
        7 => now.saturating_add(rng.magnitude(period).saturating_mul(4)),
        _ => now.saturating_add(rng.magnitude(period)),
    }
}

fn standing(answer: &Result<Allowed, Denied>) -> (u64, u64, u64) {
    match answer {
        Ok(it) => (it.burst(), it.remaining(), nanos(it.reset_after())),
        Err(it) => (it.burst(), it.remaining(), nanos(it.reset_after())),
    }
}

#[derive(Clone, Copy, Debug)]
enum Class {
    Allowed,
    Denied,
    Never,
    Looked,
    Early,
    Idle,
    WaitTried,
    Debt,
    TakenBack,
}

/// One history of one key.
struct History<'a, A: Algorithm> {
    algorithm: &'a A,
    state: A::State,
    naive: Naive,
    /// Whether the rule is the whole truth.
    exact: bool,
}

impl<A: Algorithm> History<'_, A>
where
    A::State: Debug + PartialEq,
{
    fn remaining(&self, now: u64) -> u64 {
        self.algorithm.decide(&self.state, 0, at(now)).unwrap().remaining()
    }

    /// Asks, and charges; whether it was allowed.
    fn step(&mut self, cost: u64, now: u64, census: &mut Census) -> bool {
        let context = format!("cost {cost} at {now}, {:?}, {:?}", self.state, self.naive);
        let answer = self.algorithm.decide(&self.state, cost, at(now));
        let (burst, remaining, reset) = standing(&answer);
        assert_eq!(burst, self.naive.capacity());

        if cost == 0 {
            assert!(answer.is_ok(), "{context}");
            let mut same = self.state.clone();
            self.algorithm.charge(&mut same, 0, at(now));
            assert_eq!(same, self.state, "{context}");
        }
        match answer {
            Err(denied) => match denied.retry() {
                Retry::Never => assert!(cost > self.naive.capacity(), "{context}"),
                Retry::After(wait) => {
                    assert!(cost <= self.naive.capacity(), "{context}");
                    self.waits(cost, now, nanos(wait), census, &context);
                }
                _ => panic!("{context}"),
            },
            Ok(_) => assert!(cost <= self.naive.capacity(), "{context}"),
        }
        self.early(cost, now, census, &context);

        let early = now < self.naive.latest();
        let seen = u128::from(now.max(self.naive.latest()));
        let allowed = self.naive.allows(cost, seen);
        if self.exact {
            assert!(answer.is_err() || allowed, "over-admitted: {context}");
            assert!(early || answer.is_ok() == allowed, "denied without reason: {context}");
        }
        let counted = answer.is_err() && self.algorithm.counts_denied();
        if answer.is_ok() {
            self.charge(cost, now);
        }
        if self.exact && !early {
            self.stands(remaining, reset, u128::from(now), &context);
        }
        if answer.is_ok() && cost > 0 && reset > 0 && now.checked_add(reset).is_some() {
            let idle = self.algorithm.idle_at(&self.state);
            assert_eq!(idle, at(now + reset), "{context} then {:?}", self.state);
        }
        if counted {
            self.charge(cost, now);
        }
        census.count(match answer {
            _ if early => Class::Early,
            Ok(_) if cost == 0 => Class::Looked,
            Ok(_) => Class::Allowed,
            Err(denied) if denied.retry() == Retry::Never => Class::Never,
            Err(_) => Class::Denied,
        });
        answer.is_ok()
    }

    fn charge(&mut self, cost: u64, now: u64) {
        self.algorithm.charge(&mut self.state, cost, at(now));
        self.naive.charge(cost, now);
    }

    /// Gives the whole last charge back as it was made. How late that was stays known.
    fn take_back(&mut self, census: &mut Census) {
        if let Some((then, charged)) = self.naive.charged.last_mut() {
            let units = std::mem::take(charged);
            self.algorithm.settle(&mut self.state, units, at(*then), 0, at(*then));
            census.count(Class::TakenBack);
        }
    }

    /// `remaining` is the most that is allowed now, and nothing is owed from `reset` on.
    fn stands(&self, remaining: u64, reset: u64, now: u128, context: &str) {
        let naive = &self.naive;
        assert!(naive.allows(remaining, now), "{remaining} do not remain: {context}");
        assert!(
            remaining == naive.capacity() || !naive.allows(remaining + 1, now),
            "more than {remaining} remain: {context}"
        );
        if naive.capacity() > 0 && reset < u64::MAX {
            let whole = naive.capacity();
            assert!(naive.allows(whole, now + u128::from(reset)), "reset {reset}: {context}");
            assert!(
                reset == 0 || !naive.allows(whole, now + u128::from(reset) - 1),
                "reset before {reset}: {context}"
            );
        }
    }

    /// Law 5.
    fn waits(&self, cost: u64, now: u64, wait: u64, census: &mut Census, context: &str) {
        // A bucket's axis ends with the clock's: past it no wait is known.
        let past = now == u64::MAX && matches!(self.naive.rule, Rule::Bucket);
        assert!(wait > 0 || past, "{context}");
        let Some(then) = now.checked_add(wait).filter(|then| *then < u64::MAX) else { return };
        let allowed = |now| self.algorithm.decide(&self.state, cost, at(now)).is_ok();
        assert!(allowed(then), "not allowed after {wait}: {context}");
        assert!(!allowed(then - 1), "allowed before {wait}: {context}");
        if self.exact && then > self.naive.latest() {
            assert!(self.naive.allows(cost, u128::from(then)), "{wait} too short: {context}");
            let before = u128::from(then - 1);
            assert!(!self.naive.allows(cost, before), "{wait} too long: {context}");
        }
        census.count(Class::WaitTried);
    }

    /// Law 4, about stamps before the latest charge.
    fn early(&self, cost: u64, now: u64, census: &mut Census, context: &str) {
        let latest = self.naive.latest();
        if now >= latest {
            return;
        }
        let allowed = |now| self.algorithm.decide(&self.state, cost, at(now)).is_ok();
        assert!(allowed(latest) || !allowed(now), "reopened: {context}");
        assert!(self.remaining(latest) >= self.remaining(now), "more remains: {context}");
        census.count(Class::Early);
    }

    /// Law 3.
    fn idle(&self, rng: &mut Rng, census: &mut Census) {
        let from = self.algorithm.idle_at(&self.state).as_nanos();
        if from == u64::MAX {
            return;
        }
        let (mut known, mut fresh) = (self.state.clone(), A::State::default());
        let period = nanos(self.algorithm.quota().period());
        let mut now = from;
        for _ in 0..4 {
            let remaining = self.algorithm.decide(&fresh, 0, at(now)).unwrap().remaining();
            let cost = any_cost(rng, self.naive.capacity(), remaining);
            let answers = [&known, &fresh].map(|state| self.algorithm.decide(state, cost, at(now)));
            let state = &self.state;
            assert_eq!(answers[0], answers[1], "idle from {from}, told at {now}: {state:?}");
            if answers[0].is_ok() || self.algorithm.counts_denied() {
                self.algorithm.charge(&mut known, cost, at(now));
                self.algorithm.charge(&mut fresh, cost, at(now));
            }
            now = any_next(rng, now, period);
        }
        census.count(Class::Idle);
    }
}

fn laws<A: Algorithm>(make: impl Fn(Quota) -> A, rule: impl Fn(&Quota) -> Rule)
where
    A::State: Debug + PartialEq,
{
    let mut rng = Rng(11);
    let mut census = Census::default();
    for _ in 0..steps(2_000_000) / 40 {
        let quota = any_quota(&mut rng);
        let algorithm = make(quota);
        assert_eq!(algorithm.quota(), quota);
        let naive = Naive::new(rule(&quota), quota);
        let exact = !matches!(naive.rule, Rule::Bucket) || ticks_finely(&quota);
        let state = A::State::default();
        assert_eq!(algorithm.idle_at(&state), at(0));
        let mut history = History { algorithm: &algorithm, state, naive, exact };
        let period = nanos(quota.period());
        let mut now = rng.pick(&[0, 1, TODAY, u64::MAX - 100, rng.clone().magnitude(u64::MAX)]);
        for _ in 0..40 {
            let early = match rng.below(40) {
                0 => 0,
                1 => u64::MAX,
                2..8 => now.saturating_sub(rng.magnitude(period.saturating_mul(3))),
                _ => now,
            };
            let remaining = history.remaining(early);
            let cost = any_cost(&mut rng, history.naive.capacity(), remaining);
            if rng.one_in(25) {
                // Debt.
                let most = if rng.one_in(15) { u64::MAX } else { 9 };
                let more = rng.magnitude(most);
                algorithm.settle(&mut history.state, 0, at(now), more, at(now));
                history.naive.charge(more, now);
                history.exact &=
                    !matches!(history.naive.rule, Rule::Bucket) || within_reach(&history.naive);
                census.count(Class::Debt);
            }
            let allowed = history.step(cost, early, &mut census);
            if allowed && cost > 0 && rng.one_in(6) {
                history.take_back(&mut census);
            }
            if rng.one_in(4) {
                history.idle(&mut rng, &mut census);
            }
            now = any_next(&mut rng, now, period);
            if early == u64::MAX {
                break;
            }
        }
    }
    use Class::{Allowed, Debt, Denied, Early, Idle, Looked, Never, TakenBack, WaitTried};
    census.require(&[Allowed, Denied, Never, Looked, Early, Idle, WaitTried, Debt, TakenBack], 60);
}
every!(laws);
