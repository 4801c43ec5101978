//! Limiters side by side: the judge is right on arrivals small enough to judge by hand, and what it
//! says of this crate's own algorithms is what they promise.

use std::sync::LazyLock;
use std::time::Duration;

use tollgate::algorithm::SlidingLog;
use tollgate::{Quota, RateLimiter, Timestamp, VirtualClock};
use tollgate_cli::compare::{
    Answer, Arrival, Arrivals, Comparison, Contender, Entry, Outcome, Report, Score, Setup, Wait,
    algorithms,
};

/// A multiple of every period used here.
const START: Timestamp = Timestamp::from_secs(1_700_000_000);

const SECOND: u64 = 1_000_000_000;

/// 2 per 10 s.
fn two() -> Quota {
    Quota::new(2, Duration::from_secs(10)).unwrap()
}

/// Requests of one key: nanoseconds after the start, and cost.
fn arrivals(quota: Quota, list: &[(u64, u64)]) -> Arrivals {
    let arrival = |(after, cost): &(u64, u64)| {
        let at = START + Duration::from_nanos(*after);
        Arrival { at, key: 0, cost: *cost }
    };
    Arrivals::new("by-hand", "", quota, list.iter().map(arrival).collect())
}

fn score(entry: Entry, list: &[(u64, u64)]) -> Score {
    let comparison = Comparison::new(two(), 1).scenarios(vec![arrivals(two(), list)]);
    comparison.run(&[entry]).scenarios.remove(0).scores.remove(0)
}

fn own(name: &str) -> Entry {
    algorithms().into_iter().find(|entry| entry.name() == name).unwrap()
}

/// The exact log, which states something else than the wait.
struct Says {
    log: RateLimiter<SlidingLog>,
    wait: fn(Wait) -> Wait,
}

impl Contender for Says {
    fn decide(&mut self, key: u64, cost: u64, now: Timestamp) -> Answer {
        match self.log.check_at(&key, cost, now) {
            Ok(_) => Answer::Allowed,
            Err(denied) => match Answer::from(denied) {
                Answer::Denied(wait) => Answer::Denied((self.wait)(wait)),
                allowed => allowed,
            },
        }
    }
}

fn says(wait: fn(Wait) -> Wait) -> Entry {
    Entry::peer("says", move |Setup { quota, .. }| {
        let builder = RateLimiter::builder(quota).algorithm(SlidingLog::new(quota));
        let log = builder.clock(VirtualClock::new().clock()).build();
        Ok(Box::new(Says { log, wait }))
    })
}

/// The same answer to everyone.
struct Always(Answer);

impl Contender for Always {
    fn decide(&mut self, _key: u64, _cost: u64, _now: Timestamp) -> Answer {
        self.0
    }
}

fn always(answer: Answer) -> Entry {
    Entry::peer("always", move |_| Ok(Box::new(Always(answer))))
}

#[test]
fn amounts_are_counted_as_by_hand() {
    let in_vain = Answer::Denied(Wait::After(Duration::from_secs(1)));
    let all = || always(Answer::Allowed);
    let s = SECOND;
    // The contender, the requests, and: admitted, denied, worst window, excess, wrongly denied
    // units.
    type Case<'a> = (Entry, &'a [(u64, u64)], [u64; 5]);
    let cases: [Case<'_>; 12] = [
        (all(), &[(0, 1), (0, 1), (0, 3)], [5, 0, 5, 3, 0]),
        // Half-open: what came a whole period ago is out.
        (all(), &[(0, 2), (10 * s, 2)], [4, 0, 2, 0, 0]),
        (all(), &[(0, 2), (10 * s - 1, 2)], [4, 0, 4, 2, 0]),
        // The worst is in the middle.
        (all(), &[(0, 1), (30 * s, 2), (31 * s, 3), (60 * s, 1)], [7, 0, 5, 3, 0]),
        // Room for 2 each time, for 3 never.
        (always(in_vain), &[(0, 1), (0, 2), (5 * s, 3)], [0, 6, 0, 0, 3]),
        (own("fixed-window"), &[(10 * s - 1, 2), (10 * s, 2), (10 * s, 1)], [4, 1, 4, 2, 0]),
        (own("fixed-counting"), &[(0, 1), (1, 2), (2, 1)], [1, 3, 1, 0, 1]),
        // A fifth of the way the last window still counts 1.6.
        (own("sliding-window"), &[(0, 2), (12 * s, 1), (15 * s, 1)], [3, 1, 2, 0, 1]),
        (own("gcra"), &[(0, 2), (5 * s, 1), (5 * s, 1), (10 * s, 1)], [4, 1, 3, 1, 0]),
        (own("granules"), &[(s / 2, 2), (10 * s, 2)], [4, 0, 4, 2, 0]),
        (own("granules-strict"), &[(s / 2, 2), (10 * s + s / 2, 1), (11 * s, 1)], [3, 1, 2, 0, 1]),
        (own("sliding-log"), &[(0, 2), (10 * s - 1, 1), (10 * s, 2)], [4, 1, 2, 0, 0]),
    ];
    for (entry, list, expected) in cases {
        let name = entry.name().to_owned();
        let score = score(entry, list);
        let worst = score.worst.as_ref().map_or(0, |worst| worst.admitted);
        let found = [score.admitted, score.denied, worst, score.excess, score.wrongful];
        assert_eq!(found, expected, "{name} {list:?}");
        assert_eq!(score.admitted_by_step.iter().sum::<u64>(), score.admitted, "{name} {list:?}");
    }
}

