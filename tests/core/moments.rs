//! GCRA as a table of moments, time running backwards included.

use crate::oracle::{self, SECOND, at, limiter, quota};
use tollgate::{Retry, VirtualClock};

const MS: u64 = 1_000_000;

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

fn run(quota: tollgate::Quota, start: u64, moments: &[(u64, &str, u64, Is)]) {
    let limiter = limiter(quota, VirtualClock::new().clock());
    for (row, (t, key, cost, expected)) in moments.iter().enumerate() {
        let got = match limiter.check_at(*key, *cost, at(start + t)) {
            Ok(allowed) => Left(allowed.remaining()),
            Err(denied) => match denied.retry() {
                Retry::After(wait) => Wait(oracle::nanos(wait)),
                _ => Never,
            },
        };
        assert_eq!(got, *expected, "row {row}: {cost} for {key} at {t} from {start}");
    }
}

#[test]
fn ten_a_second_burst_three() {
    for start in [0, oracle::TODAY, oracle::TODAY + 1] {
        run(
            quota(10, SECOND, 3),
            start,
            &[
                (0, "a", 0, Left(3)),
                (0, "a", 1, Left(2)),
                (0, "a", 1, Left(1)),
                (0, "a", 1, Left(0)),
                (0, "a", 0, Left(0)),
                (0, "a", 1, Wait(100 * MS)),
                (0, "a", 2, Wait(200 * MS)),
                (0, "a", 3, Wait(300 * MS)),
                (0, "a", 4, Never),
                (0, "a", u64::MAX, Never),
                (0, "b", 3, Left(0)),
                (0, "b", 3, Wait(300 * MS)),
                (100 * MS - 1, "a", 1, Wait(1)),
                (100 * MS, "a", 1, Left(0)),
                (100 * MS, "a", 1, Wait(100 * MS)),
                (250 * MS, "a", 0, Left(1)),
                (250 * MS, "a", 1, Left(0)),
                (250 * MS, "a", 1, Wait(50 * MS)),
                (300 * MS, "a", 2, Wait(100 * MS)),
                (300 * MS, "b", 3, Left(0)),
                (499 * MS, "a", 3, Wait(MS)),
                (500 * MS, "a", 3, Left(0)),
                (100 * SECOND, "a", 3, Left(0)),
                (100 * SECOND, "a", 1, Wait(100 * MS)),
            ],
        );
    }
}

#[test]
fn time_running_backwards() {
    run(
        quota(10, SECOND, 3),
        oracle::TODAY,
        &[
            (10 * SECOND, "a", 1, Left(2)),
            (10 * SECOND - 100 * MS, "a", 1, Left(0)),
            (10 * SECOND, "a", 0, Left(1)),
            (9 * SECOND, "a", 1, Wait(SECOND)),
            (0, "a", 1, Wait(10 * SECOND)),
            (0, "a", 0, Left(0)),
            // Nothing of that moved the state back or on.
            (10 * SECOND, "a", 1, Left(0)),
            (10 * SECOND, "a", 1, Wait(100 * MS)),
            (0, "b", 3, Left(0)),
            (10 * SECOND, "b", 3, Left(0)),
            (SECOND, "b", 3, Wait(9 * SECOND + 300 * MS)),
            (10 * SECOND + 299 * MS, "b", 3, Wait(MS)),
            (10 * SECOND + 300 * MS, "b", 3, Left(0)),
        ],
    );
}

#[test]
fn a_bucket_of_nothing_and_a_bucket_of_one() {
    run(
        quota(10, SECOND, 0),
        0,
        &[(0, "a", 0, Left(0)), (0, "a", 1, Never), (SECOND, "a", 1, Never)],
    );
    run(
        quota(3, 10, 1),
        0,
        &[
            (0, "a", 1, Left(0)),
            (0, "a", 1, Wait(4)),
            (3, "a", 1, Wait(1)),
            (4, "a", 1, Left(0)),
            (7, "a", 1, Wait(1)),
            (8, "a", 1, Left(0)),
            (11, "a", 1, Wait(1)),
            (12, "a", 1, Left(0)),
        ],
    );
}
