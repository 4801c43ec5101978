//! Each algorithm as a table of moments, time running backwards included: on the pure functions, in
//! a limiter (its state in a word or a record, as it comes), in records, in a set, in an enforcer.
//!
//! A stamp before one already used sees no less debt. What a word remembers does not say when it was
//! charged, so there it may see more: the tables go back only where both see the same.

use std::collections::HashMap;

use foldhash::fast::FixedState;
use tollgate::algorithm::{
    Algorithm, FixedWindow, Gcra, LeakyBucket, SlidingGranules, SlidingLog, SlidingWindow,
};
use tollgate::policy::AlgorithmName;
use tollgate::{
    Allowed, Denied, Enforcer, Limit, Policy, Quota, RateLimiter, Retry, Timestamp, VirtualClock,
    all,
};

use crate::conformance::in_records::InRecords;
use crate::oracle::{DAY, SECOND, TODAY, at, nanos, quota};

/// What a moment must answer.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Is {
    /// Allowed, and so much remains.
    Left(u64),
    /// Denied for so many nanoseconds.
    Wait(u64),
    Never,
}
use Is::{Left, Never, Wait};

impl From<Result<Allowed, Denied>> for Is {
    fn from(answer: Result<Allowed, Denied>) -> Is {
        match answer {
            Ok(allowed) => Left(allowed.remaining()),
            Err(denied) => match denied.retry() {
                Retry::After(wait) => Wait(nanos(wait)),
                Retry::Never => Never,
                other => panic!("{other:?}"),
            },
        }
    }
}

/// Nanoseconds after the start of the table, key, cost, answer.
type Moment = (u64, &'static str, u64, Is);

/// Whatever decides.
type Decide<'a> = Box<dyn FnMut(&'static str, u64, Timestamp) -> Is + 'a>;

const S: u64 = SECOND;

/// Five in ten seconds.
fn five() -> Quota {
    quota(5, 10 * S, 5)
}

/// The pure functions over a plain map, with what a limiter promises them: not to ask at a time
/// before that of the last charge.
fn pure<A: Algorithm>(algorithm: A) -> Decide<'static> {
    let mut states: HashMap<&str, (A::State, Timestamp)> = HashMap::new();
    Box::new(move |key, cost, now| {
        let (state, latest) = states.entry(key).or_default();
        let at = now.max(*latest);
        let answer = algorithm.decide(state, cost, at);
        if cost > 0 && (answer.is_ok() || algorithm.counts_denied()) {
            algorithm.charge(state, cost, at);
            *latest = at;
        }
        match answer.into() {
            Wait(wait) => Wait(wait + nanos(at.since(now))),
            other => other,
        }
    })
}

fn limiter<A: Algorithm>(algorithm: A) -> RateLimiter<A, FixedState> {
    let builder = RateLimiter::builder(algorithm.quota()).clock(VirtualClock::new().clock());
    builder.hasher(FixedState::default()).algorithm(algorithm).build()
}

fn limited<A: Algorithm>(algorithm: A) -> Decide<'static> {
    let limiter = limiter(algorithm);
    Box::new(move |key, cost, now| limiter.check_at(key, cost, now).into())
}

fn in_set<A: Algorithm>(algorithm: A) -> Decide<'static> {
    let limiter = limiter(algorithm);
    Box::new(move |key, cost, now| match all((limiter.key(key),)).admit_at(cost, now) {
        Ok(permit) => Ok(permit.allowed()).into(),
        Err(refused) => Err(refused.denied()).into(),
    })
}

fn enforced(quota: Quota, arithmetic: AlgorithmName) -> Decide<'static> {
    let policy = Policy::new().limit(Limit::new("limit", quota).key(["k"]).algorithm(arithmetic));
    let enforcer = Enforcer::builder(policy).clock(VirtualClock::new().clock()).build().unwrap();
    Box::new(move |key, cost, now| match enforcer.admit_at(&[("k", key)], cost, now) {
        Ok(permit) => Ok(permit.allowed()).into(),
        Err(refused) => Err(refused.denied()).into(),
    })
}