#[test]
fn the_worst_window_says_when_it_begins() {
    let list = [(0, 1), (30 * SECOND, 2), (31 * SECOND, 3), (60 * SECOND, 1)];
    let score = score(always(Answer::Allowed), &list);
    assert_eq!(score.worst.unwrap().from_s, 30.0);
}

#[test]
fn keys_are_counted_apart() {
    let at = |key| Arrival { at: START, key, cost: 2 };
    let two_keys = Arrivals::new("keys", "", two(), vec![at(0), at(1)]);
    let report = Comparison::new(two(), 1).scenarios(vec![two_keys]).run(&[own("sliding-log")]);
    let scenario = &report.scenarios[0];
    assert_eq!((scenario.keys, scenario.scores[0].admitted, scenario.scores[0].excess), (2, 4, 0));
}

#[test]
fn waits_are_compared_with_the_least_that_helps() {
    const SEVEN: Duration = Duration::from_nanos(7);
    fn by(wait: Wait, change: fn(Duration) -> Duration) -> Wait {
        match wait {
            Wait::After(wait) => Wait::After(change(wait)),
            other => other,
        }
    }
    // What is said instead, and of two denied requests: stated, exact, early, late, wrong.
    type Case = (fn(Wait) -> Wait, [u64; 5]);
    let cases: [Case; 6] = [
        (|wait| wait, [2, 2, 0, 0, 0]),
        (|wait| by(wait, |wait| wait + SEVEN), [2, 0, 0, 7, 0]),
        (|wait| by(wait, |wait| wait.saturating_sub(SEVEN)), [2, 0, 7, 0, 0]),
        (|wait| by(wait, |_| Duration::ZERO), [2, 0, 9 * SECOND, 0, 0]),
        (|_| Wait::Never, [2, 0, 0, 0, 2]),
        (|_| Wait::Unstated, [0, 0, 0, 0, 0]),
    ];
    let denied_twice = [(0, 2), (SECOND, 1), (4 * SECOND, 2), (20 * SECOND, 1)];
    for (index, (wait, expected)) in cases.into_iter().enumerate() {
        let waits = score(says(wait), &denied_twice).waits.unwrap();
        let found = [waits.stated, waits.exact, waits.early_ns, waits.late_ns, waits.wrong];
        assert_eq!((found, waits.sampled), (expected, 2), "case {index}");
    }
    // No wait helps: a contender that says so is right, one that states a wait is wrong.
    let never = score(says(|wait| wait), &[(0, 3)]).waits.unwrap();
    assert_eq!((never.stated, never.exact, never.wrong), (1, 1, 0));
    let in_vain = score(says(|_| Wait::After(SEVEN)), &[(0, 3)]).waits.unwrap();
    assert_eq!((in_vain.stated, in_vain.exact, in_vain.wrong), (1, 0, 1));
    // Nothing was denied.
    assert_eq!(score(says(|wait| wait), &[(0, 1)]).waits, None);
}

#[test]
fn who_cannot_take_part_or_panics_is_not_judged() {
    struct Panics;
    impl Contender for Panics {
        fn decide(&mut self, _key: u64, _cost: u64, _now: Timestamp) -> Answer {
            panic!("meant to")
        }
    }
    let unable = Entry::peer("unable", |_| Err("no such quota".to_owned()));
    assert_eq!(score(unable, &[(0, 1)]).unable.as_deref(), Some("no such quota"));
    let panics = || Entry::peer("panics", |_| Ok(Box::new(Panics)));
    assert_eq!(score(panics(), &[(0, 1)]).unable.as_deref(), Some("it panics"));
    let report = Comparison::new(two(), 1).scenarios(Vec::new()).run(&[panics().reads_clock()]);
    assert!(!report.contenders[0].takes_time && report.contenders[0].mistakes.is_empty());
}

