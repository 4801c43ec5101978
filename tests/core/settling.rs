//! Settling never over-admits, whatever happened between: others' charges, other quotas, a clock
//! set back.

use std::time::Duration;

use crate::oracle::{self, Bucket, Census, Rng, SECOND, at, limiter, nanos, quota};
use tollgate::{Quota, Reservation, VirtualClock};

/// All periods divide this.
const COMMON: u64 = 3600 * SECOND;

/// Something that happened, with what was decided.
#[derive(Clone, Copy, Debug)]
enum Event {
    /// Units admitted at a stamp, as they turned out after settling.
    Admitted {
        cost: u64,
        now: u64,
    },
    /// Units owed beyond what was reserved.
    More {
        units: u64,
        now: u64,
    },
    Quota {
        quota: Quota,
        now: u64,
    },
}

struct Open<'a> {
    reservation: Reservation<'a>,
    at: u64,
    /// Its place among the events.
    event: usize,
    /// The quotas in force since.
    quotas: Vec<Quota>,
}

fn a_quota(rng: &mut Rng) -> Quota {
    let per = rng.pick(&[1, 2, 10, 60, 3600]) * SECOND;
    quota(rng.magnitude(1000), per, 1 + rng.below(40))
}

fn run(seed: u64, steps: u64, backwards: bool, census: &mut Census) {
    let mut rng = Rng(seed);
    let start = rng.pick(&[0, oracle::TODAY, oracle::TODAY + 77]);
    let time = VirtualClock::starting_at(at(start));
    let mut quotas = a_quota(&mut rng);
    let limiter = limiter(quotas, time.clock());
    let mut bucket = Bucket::over(COMMON, quotas).rounded();
    if backwards {
        bucket = bucket.at_least();
    }
    let mut events = Vec::new();
    let mut open: Vec<Open<'_>> = Vec::new();
    let mut latest = start;
    for _ in 0..steps {
        let interval = nanos(quotas.period()) / quotas.count();
        let now = nanos(time.now().since(at(0)));
        match rng.below(10) {
            0..3 => {
                time.advance(Duration::from_nanos(rng.magnitude(interval * 4)));
                latest = latest.max(nanos(time.now().since(at(0))));
            }
            3 if backwards => time.set(at(now.saturating_sub(rng.magnitude(interval * 20)))),
            3 | 4 => {
                let cost = 1 + rng.below(6);
                let got = limiter.check_n("k", cost);
                census.count(bucket.agree(got, cost, now));
                if got.is_ok() {
                    events.push(Event::Admitted { cost, now });
                }
            }
            5 | 6 => {
                let cost = 1 + rng.below(12);
                let got = limiter.reserve("k", cost);
                let answer = got.as_ref().map(|r| r.allowed()).map_err(|denied| *denied);
                census.count(bucket.agree(answer, cost, now));
                if let Ok(reservation) = got {
                    let quotas = vec![quotas];
                    open.push(Open { reservation, at: now, event: events.len(), quotas });
                    events.push(Event::Admitted { cost, now });
                }
            }
            7 | 8 if !open.is_empty() => {
                let index = rng.below(open.len() as u64) as usize;
                let Open { reservation, at, event, quotas } = open.swap_remove(index);
                let reserved = reservation.cost();
                let cost = rng.below(reserved + 3);
                reservation.settle(cost);
                match cost.checked_sub(reserved) {
                    Some(0) => census.count("settled as reserved"),
                    Some(units) => {
                        census.count("settled up");
                        bucket.charge(units, latest);
                        events.push(Event::More { units, now: latest });
                    }
                    None => {
                        census.count("settled down");
                        bucket.give_back(reserved - cost, at, &quotas, latest);
                        events[event] = Event::Admitted { cost, now: at };
                    }
                }
                // What is owed now is what the oracle says, up to rounding.
                let owed = limiter.peek_at("k", 0, self::at(latest));
                bucket.agree(owed, 0, latest);
            }
            _ if rng.one_in(3) => {
                quotas = a_quota(&mut rng);
                census.count("quota changed");
                limiter.set_quota(quotas);
                bucket.set_quota(quotas, latest);
                events.push(Event::Quota { quota: quotas, now: latest });
                open.iter_mut().for_each(|open| open.quotas.push(quotas));
            }
            _ => {}
        }
    }
    if !backwards {
        admitted_as_it_turned_out(&events, limiter.quota(), census);
    }
}

/// Had only the final costs ever been asked for, all that was admitted would have been.
fn admitted_as_it_turned_out(events: &[Event], last: Quota, census: &mut Census) {
    let first = events.iter().find_map(|event| match event {
        Event::Quota { quota, .. } => Some(*quota),
        _ => None,
    });
    // Without a change the last quota was the first; with one, begin at the first change.
    let begin = events.iter().position(|event| matches!(event, Event::Quota { .. })).unwrap_or(0);
    let mut bucket = Bucket::over(COMMON, first.unwrap_or(last));
    for event in &events[begin..] {
        match *event {
            Event::Admitted { cost, now } => {
                assert!(bucket.allows(cost, now), "{event:?} of {events:?}: {bucket:?}");
                bucket.charge(cost, now);
                census.count("replayed");
            }
            Event::More { units, now } => bucket.charge(units, now),
            Event::Quota { quota, now } => bucket.set_quota(quota, now),
        }
    }
}

const CLASSES: [&str; 4] = ["settled as reserved", "settled up", "settled down", "quota changed"];

#[test]
fn answers_are_those_of_units_owed_and_given_back() {
    let mut census = Census::default();
    for seed in 0..oracle::steps(400_000) / 100 {
        run(seed, 100, false, &mut census);
    }
    census.require(&CLASSES, 100);
    use oracle::Outcome::*;
    census.require(&[First, Allowed, Denied, Never], 200);
}

#[test]
fn a_clock_set_back_allows_nothing_more() {
    let mut census = Census::default();
    for seed in 0..oracle::steps(400_000) / 100 {
        run(seed, 100, true, &mut census);
    }
    census.require(&CLASSES, 100);
    census.require(&[oracle::Outcome::Denied], 10);
}

#[test]
fn after_more_changes_than_are_remembered_nothing_is_given_back() {
    let time = VirtualClock::new();
    for (changes, left) in [(16, 10), (17, 5)] {
        let limiter = limiter(quota(1, 3600 * SECOND, 10), time.clock());
        limiter.check("warm").unwrap();
        let reservation = limiter.reserve("k", 5).unwrap();
        for change in 1..changes {
            limiter.set_quota(quota(1, 3600 * SECOND, 10 + change));
        }
        limiter.set_quota(quota(1, 3600 * SECOND, 10));
        reservation.cancel();
        let remaining = limiter.peek_n("k", 0).unwrap().remaining();
        assert!(remaining == left, "after {changes} changes {remaining} remain");
    }
}

#[test]
fn a_debt_beyond_the_burst_is_repaid_in_full() {
    let time = VirtualClock::new();
    let limiter = limiter(Quota::per_second(1).burst(10), time.clock());
    limiter.reserve("k", 1).unwrap().settle(1_000);
    time.advance(Duration::from_secs(990));
    assert!(limiter.check("k").is_err());
    time.advance(Duration::from_secs(1));
    limiter.check("k").unwrap();
}