/// Runs a table everywhere. `arithmetic`: its name in a policy, if it can be had there.
fn run<A: Algorithm>(algorithm: A, arithmetic: Option<AlgorithmName>, table: &[Moment]) {
    // Windows of ten seconds begin at each start.
    for start in [0, TODAY, TODAY + 10 * S] {
        let quota = algorithm.quota();
        let mut places: Vec<(&str, Decide<'_>)> = vec![
            ("pure", pure(algorithm.clone())),
            ("limiter", limited(algorithm.clone())),
            ("records", limited(InRecords(algorithm.clone()))),
            ("set", in_set(algorithm.clone())),
            ("set of records", in_set(InRecords(algorithm.clone()))),
        ];
        places.extend(arithmetic.map(|arithmetic| ("enforcer", enforced(quota, arithmetic))));
        for (row, (t, key, cost, expected)) in table.iter().enumerate() {
            for (place, decide) in &mut places {
                let got = decide(key, *cost, at(start + t));
                assert_eq!(
                    got, *expected,
                    "{place}, row {row}: {cost} for {key}, {t} from {start}"
                );
            }
        }
    }
}

const BUCKET: [Moment; 22] = [
    (0, "a", 0, Left(5)),
    (0, "a", 4, Left(1)),
    (0, "a", 2, Wait(2 * S)),
    (0, "a", 1, Left(0)),
    (0, "a", 0, Left(0)),
    (0, "a", 1, Wait(2 * S)),
    (0, "a", 3, Wait(6 * S)),
    (0, "a", 6, Never),
    (0, "a", u64::MAX, Never),
    (0, "b", 2, Left(3)),
    (2 * S - 1, "a", 1, Wait(1)),
    (2 * S, "a", 1, Left(0)),
    (S, "a", 1, Wait(3 * S)),
    (0, "a", 2, Wait(6 * S)),
    (0, "a", 0, Left(0)),
    (0, "a", 6, Never),
    (5 * S, "a", 0, Left(1)),
    (5 * S, "a", 1, Left(0)),
    (5 * S, "a", 1, Wait(S)),
    (DAY, "a", 5, Left(0)),
    (5 * S, "a", 1, Wait(DAY - 3 * S)),
    (DAY, "b", 5, Left(0)),
];

#[test]
fn gcra() {
    run(Gcra::new(five()), Some(AlgorithmName::Gcra), &BUCKET);
}

#[test]
fn leaky_bucket() {
    run(LeakyBucket::new(five()), Some(AlgorithmName::LeakyBucket), &BUCKET);
}

#[test]
fn fixed_window() {
    let table = [
        (3 * S, "a", 5, Left(0)),
        (3 * S, "a", 1, Wait(7 * S)),
        (3 * S, "a", 6, Never),
        (9 * S, "b", 1, Left(4)),
        (10 * S - 1, "a", 1, Wait(1)),
        (10 * S, "a", 2, Left(3)),
        (9 * S, "a", 4, Wait(11 * S)),
        (10 * S, "a", 3, Left(0)),
        (9 * S, "a", 1, Wait(11 * S)),
        (0, "a", 1, Wait(20 * S)),
        (0, "a", 0, Left(0)),
        (20 * S, "a", 0, Left(5)),
        (20 * S, "a", 5, Left(0)),
        (DAY + 5 * S, "a", 5, Left(0)),
        (20 * S, "a", 1, Wait(DAY - 10 * S)),
    ];
    run(FixedWindow::new(five()), Some(AlgorithmName::FixedWindow), &table);
}

#[test]
fn fixed_window_with_a_larger_burst() {
    let table = [
        (3 * S, "a", 12, Left(0)),
        (3 * S, "a", 1, Wait(7 * S)),
        (3 * S, "a", 6, Wait(17 * S)),
        (3 * S, "a", 12, Wait(27 * S)),
        (3 * S, "a", 13, Never),
        (10 * S, "a", 0, Left(5)),
        (10 * S, "a", 6, Wait(10 * S)),
        (20 * S, "a", 10, Left(0)),
        (19 * S, "a", 1, Wait(11 * S)),
        (50 * S, "a", 0, Left(12)),
    ];
    run(FixedWindow::new(quota(5, 10 * S, 12)), Some(AlgorithmName::FixedWindow), &table);
}