#[test]
fn each_mistake_is_found_in_a_limiter_that_makes_it() {
    /// The rows that a contender with a constant answer shows.
    fn rows(answer: Answer) -> Vec<u32> {
        let report = Comparison::new(two(), 1).scenarios(Vec::new()).run(&[always(answer)]);
        let shows = |outcome: &Outcome| matches!(outcome, Outcome::Shows(_));
        let mistakes = report.contenders[0].mistakes.iter().map(shows);
        report.checks.iter().zip(mistakes).filter(|(_, shows)| *shows).map(|(c, _)| c.row).collect()
    }
    assert_eq!(rows(Answer::Allowed), [2, 4, 5, 6, 8, 9, 14, 31, 34]);
    assert_eq!(rows(Answer::Denied(Wait::After(Duration::from_secs(1)))), [6, 20]);
    assert_eq!(rows(Answer::Denied(Wait::Never)), [20]);
}

/// Own algorithms through everything.
static REPORT: LazyLock<Report> =
    LazyLock::new(|| Comparison::new(Quota::per_minute(100), 1).run(&algorithms()));

/// Scores of one of them, with the scenarios' names and counts.
fn scores(name: &str) -> Vec<(&str, u64, &Score)> {
    let of = |scenario: &'static tollgate_cli::compare::Scenario| {
        let score = scenario.scores.iter().find(|score| score.contender == name).unwrap();
        (scenario.name.as_str(), scenario.count, score)
    };
    let scores: Vec<_> = REPORT.scenarios.iter().map(of).collect();
    assert_eq!(scores.len(), 10);
    scores
}

#[test]
fn the_exact_log_exceeds_nothing_and_denies_nobody_wrongly() {
    let mut denied = 0;
    for (scenario, count, score) in scores("sliding-log") {
        assert_eq!((score.excess, score.wrongful_requests), (0, 0), "{scenario}");
        if score.denied > 0 {
            let worst = score.worst.as_ref().unwrap().admitted;
            // All there is, but for what a heavy request leaves over.
            assert!(worst * 100 >= count * 95, "{scenario}: {worst}");
        }
        denied += score.denied_requests;
    }
    assert!(denied > 5_000, "{denied}");
}

#[test]
fn each_worst_case_is_found() {
    for (name, scenario, least) in [
        ("gcra", "burst-then-rate", 99),
        ("leaky-bucket", "burst-then-rate", 99),
        ("fixed-window", "two-windows", 100),
        ("fixed-first-hit", "first-hit", 99),
        ("fixed-shifted", "phases", 100),
        ("fixed-counting", "two-windows", 100),
        ("sliding-window", "fade", 99),
        ("granules", "granules", 100),
    ] {
        let found = scores(name).into_iter().find(|(found, ..)| *found == scenario).unwrap();
        assert_eq!(found.2.excess, least, "{name} in {scenario}");
    }
}

#[test]
fn nobody_exceeds_its_bound() {
    for entry in algorithms() {
        let about = REPORT.contenders.iter().find(|about| about.name == entry.name()).unwrap();
        let bound = about.bound.unwrap();
        for (scenario, count, score) in scores(entry.name()) {
            // The tokens have a count of their own.
            if count == REPORT.count {
                let most = bound - count;
                assert!(score.excess <= most, "{} in {scenario}: {score:?}", entry.name());
            }
        }
    }
    assert_eq!(scores("granules-strict").iter().map(|(.., score)| score.excess).max(), Some(0));
}

#[test]
fn every_stated_wait_of_ours_is_exact() {
    let mut stated = 0;
    for entry in algorithms() {
        for (scenario, _, score) in scores(entry.name()) {
            let Some(waits) = &score.waits else { continue };
            assert_eq!((waits.stated, waits.exact), (waits.sampled, waits.sampled), "{scenario}");
            stated += waits.stated;
        }
    }
    assert!(stated > 400, "{stated}");
}

#[test]
fn ours_make_no_mistake_that_others_shipped() {
    assert_eq!(REPORT.checks.len(), 12);
    for about in &REPORT.contenders {
        for (check, outcome) in REPORT.checks.iter().zip(&about.mistakes) {
            assert_eq!(*outcome, Outcome::Right, "{}: row {}", about.name, check.row);
        }
    }
}

#[test]
fn a_plot_has_at_most_200_steps_and_all_units() {
    for scenario in &REPORT.scenarios {
        assert!((1..=200).contains(&scenario.offered.len()), "{}", scenario.name);
        assert_eq!(scenario.offered.iter().sum::<u64>(), scenario.units, "{}", scenario.name);
        for score in &scenario.scores {
            assert_eq!(score.admitted_by_step.len(), scenario.offered.len());
            assert_eq!(score.admitted + score.denied, scenario.units);
        }
    }
}
