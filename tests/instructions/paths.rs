//! The paths that are counted: each prepares a contender, then has it decide the keys given.

use std::hash::{BuildHasherDefault, DefaultHasher};

use tollgate::Policy;

use crate::contenders::service::*;
use crate::contenders::*;

/// Keys that a path decides.
pub(crate) const KEYS: usize = 1_000;

/// The hashers of the benches, of the same seed in each run: where keys lie moves the counts.
type Sip = BuildHasherDefault<DefaultHasher>;
type Fold = foldhash::fast::FixedState;

impl Hasher for Sip {
    const NAME: &'static str = "SipHash";
}

impl Hasher for Fold {
    const NAME: &'static str = "foldhash";
}

/// Prepares a contender, then has it decide each of these keys.
pub(crate) type Walk = fn(&[u64]);

/// The name of a row, and its contenders: Tollgate, governor and the floor.
pub(crate) type Row = (&'static str, [Option<Walk>; 3]);

pub(crate) const ROWS: &[Row] = &[
    (
        "check, time passed in, foldhash: allowed",
        [
            Some(|keys| check_in_debt::<Fold>(keys, Time::Given, true)),
            Some(|keys| governor_in_debt::<Fold>(keys, Time::Given, true)),
            Some(|keys| floor::<Fold>(keys, Time::Given)),
        ],
    ),
    (
        "check, time passed in, foldhash: denied",
        [
            Some(|keys| check_in_debt::<Fold>(keys, Time::Given, false)),
            Some(|keys| governor_in_debt::<Fold>(keys, Time::Given, false)),
            None,
        ],
    ),
    (
        "check, time passed in, foldhash: full again by the next visit",
        [Some(check_again::<Fold>), Some(governor_again::<Fold>), None],
    ),
    (
        "check, time passed in, SipHash: allowed",
        [
            Some(|keys| check_in_debt::<Sip>(keys, Time::Given, true)),
            Some(|keys| governor_in_debt::<Sip>(keys, Time::Given, true)),
            Some(|keys| floor::<Sip>(keys, Time::Given)),
        ],
    ),
    (
        "check, std clock, SipHash: allowed",
        [
            Some(|keys| check_in_debt::<Sip>(keys, Time::Std, true)),
            Some(|keys| governor_in_debt::<Sip>(keys, Time::Std, true)),
            Some(|keys| floor::<Sip>(keys, Time::Std)),
        ],
    ),
    (
        "check, std clock, SipHash: denied",
        [
            Some(|keys| check_in_debt::<Sip>(keys, Time::Std, false)),
            Some(|keys| governor_in_debt::<Sip>(keys, Time::Std, false)),
            None,
        ],
    ),
    (
        "three limits, time passed in, foldhash: allowed",
        [
            Some(|keys| set_in_debt::<Fold>(keys, Time::Given, true)),
            Some(|keys| three_checks_in_debt::<Fold>(keys, Time::Given, true)),
            None,
        ],
    ),
    (
        "three limits, time passed in, foldhash: refused by the global one",
        [
            Some(|keys| set_in_debt::<Fold>(keys, Time::Given, false)),
            Some(|keys| three_checks_in_debt::<Fold>(keys, Time::Given, false)),
            None,
        ],
    ),
    (
        "three limits, time passed in, foldhash: full again by the next visit",
        [Some(set_again_walk::<Fold>), Some(three_checks_again::<Fold>), None],
    ),
    (
        "three limits, std clock, SipHash: allowed",
        [
            Some(|keys| set_in_debt::<Sip>(keys, Time::Std, true)),
            Some(|keys| three_checks_in_debt::<Sip>(keys, Time::Std, true)),
            None,
        ],
    ),
    (
        "admit, time passed in, foldhash: admitted",
        [
            Some(|keys| admit_in_debt::<Fold>(keys, Time::Given, true)),
            Some(|keys| call_checks_in_debt::<Fold>(keys, Time::Given, true)),
            None,
        ],
    ),
    (
        "admit, time passed in, foldhash: refused",
        [
            Some(|keys| admit_in_debt::<Fold>(keys, Time::Given, false)),
            Some(|keys| call_checks_in_debt::<Fold>(keys, Time::Given, false)),
            None,
        ],
    ),
    (
        "admit, time passed in, foldhash: full again by the next visit",
        [Some(admit_again::<Fold>), Some(call_checks_again::<Fold>), None],
    ),
    (
        "admit, std clock, SipHash: admitted",
        [
            Some(|keys| admit_in_debt::<Sip>(keys, Time::Std, true)),
            Some(|keys| call_checks_in_debt::<Sip>(keys, Time::Std, true)),
            None,
        ],
    ),
    (
        "admit, std clock, SipHash: refused",
        [
            Some(|keys| admit_in_debt::<Sip>(keys, Time::Std, false)),
            Some(|keys| call_checks_in_debt::<Sip>(keys, Time::Std, false)),
            None,
        ],
    ),
    (
        "admit, time passed in, foldhash: admitted, of 1,000 limits",
        [Some(admit_of_many::<Fold>), None, None],
    ),
    ("reading the std clock", [Some(clock), None, None]),
];

fn each(keys: &[u64], allow: bool, decide: impl Fn(&u64) -> bool) {
    let allowed = keys.iter().filter(|key| decide(key)).count();
    assert_eq!(allowed, if allow { keys.len() } else { 0 });
}

/// Has all keys decided once.
fn fill(decide: impl Fn(&u64) -> bool) {
    assert!((0..KEYS as u64).all(|key| decide(&key)));
}

fn check_in_debt<S: Hasher>(keys: &[u64], time: Time, allow: bool) {
    let limiter = tollgate::<S>(KEYS, time);
    fill(|key| check(&limiter, key, time));
    if !allow {
        limiter.set_quota(TIGHT);
    }
    each(keys, allow, |key| check(&limiter, key, time));
}

fn check_again<S: Hasher>(keys: &[u64]) {
    let limiter = tollgate_of::<S>(again(KEYS), KEYS, Time::Moving);
    fill(|key| check(&limiter, key, Time::Moving));
    each(keys, true, |key| check(&limiter, key, Time::Moving));
}

fn governor_in_debt<S: Hasher>(keys: &[u64], time: Time, allow: bool) {
    let map: Map<u64, S> = Map::with_hasher(S::default());
    let roomy = Governor::new(&map, ROOMY);
    let governor = Governor::new(&map, if allow { ROOMY } else { TIGHT });
    fill(|key| roomy.check(key, time));
    each(keys, allow, |key| governor.check(key, time));
}

fn governor_again<S: Hasher>(keys: &[u64]) {
    let map: Map<u64, S> = Map::with_hasher(S::default());
    let governor = Governor::new(&map, again(KEYS));
    fill(|key| governor.check(key, Time::Moving));
    each(keys, true, |key| governor.check(key, Time::Moving));
}

fn floor<S: Hasher>(keys: &[u64], time: Time) {
    let floor = Floor::<S>::new(tollgate::<S>(KEYS, time).memory());
    each(keys, true, |key| floor.check(key, time));
}

fn set_in_debt<S: Hasher>(keys: &[u64], time: Time, allow: bool) {
    let limiters = Limiters::<S>::new([ROOMY; 3], KEYS, time);
    fill(|user| limiters.admit(*user, time));
    if !allow {
        limiters.global.set_quota(TIGHT);
    }
    each(keys, allow, |user| limiters.admit(*user, time));
}

fn set_again_walk<S: Hasher>(keys: &[u64]) {
    let limiters = Limiters::<S>::new(set_again(KEYS), KEYS, Time::Moving);
    fill(|user| limiters.admit(*user, Time::Moving));
    each(keys, true, |user| limiters.admit(*user, Time::Moving));
}

fn three_checks_in_debt<S: Hasher>(keys: &[u64], time: Time, allow: bool) {
    let maps = Maps::<S>::new();
    let roomy = Checks::new([ROOMY; 3], &maps);
    let checks = Checks::new([ROOMY, ROOMY, if allow { ROOMY } else { TIGHT }], &maps);
    fill(|user| roomy.check(*user, time));
    each(keys, allow, |user| checks.check(*user, time));
}

fn three_checks_again<S: Hasher>(keys: &[u64]) {
    let maps = Maps::<S>::new();
    let checks = Checks::new(set_again(KEYS), &maps);
    fill(|user| checks.check(*user, Time::Moving));
    each(keys, true, |user| checks.check(*user, Time::Moving));
}

fn calls() -> Vec<Call> {
    (0..KEYS as u64).map(Call::new).collect()
}

fn admit_in_debt<S: Hasher>(keys: &[u64], time: Time, allow: bool) {
    let calls = calls();
    let enforcer = if allow {
        let enforcer = enforcer::<S>(three_limits(Policy::new(), [ROOMY; 3]), time);
        fill(|user| admit(&enforcer, &calls[*user as usize], time));
        enforcer
    } else {
        refusing::<S>(&calls, time)
    };
    each(keys, allow, |user| admit(&enforcer, &calls[*user as usize], time));
}

fn admit_again<S: Hasher>(keys: &[u64]) {
    let calls = calls();
    let policy = three_limits(Policy::new(), policy_again(KEYS));
    let enforcer = enforcer::<S>(policy, Time::Moving);
    fill(|user| admit(&enforcer, &calls[*user as usize], Time::Moving));
    each(keys, true, |user| admit(&enforcer, &calls[*user as usize], Time::Moving));
}

fn admit_of_many<S: Hasher>(keys: &[u64]) {
    let calls = calls();
    let enforcer = enforcer::<S>(three_limits(other_routes(997), [ROOMY; 3]), Time::Given);
    fill(|user| admit(&enforcer, &calls[*user as usize], Time::Given));
    each(keys, true, |user| admit(&enforcer, &calls[*user as usize], Time::Given));
}

fn call_checks_in_debt<S: Hasher>(keys: &[u64], time: Time, allow: bool) {
    let calls = calls();
    let maps = CallMaps::<S>::new();
    let roomy = CallChecks::new([ROOMY; 3], &maps);
    let checks = CallChecks::new(if allow { [ROOMY; 3] } else { REFUSING }, &maps);
    fill(|user| roomy.check(&calls[*user as usize], time));
    each(keys, allow, |user| checks.check(&calls[*user as usize], time));
}

fn call_checks_again<S: Hasher>(keys: &[u64]) {
    let calls = calls();
    let maps = CallMaps::<S>::new();
    let checks = CallChecks::new(policy_again(KEYS), &maps);
    fill(|user| checks.check(&calls[*user as usize], Time::Moving));
    each(keys, true, |user| checks.check(&calls[*user as usize], Time::Moving));
}

fn clock(keys: &[u64]) {
    let clock = Time::Std.clock();
    each(keys, true, |_| std::hint::black_box(clock.now()) > GIVEN);
}