#[test]
fn fixed_window_from_the_first_hit() {
    let table = [
        (3 * S, "a", 2, Left(3)),
        (13 * S - 1, "a", 4, Wait(1)),
        (12 * S, "a", 3, Left(0)),
        (12 * S, "a", 1, Wait(S)),
        (5 * S, "a", 1, Wait(8 * S)),
        (5 * S, "a", 6, Never),
        (13 * S, "a", 0, Left(5)),
        (14 * S, "a", 5, Left(0)),
        (13 * S, "a", 1, Wait(11 * S)),
        (24 * S, "a", 1, Left(4)),
        (DAY, "b", 5, Left(0)),
    ];
    let algorithm = FixedWindow::new(five()).from_first_hit();
    run(algorithm, Some(AlgorithmName::FixedWindowFromFirstHit), &table);
}

#[test]
fn fixed_window_counting_denied() {
    let table = [
        (0, "a", 4, Left(1)),
        (S, "a", 2, Wait(9 * S)),
        // It was counted, so there is no room for one either.
        (9 * S, "a", 1, Wait(S)),
        (9 * S, "a", 0, Left(0)),
        (10 * S, "a", 6, Never),
        (10 * S, "a", 1, Wait(10 * S)),
        (20 * S, "a", 5, Left(0)),
        (15 * S, "a", 1, Wait(15 * S)),
        (30 * S, "a", 1, Left(4)),
        (30 * S, "a", 0, Left(4)),
    ];
    let algorithm = FixedWindow::new(five()).counting_denied();
    run(algorithm, Some(AlgorithmName::FixedWindowCountingDenied), &table);
}

#[test]
fn sliding_window() {
    let table = [
        (9 * S, "a", 5, Left(0)),
        (9 * S, "a", 1, Wait(3 * S)),
        (10 * S, "a", 1, Wait(2 * S)),
        (12 * S - 1, "a", 1, Wait(1)),
        (12 * S, "a", 1, Left(0)),
        (12 * S, "a", 1, Wait(2 * S)),
        (11 * S, "a", 1, Wait(3 * S)),
        (0, "a", 1, Wait(14 * S)),
        (0, "a", 6, Never),
        (20 * S, "a", 0, Left(4)),
        (30 * S, "a", 0, Left(5)),
        (30 * S, "a", 5, Left(0)),
        (DAY, "a", 5, Left(0)),
        (12 * S, "a", 1, Wait(DAY)),
    ];
    run(SlidingWindow::new(five()), Some(AlgorithmName::SlidingWindow), &table);
}

// In a policy a window has 60 granules: not these.
#[test]
fn sliding_granules() {
    let table = [
        (3 * S, "a", 5, Left(0)),
        (12 * S - 1, "a", 1, Wait(1)),
        (12 * S, "a", 2, Left(3)),
        (11 * S, "a", 4, Wait(11 * S)),
        (12 * S, "a", 3, Left(0)),
        (0, "a", 1, Wait(22 * S)),
        (0, "a", 6, Never),
        (22 * S, "a", 5, Left(0)),
        (DAY, "a", 1, Left(4)),
    ];
    run(SlidingGranules::new(five(), 5), None, &table);
}

#[test]
fn sliding_granules_strict() {
    let table = [
        (3 * S, "a", 5, Left(0)),
        (14 * S - 1, "a", 1, Wait(1)),
        (14 * S, "a", 2, Left(3)),
        (13 * S, "a", 4, Wait(13 * S)),
        (26 * S, "a", 5, Left(0)),
    ];
    run(SlidingGranules::new(five(), 5).strict(), None, &table);
}

#[test]
fn sliding_log() {
    let table = [
        (3 * S, "a", 2, Left(3)),
        (4 * S, "a", 3, Left(0)),
        (4 * S, "a", 1, Wait(9 * S)),
        (4 * S, "a", 3, Wait(10 * S)),
        (3 * S, "a", 1, Wait(10 * S)),
        (3 * S, "a", 3, Wait(11 * S)),
        (0, "a", 6, Never),
        (13 * S - 1, "a", 1, Wait(1)),
        (13 * S, "a", 2, Left(0)),
        (14 * S, "a", 3, Left(0)),
        (13 * S, "a", 1, Wait(10 * S)),
        (DAY, "a", 5, Left(0)),
        (14 * S, "a", 5, Wait(DAY - 4 * S)),
    ];
    run(SlidingLog::new(five()), Some(AlgorithmName::SlidingLog), &table);
}
