//! More keys than there is room for.

use tollgate::{Overflow, Retry, VirtualClock};

use crate::{at, each_algorithm, full, key, left, nanos};

const KEYS: u64 = 640;

#[test]
fn a_flood_forgets_no_key_in_debt() {
    for overflow in [Overflow::Pool, Overflow::Deny, Overflow::Allow] {
        each_algorithm!(2, |algorithm| {
            let time = VirtualClock::starting_at(at(10_000));
            let counts_denied = tollgate::Algorithm::counts_denied(&algorithm);
            let limiter = full(algorithm, &time, KEYS as usize, overflow);
            let debtor = key(3, 1 << 20);
            limiter.check_n(&debtor, 2).unwrap();
            let (mut overflows, mut allowed) = (0, 0);
            for number in 0..10 * KEYS {
                let before = limiter.overflows();
                let got = limiter.check(&key(number, number));
                match limiter.overflows() - before {
                    0 => assert!(got.is_ok(), "a fresh key that has room"),
                    1 => {
                        overflows += 1;
                        allowed += u64::from(got.is_ok());
                        if overflow == Overflow::Deny {
                            let retry = got.unwrap_err().retry();
                            assert!(matches!(retry, Retry::Unknown { .. } | Retry::After(_)));
                        }
                    }
                    more => panic!("one call, {more} overflows"),
                }
                if number % 100 == 0 && !counts_denied {
                    assert!(limiter.check(&debtor).is_err(), "it was reset by a flood");
                }
            }
            assert_eq!(limiter.len() as u64, KEYS);
            assert_eq!(overflows, 9 * KEYS + 1);
            match overflow {
                Overflow::Pool => assert_eq!(allowed, 2 * 64, "64 pools"),
                Overflow::Deny => assert_eq!(allowed, 0),
                _ => assert_eq!(allowed, overflows),
            }
        });
    }
}

#[test]
fn memory_is_bounded_in_a_flood() {
    each_algorithm!(2, |algorithm| {
        let time = VirtualClock::starting_at(at(10_000));
        let limiter = full(algorithm, &time, KEYS as usize, Overflow::Pool);
        let mut most = 0;
        for number in 0..50 * KEYS {
            let _ = limiter.check(&key(number, number));
            time.advance(nanos(number % 3));
            most = most.max(if number < 10 * KEYS { limiter.memory() } else { 0 });
        }
        assert!(limiter.memory() <= most * 5 / 4, "{} after {most}", limiter.memory());
    });
}

#[test]
fn a_key_leaves_the_pool_with_its_debt() {
    each_algorithm!(5, |algorithm| {
        let time = VirtualClock::starting_at(at(10_000));
        let limiter = full(algorithm, &time, 1, Overflow::Pool);
        limiter.check(&key(1, 1)).unwrap();
        time.advance(nanos(1));
        let late = key(1, 2);
        limiter.check_n(&late, 4).unwrap();
        assert_eq!(limiter.overflows(), 1);
        // The first is idle and there is room: the next call gives it a record.
        limiter.reset(&key(1, 1));
        limiter.check(&late).unwrap();
        assert_eq!(limiter.overflows(), 1, "a record of its own");
        assert_eq!((limiter.len(), left(&limiter, late)), (1, 0));
    });
}

#[test]
fn one_without_room_owes_nothing_where_that_is_allowed() {
    each_algorithm!(5, |algorithm| {
        let time = VirtualClock::starting_at(at(10_000));
        let limiter = full(algorithm, &time, 1, Overflow::Allow);
        limiter.check(&key(1, 1)).unwrap();
        let reserved = limiter.reserve(&key(1, 2), 5).unwrap();
        reserved.settle(100);
        assert_eq!(left(&limiter, key(1, 2)), 5);
        assert_eq!(limiter.grant_up_to(&key(1, 2), 50).unwrap().cost(), 5);
        assert_eq!(limiter.check_n(&key(1, 2), 6).unwrap_err().retry(), Retry::Never);
        assert_eq!(limiter.len(), 1);
    });
}
