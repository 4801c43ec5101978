//! Counters by windows: `FixedWindowCounter` and `QuotaSet`.

use std::time::Duration;

use tollgate::compat::{CountedQuota, FixedWindowCounter, Hit, QuotaAnswer, QuotaSet};

use crate::compat::{NANO, at, secs, time};

fn hit(limited: bool, value: u64, reset: u64) -> Hit {
    Hit { limited, value, reset: at(reset) }
}

#[test]
fn the_limit_of_a_hit_is_that_of_the_call() {
    let time = time();
    let hits = FixedWindowCounter::new(time.clock());
    let ten = Some(secs(10));
    for (limit, limited, value) in [(1, false, 1), (1, true, 2), (3, false, 3), (2, true, 4)] {
        assert_eq!(hits.hit("k", limit, ten), hit(limited, value, 1_010));
    }
    assert_eq!(hits.hit("k", i64::MIN, ten), hit(true, 5, 1_010));
    assert_eq!((hits.current("k", ten), hits.current("other", ten)), (5, 0));
}

#[test]
fn windows_of_two_lengths_share_a_count_where_they_have_one_number() {
    let time = time();
    let hits = FixedWindowCounter::new(time.clock());
    let value = |window, secs_now| hits.hit_at("k", 9, Some(secs(window)), at(secs_now)).value;
    // 1005 / 1010 and 1005 / 2000 are both 0; 1005 / 10 is not.
    assert_eq!([value(1_010, 1_005), value(2_000, 1_006), value(10, 1_006)], [1, 2, 1]);
    // The latest counted call says when its window ends: the first ends in 2 s; the second's window
    // goes on.
    assert_eq!(value(1_010, 1_008), 3);
    time.set(at(1_010));
    assert_eq!(hits.current("k", Some(secs(2_000))), 0);
    assert_eq!(value(2_000, 1_010), 1);
    assert_eq!(value(2_000, 1_999), 2);
}

#[test]
fn no_window_and_one_of_no_length_are_a_minute() {
    let time = time();
    let hits = FixedWindowCounter::new(time.clock());
    assert_eq!(hits.hit("k", 9, None), hit(false, 1, 1_020));
    assert_eq!(hits.hit("k", 9, Some(Duration::ZERO)), hit(false, 2, 1_020));
    assert_eq!(hits.hit("k", 9, Some(secs(60))), hit(false, 3, 1_020));
    time.set(at(1_020) - NANO);
    assert_eq!(hits.current("k", None), 3);
    time.set(at(1_020));
    assert_eq!(hits.current("k", None), 0);
}

#[test]
fn an_earlier_hit_counts_in_the_window_under_way() {
    let hits = FixedWindowCounter::new(time().clock());
    let ten = Some(secs(10));
    assert_eq!(hits.hit_at("k", 3, ten, at(1_010)), hit(false, 1, 1_020));
    assert_eq!(hits.hit_at("k", 3, ten, at(1_009)), hit(false, 2, 1_020));
    assert_eq!(hits.hit_at("k", 3, ten, at(0)), hit(false, 3, 1_020));
    assert_eq!(hits.hit_at("k", 3, ten, at(1_009)), hit(true, 4, 1_020));
}

const ORG: u64 = 42;

fn quota(key: &str, limit: Option<u64>) -> CountedQuota<&str> {
    CountedQuota { key, limit, window: secs(60), organization: ORG }
}

fn answers(answers: &[QuotaAnswer]) -> Vec<(bool, i128)> {
    answers.iter().map(|answer| (answer.rejected, answer.consumed)).collect()
}

#[test]
fn a_set_may_ask_other_quotas_and_limits_each_time() {
    let set = QuotaSet::new(time().clock());
    let check = |quotas: &[_], quantity| answers(&set.check(quotas, quantity, false));
    assert_eq!(check(&[quota("a", Some(5)), quota("b", None)], 4), [(false, 4), (false, 4)]);
    assert_eq!(check(&[quota("a", Some(3))], 1), [(true, 4)], "a lower limit");
    assert_eq!(check(&[quota("b", Some(4)), quota("a", Some(9))], 1), [(true, 4), (false, 4)]);
    assert_eq!(check(&[quota("b", None), quota("a", None)], 1), [(false, 5), (false, 5)]);
    assert_eq!(check(&[], 7), []);
    // Listed twice it is charged twice, and asked as it was before.
    assert_eq!(check(&[quota("c", Some(1)), quota("c", Some(1))], 1), [(false, 2), (false, 2)]);
}

#[test]
fn a_quantity_of_nothing_asks_whether_the_limit_is_reached() {
    let set = QuotaSet::new(time().clock());
    let check = |limit, quantity| answers(&set.check(&[quota("k", Some(limit))], quantity, false));
    assert_eq!(check(2, 0), [(false, 0)]);
    assert_eq!(check(0, 0), [(true, 0)]);
    assert_eq!(check(2, 1), [(false, 1)]);
    assert_eq!(check(2, 0), [(false, 1)]);
    assert_eq!(check(2, 1), [(false, 2)]);
    assert_eq!(check(2, 0), [(true, 2)]);
    assert_eq!(check(1, 0), [(true, 2)]);
}

#[test]
fn over_accepted_once_the_limit_is_passed_by_one_call() {
    let set = QuotaSet::new(time().clock());
    let check = |quantity, over| answers(&set.check(&[quota("k", Some(5))], quantity, over));
    assert_eq!(check(4, false), [(false, 4)]);
    assert_eq!(check(100, false), [(true, 4)]);
    assert_eq!(check(100, true), [(false, 104)]);
    assert_eq!(check(1, true), [(true, 104)]);
    assert_eq!(check(0, true), [(true, 104)]);
}

#[test]
fn refunds_lower_what_is_consumed_and_may_come_first() {
    let time = time();
    let set = QuotaSet::new(time.clock());
    let five = [quota("k", Some(5))];
    let check = |quantity| answers(&set.check(&five, quantity, false));
    assert_eq!(check(5), [(false, 5)]);
    set.refund(&five, 2);
    assert_eq!(check(3), [(true, 3)]);
    assert_eq!(check(2), [(false, 5)]);
    // More than was consumed: that much more may be.
    set.refund(&five, 8);
    assert_eq!(check(9), [(true, -3)]);
    assert_eq!(check(8), [(false, 5)]);
    // All in the window of the refund.
    time.advance(secs(60));
    assert_eq!(check(0), [(false, 0)]);
    assert_eq!(check(6), [(true, 0)]);
}

#[test]
fn windows_of_an_organization_begin_at_its_remainder() {
    let time = time();
    let set = QuotaSet::new(time.clock());
    let mut org = quota("k", Some(1));
    // 7 seconds into each minute: 967, 1027, 1087 …
    org.organization = 60 * 1_000_003 + 7;
    let rejected = |now| set.check_at(&[org], 1, false, now)[0].rejected;
    assert!(!rejected(at(1_027)) && rejected(at(1_087) - NANO));
    assert!(!rejected(at(1_087)));
    // An earlier time is in the window under way.
    assert!(rejected(at(1_027)) && rejected(at(0)));
    // Before the first window there is one, too.
    let set = QuotaSet::new(time.clock());
    let rejected = |now| set.check_at(&[org], 1, false, now)[0].rejected;
    assert!(!rejected(at(0)) && rejected(at(7) - NANO) && !rejected(at(7)) && rejected(at(66)));
}
