//! The thin path.

use std::time::Duration;
use tollgate::*;
#[test]
fn basics() {
    let time = VirtualClock::new();
    let l = RateLimiter::builder(Quota::per_second(10)).clock(time.clock()).build();
    for i in 0..10 {
        assert_eq!(l.check("a").unwrap().remaining(), 9 - i);
    }
    let d = l.check("a").unwrap_err();
    assert_eq!(d.retry(), Retry::After(Duration::from_millis(100)));
    assert_eq!(l.peek("b").unwrap().remaining(), 9);
    time.advance(Duration::from_millis(100));
    assert!(l.check("a").is_ok());
    assert!(l.check("a").is_err());
    let g = RateLimiter::builder(Quota::per_second(3)).clock(time.clock()).name("global").build();
    for _ in 0..3 {
        all((l.key("z"), g.key(&()))).admit(1).unwrap();
    }
    let r = all((l.key("z"), g.key(&()))).admit(1).unwrap_err();
    assert_eq!(r.limit(), "global");
    assert_eq!(l.peek_n("z", 0).unwrap().remaining(), 7);
    let p = l.reserve("q", 5).unwrap();
    p.settle(2);
    assert_eq!(l.peek_n("q", 0).unwrap().remaining(), 8);
    l.set_quota(Quota::per_second(100));
    assert_eq!(l.peek_n("q", 0).unwrap().remaining(), 98);
    time.advance(Duration::from_secs(1_000_000_000));
    assert_eq!(l.peek_n("q", 0).unwrap().remaining(), 100);
    let big =
        RateLimiter::builder(Quota::per_hour(1)).clock(time.clock()).max_keys(100_000).build();
    for k in 0..100_000u64 {
        big.check(&k).unwrap();
    }
    for k in 0..100_000u64 {
        assert!(big.check(&k).is_err(), "{k}");
    }
    assert_eq!((big.overflows(), big.len()), (0, 100_000));
    println!("{}", big.memory() as f64 / 1e5);
    for k in 0..100_000u64 {
        let _ = big.check(&(k + 1_000_000));
    }
    println!("{} {}", big.overflows(), big.len());
    for k in 0..100_000u64 {
        assert!(big.check(&k).is_err(), "{k}");
    }
}

#[test]
fn two_keys_of_one_limiter_that_share_a_pool_cell_are_charged_together() {
    let time = VirtualClock::new();
    let l = RateLimiter::builder(Quota::per_hour(4)).clock(time.clock()).max_keys(1).build();
    for key in 0..4_u64 {
        l.check_n(&key, 4).unwrap();
    }
    // All others overflow into 64 cells: among 200 keys some share one.
    let mut admitted = 0;
    for key in 100..300_u64 {
        admitted += u32::from(all((l.key(&key), l.key(&(key + 1000)))).admit(1).is_ok());
        admitted += u32::from(all((l.key(&key), l.key(&key))).admit(1).is_ok());
    }
    assert!(admitted > 0 && admitted <= 64 * 4 / 2, "{admitted}");
}

#[test]
fn two_new_keys_of_one_limiter_do_not_take_one_slot_from_each_other() {
    let time = VirtualClock::new();
    time.advance(Duration::from_secs(1));
    // Four slots, three of them in debt: one is free.
    let l = RateLimiter::builder(Quota::per_hour(4)).clock(time.clock()).max_keys(1).build();
    for key in 0..3_u64 {
        l.check_n(&key, 4).unwrap();
    }
    assert!(all((l.key(&10_u64), l.key(&11_u64))).admit(1).is_ok());
    assert_eq!(l.overflows(), 1);
}
