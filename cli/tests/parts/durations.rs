//! When the requests of a log end, and how many of them are in flight together.

use tollgate::{Limit, Policy, Quota};
use tollgate_cli::replay::{Format, Replay, Summary};

/// Lines as they stand, under a limit that refuses what has the fact `no`.
fn replay(lines: &[&str]) -> Summary {
    let refuses = Limit::new("refuses", Quota::per_second(1).burst(0)).when("no", ["1"]);
    let mut replay = Replay::new(Policy::new().limit(refuses)).unwrap();
    for line in lines {
        let event = Format::Jsonl.event(line.as_bytes()).expect(line).expect("it is not blank");
        replay.event(&event);
    }
    replay.summary()
}

#[test]
fn how_many_at_once() {
    let cases: [(&str, &[&str], Option<u64>); 11] = [
        ("nothing", &[], None),
        ("no end is told", &[r#"{"t": 0}"#, r#"{"t": 0, "id": "a"}"#], None),
        ("overlap", &[r#"{"t": 0, "took": 2}"#, r#"{"t": 1, "took": 2}"#], Some(2)),
        ("an end and a beginning", &[r#"{"t": 0, "took": 2}"#, r#"{"t": 2, "took": 2}"#], Some(1)),
        (
            "a nanosecond before the end",
            &[r#"{"t": 0, "took": 2}"#, r#"{"t": 1.999999999, "took": 2}"#],
            Some(2),
        ),
        ("no time", &[r#"{"t": 0, "took": 0}"#, r#"{"t": 0, "took": 0}"#], Some(1)),
        (
            "a finish after a beginning of its instant",
            &[
                r#"{"t": 0, "id": "a"}"#,
                r#"{"t": 1, "id": "b"}"#,
                r#"{"t": 1, "id": "a", "op": "finish"}"#,
            ],
            Some(2),
        ),
        (
            "a finish before a beginning of its instant",
            &[
                r#"{"t": 0, "id": "a"}"#,
                r#"{"t": 1, "id": "a", "op": "finish"}"#,
                r#"{"t": 1, "id": "b"}"#,
            ],
            Some(1),
        ),
        (
            "what is refused is not in flight",
            &[r#"{"t": 0, "took": 1}"#, r#"{"t": 0, "took": 1, "facts": {"no": 1}}"#],
            Some(1),
        ),
        (
            // Both began at 1 and count at 5. The first had ended, the second goes on until 7.
            "late events end when they ended",
            &[
                r#"{"t": 5, "took": 1}"#,
                r#"{"t": 1, "took": 3}"#,
                r#"{"t": 1, "took": 6}"#,
                r#"{"t": 6, "took": 2}"#,
                r#"{"t": 6.5, "took": 1}"#,
            ],
            Some(3),
        ),
        (
            "the end of time",
            &[r#"{"t": 18446744073.709551615, "took": 18446744073}"#, r#"{"t": 1, "took": 1}"#],
            Some(1),
        ),
    ];
    for (what, lines, peak) in cases {
        assert_eq!(replay(lines).peak_in_flight, peak, "{what}");
    }
}

#[test]
fn a_finish_ends_the_earliest_request_of_its_id() {
    let finish = r#"{"t": 3, "id": "a", "op": "finish"}"#;
    let cases: [(&str, &[&str], [u64; 3]); 7] = [
        ("once", &[r#"{"t": 0, "id": "a"}"#, finish], [1, 0, 0]),
        ("twice", &[r#"{"t": 0, "id": "a"}"#, finish, finish], [2, 1, 0]),
        ("before it began", &[finish, r#"{"t": 3, "id": "a"}"#], [1, 1, 0]),
        ("a stranger", &[r#"{"t": 0, "id": "b"}"#, finish], [1, 1, 0]),
        ("refused", &[r#"{"t": 0, "id": "a", "facts": {"no": 1}}"#, finish], [1, 1, 0]),
        ("ended by itself", &[r#"{"t": 0, "id": "a", "took": 9}"#, finish], [1, 1, 0]),
        (
            "an id admitted three times and finished twice",
            &[
                r#"{"t": 0, "id": "a"}"#,
                r#"{"t": 1, "id": "a"}"#,
                r#"{"t": 1, "id": "a", "facts": {"no": 1}}"#,
                finish,
                r#"{"t": 3, "id": "a"}"#,
                finish,
            ],
            [2, 0, 1],
        ),
    ];
    for (what, lines, expected) in cases {
        let summary = replay(lines);
        let finishes = [summary.finishes, summary.unknown_finishes, summary.unfinished];
        assert_eq!(finishes, expected, "{what}");
    }
}

#[test]
fn a_cap_counts_requests_until_they_end_or_their_lease_does() {
    let admitted = |lines: &[&str]| {
        let cap = Limit::concurrent("queries", 1).lease(std::time::Duration::from_secs(10));
        let mut replay = Replay::new(Policy::new().limit(cap)).unwrap();
        let decide = |line: &&str| {
            let event = Format::Jsonl.event(line.as_bytes()).expect(line).expect("it is not blank");
            replay.event(&event).is_none_or(|decision| decision.answer.is_ok())
        };
        lines.iter().map(decide).collect::<Vec<bool>>()
    };
    let took = [
        r#"{"t": 0, "took": 2}"#,
        r#"{"t": 1.999999999, "took": 1}"#,
        r#"{"t": 2, "took": 1}"#,
        r#"{"t": 3, "took": 60}"#,
        // That one is still running, and its lease is over.
        r#"{"t": 12.999999999, "took": 1}"#,
        r#"{"t": 13, "took": 1}"#,
    ];
    assert_eq!(admitted(&took), [true, false, true, true, false, true]);
    let finish = [
        r#"{"t": 0, "id": "a"}"#,
        r#"{"t": 1, "id": "b"}"#,
        r#"{"t": 2, "id": "a", "op": "finish"}"#,
        r#"{"t": 2, "id": "c"}"#,
    ];
    assert_eq!(admitted(&finish), [true, false, true, true]);
}
