//! `GranuleQuotas`, `DistinctValues` and `LeakyBucket`.

use std::time::Duration;

use tollgate::Quota;
use tollgate::compat::{
    DistinctValues, Grant, GranuleQuota, GranuleQuotas, Leak, LeakyBucket, Request,
};

use crate::compat::{NANO, at, secs, time};

fn granule(limit: i64) -> GranuleQuota<'static> {
    GranuleQuota { window: secs(30), granularity: secs(10), limit, prefix_override: None }
}

fn request<'a>(requested: u64, quotas: &'a [GranuleQuota<'a>]) -> Request<'a> {
    Request { prefix: "k", requested, quotas }
}

fn grant(granted: u64, reached: &[usize]) -> Grant {
    Grant { granted, reached: reached.to_vec() }
}

#[test]
fn the_limit_is_that_of_the_call_and_what_was_used_is_shared() {
    let quotas = GranuleQuotas::new(time().clock());
    let ask = |requested, limit| quotas.check_and_use(&[request(requested, &[granule(limit)])]);
    assert_eq!(ask(4, 10), [grant(4, &[])]);
    assert_eq!(ask(4, 3), [grant(0, &[0])], "a lower limit");
    assert_eq!(ask(4, 6), [grant(2, &[0])]);
    assert_eq!(ask(4, 100), [grant(4, &[])]);
    assert_eq!(ask(1, -5), [grant(0, &[0])]);
    assert_eq!(ask(100, 12), [grant(2, &[0])]);
}

#[test]
fn each_quota_that_lowers_the_grant_is_named_and_all_are_charged_what_is_granted() {
    let quotas = GranuleQuotas::new(time().clock());
    let global = |limit| GranuleQuota { prefix_override: Some("all"), ..granule(limit) };
    let fine = |limit| GranuleQuota { granularity: secs(1), ..granule(limit) };
    let of = [granule(8), global(9), fine(5)];
    assert_eq!(quotas.check_and_use(&[request(10, &of)]), [grant(5, &[0, 2])]);
    // Three are left of the first, four of the second, none of the third.
    assert_eq!(quotas.check_and_use(&[request(10, &of)]), [grant(0, &[0, 2])]);
    assert_eq!(quotas.check_and_use(&[request(4, &of[1..2])]), [grant(4, &[])]);
    assert_eq!(quotas.check_and_use(&[request(1, &of[1..2])]), [grant(0, &[0])]);
    // What two agree on but for the limit is used once.
    let twice = [GranuleQuota { window: secs(60), ..granule(4) }; 2];
    assert_eq!(quotas.check_and_use(&[request(3, &twice)]), [grant(3, &[])]);
    assert_eq!(quotas.check_and_use(&[request(3, &twice)]), [grant(1, &[0])]);
}

#[test]
fn requests_of_one_call_are_decided_in_order() {
    let quotas = GranuleQuotas::new(time().clock());
    let of = [granule(10)];
    let asked = [request(6, &of), request(0, &of), request(6, &of), request(1, &of)];
    let granted = quotas.check_and_use(&asked);
    assert_eq!(granted, [grant(6, &[]), grant(0, &[]), grant(4, &[0]), grant(0, &[0])]);
    assert_eq!(quotas.check_and_use(&[]), []);
    assert_eq!(quotas.check_and_use(&[request(7, &[])]), [grant(7, &[])], "nothing limits it");
}

#[test]
fn an_earlier_use_is_free_again_with_the_latest() {
    let quotas = GranuleQuotas::new(time().clock());
    let of = [granule(5)];
    let ask = |requested, now| quotas.check_and_use_at(&[request(requested, &of)], now)[0].granted;
    assert_eq!(ask(2, at(1_010)), 2);
    assert_eq!(ask(9, at(999)), 3);
    assert_eq!(ask(1, at(1_040) - NANO), 0);
    assert_eq!(ask(9, at(1_040)), 5);
    assert_eq!(ask(9, at(1_010)), 0);
}

#[test]
fn values_asked_for_together_are_decided_in_order() {
    let time = time();
    let values = DistinctValues::new(Quota::new(3, secs(30)).unwrap(), 3, time.clock());
    let ask = |asked: &[u64]| {
        let granted = values.check_and_use("k", asked);
        (granted.granted.into_iter().copied().collect::<Vec<_>>(), granted.reached)
    };
    assert_eq!(ask(&[1, 1, 2]), (vec![1, 1, 2], false), "each once");
    assert_eq!(ask(&[3, 4, 1, 5]), (vec![3, 1], true));
    assert_eq!(ask(&[]), (vec![], false));
    assert_eq!(values.check_and_use("other", &[9]).granted, [&9]);
    time.advance(secs(30) - NANO);
    assert_eq!(ask(&[4, 3]), (vec![3], true));
    time.advance(NANO);
    assert_eq!(ask(&[4, 5, 6]), (vec![4, 5], true));
}

fn leak(limited: bool, level: u64, wait: Duration) -> Leak {
    Leak { limited, level, wait }
}

#[test]
fn a_bucket_leaks_evenly_and_earlier_counts_as_the_last_unit() {
    let bucket = LeakyBucket::new(Quota::per_second(2).burst(5), time().clock());
    let fill = |units, now| bucket.fill_at("k", units, now);
    let zero = Duration::ZERO;
    assert_eq!(fill(3, at(100)), leak(false, 3, zero));
    // As at 100: the plain one would have it that three were in it half a second before.
    assert_eq!(fill(2, at(99)), leak(false, 5, zero));
    assert_eq!(fill(1, at(99)), leak(true, 5, secs(1) + Duration::from_millis(500)));
    assert_eq!(fill(0, at(100)), leak(false, 5, zero));
    assert_eq!(fill(1, at(100) + Duration::from_millis(500)), leak(false, 5, zero));
    assert_eq!(fill(5, at(102)), leak(true, 2, Duration::from_millis(1_000)));
    assert_eq!(fill(5, at(103)), leak(false, 5, zero));
}

#[test]
fn what_never_fits_has_a_wait_all_the_same() {
    let bucket = LeakyBucket::new(Quota::per_second(2).burst(5), time().clock());
    let wait = |units| bucket.fill_at("k", units, at(100)).wait;
    assert_eq!((wait(6), wait(9)), (Duration::from_millis(500), secs(2)));
    bucket.fill_at("k", 3, at(100));
    assert_eq!(wait(6), secs(2));
    assert!(wait(u64::MAX) > secs(1 << 33));
}
