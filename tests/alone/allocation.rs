//! Deciding allocates nothing for keys that are there, whatever the answer.

use stats_alloc::Region;
use tollgate::algorithm::{FixedWindow, SlidingLog, SlidingWindow};
use tollgate::policy::Missing;
use tollgate::{Enforcer, Limit, Policy, Quota, RateLimiter, Timestamp, Value, VirtualClock, all};

use crate::ALLOCATOR;

/// Allocations, reallocations included, while `work` runs.
fn allocations(work: impl FnOnce()) -> usize {
    let region = Region::new(ALLOCATOR);
    work();
    let change = region.change();
    change.allocations + change.reallocations
}

const KEYS: u64 = 1_000;

#[test]
fn deciding_on_a_key_that_is_there_allocates_nothing() {
    alone!(deciding_on_a_key_that_is_there_allocates_nothing);
    assert_ne!(allocations(|| drop(std::hint::black_box(Box::new(1)))), 0, "it counts");

    let time = VirtualClock::starting_at(Timestamp::from_secs(1_700_000_000));
    let limiter = |quota| RateLimiter::builder(quota).clock(time.clock()).max_keys(4_096).build();
    let (roomy, tight) = (limiter(Quota::per_hour(1_000)), limiter(Quota::per_hour(1)));
    let texts: Vec<String> =
        (0..KEYS).map(|key| format!("org-7:/api/v1/items:POST:user:{key:010}")).collect();
    assert!(texts.iter().all(|text| text.len() == 40));
    let mut answers = Vec::with_capacity(texts.len());
    for limiter in [&roomy, &tight] {
        for (key, text) in (0..KEYS).zip(&texts) {
            assert!(limiter.check(&key).is_ok() && limiter.check(text.as_str()).is_ok());
        }
    }

    let allocated = allocations(|| {
        for (key, text) in (0..KEYS).zip(&texts) {
            let text = text.as_str();
            assert!(roomy.check(&key).is_ok() && roomy.check(text).is_ok());
            assert!(roomy.check_n(&key, 2).is_ok() && roomy.check_n(text, 2).is_ok());
            assert!(roomy.peek(&key).is_ok() && roomy.peek(text).is_ok());
            assert!(tight.check(&key).is_err() && tight.check(text).is_err());
            assert!(tight.check_n(&key, 2).is_err() && tight.check_n(text, 2).is_err());
            assert!(tight.peek(&key).is_err() && tight.peek(text).is_err());
            assert!(all((roomy.key(&key), roomy.key(text))).admit(1).is_ok());
            assert!(all((roomy.key(&key), roomy.key(text), tight.key(&key))).admit(1).is_err());
            if let Ok(reservation) = roomy.reserve(text, 3) {
                reservation.settle(1);
            }
        }
        roomy.check_many(&texts, &mut answers);
    });
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!(allocated, 0);

    records(&time);

    let (many, one) = (Quota::per_hour(1_000_000), Quota::per_hour(1));
    let enforcer = Enforcer::builder(policy(many)).clock(time.clock()).build().unwrap();
    let decide = |key: u64| {
        let (user, org) = (USERS[key as usize % USERS.len()], key % 16);
        let mixed: [(&str, Value<'_>); 6] = [
            ("ip", "192.0.2.1".into()),
            ("user", user.into()),
            ("org", org.into()),
            ("view", "items".into()),
            ("method", "GET".into()),
            ("path", "/api/items".into()),
        ];
        let texts = [("user", user), ("org", "7"), ("view", "items"), ("path", "/api/")];
        let integers = [("user", key), ("org", org), ("ip", u64::MAX - key)];
        [
            enforcer.admit(&mixed, 1).is_ok(),
            enforcer.admit(&texts, 1).is_ok(),
            enforcer.admit(&integers, 1).is_ok(),
        ]
    };
    for (admits, quota) in [(true, many), (false, one)] {
        // All keys are there: under the first quota they came, under the second they stay.
        enforcer.reload(policy(quota)).unwrap();
        (0..KEYS).for_each(|key| assert_eq!(decide(key), [admits; 3]));
        let allocated = allocations(|| {
            for key in 0..KEYS {
                assert_eq!(decide(key), [admits; 3]);
            }
        });
        assert_eq!(allocated, 0, "admitted: {admits}");
    }
}

/// States in records; a log grows by each charge at a new timestamp.
fn records(time: &VirtualClock) {
    let quota = Quota::per_hour(1_000);
    macro_rules! limiter {
        ($algorithm:expr) => {
            RateLimiter::builder(quota).algorithm($algorithm).clock(time.clock()).build()
        };
    }
    let windows = limiter!(FixedWindow::new(quota).from_first_hit());
    let counter = limiter!(SlidingWindow::new(quota));
    let log = limiter!(SlidingLog::new(quota));
    for key in 0..KEYS {
        let charged = [windows.check(&key), counter.check(&key), log.check(&key)];
        assert!(charged.iter().all(Result::is_ok));
    }
    let allocated = allocations(|| {
        for key in 0..KEYS {
            assert!(windows.check(&key).is_ok() && counter.check_n(&key, 2).is_ok());
            assert!(log.check(&key).is_ok() && log.peek(&key).is_ok());
            assert!(log.check_n(&key, 1_000).is_err() && windows.check_n(&key, 1_001).is_err());
            assert!(log.grant_up_to(&key, 5).is_ok_and(|granted| granted.cost() == 5));
            let set = all((windows.key(&key), log.key(&key), counter.key(&key)));
            assert!(set.admit(1).is_ok() && set.admit(1_000).is_err());
            if let Ok(reservation) = log.reserve(&key, 3) {
                reservation.settle(1);
            }
        }
    });
    assert_eq!(allocated, 0);
}

const USERS: [&str; 4] = ["a", "system", "1017", "a name that is longer than sixteen bytes"];

/// Limits found by their route, by a pattern and always.
fn policy(quota: Quota) -> Policy {
    Policy::new()
        .limit(Limit::new("view", quota).key(["view", "user|org"]).when("view", ["items"]))
        .limit(Limit::new("user", quota).key(["user|ip"]).when("path", ["/api/*"]))
        .limit(Limit::new("org", quota).key(["org"]).missing(Missing::Skip))
        .limit(Limit::new("all", quota))
}
