//! Policies and sets with slots give the same answers on the fast path and as transactions. Random
//! calls go to two alike, but one of them has an additional limit that always allows and that only
//! a transaction can decide.

use std::collections::VecDeque;
use std::time::Duration;

use tollgate::algorithm::{FixedWindow, Gcra};
use tollgate::set::SetPermit;
use tollgate::{
    ConcurrencyLimiter, Enforcer, Limit, Mode, Permit, Policy, Quota, RateLimiter, VirtualClock,
    all,
};

use crate::oracle::Rng;

const LEASE: Duration = Duration::from_millis(40);

fn roomy() -> Quota {
    Quota::per_second(1_000_000_000)
}

fn rate(rng: &mut Rng) -> Quota {
    Quota::new(1 + rng.below(3), Duration::from_millis(10)).unwrap().burst(1 + rng.below(6))
}

struct World {
    time: VirtualClock,
    enforcer: Enforcer,
    held: VecDeque<Permit>,
}

impl World {
    fn new(policy: Policy) -> World {
        let time = VirtualClock::new();
        let enforcer = Enforcer::builder(policy).clock(time.clock()).build().unwrap();
        World { time, enforcer, held: VecDeque::new() }
    }
}

#[test]
fn a_policy_with_slots_says_the_same_as_one_that_a_transaction_decides() {
    for seed in 0..400 {
        let mut rng = Rng(seed);
        let mut policy = Policy::new().limit(Limit::new("user", rate(&mut rng)).key(["user"]));
        let weight = 1 + rng.below(2) as u32;
        let slots = |name: &str, cap| Limit::concurrent(name, cap).lease(LEASE);
        policy = policy.limit(slots("queries", weight + rng.below(4) as u32).weight(weight));
        if rng.below(2) == 0 {
            policy = policy.limit(Limit::new("all", rate(&mut rng)));
        }
        if rng.below(2) == 0 {
            policy = policy.limit(slots("reports", 1 + rng.below(4) as u32).key(["user"]));
        }
        let beside = Limit::new("beside", roomy()).mode(Mode::Shadow);
        let mut worlds = [World::new(policy.clone()), World::new(policy.limit(beside))];
        for step in 0..200 {
            let user = ["a", "b", "c"][rng.below(3) as usize];
            let (facts, cost) = ([("user", user)], rng.below(3));
            let (act, end) = (rng.below(8), rng.below(3) as usize);
            let millis = Duration::from_millis(rng.below(12));
            let [fast, slow] = worlds.each_mut().map(|world| {
                let World { time, enforcer, held } = world;
                match act {
                    0 => time.advance(millis),
                    1 | 2 => drop(held.pop_front()),
                    3 => drop(held.pop_back().map(|permit| permit.settle(end as u64))),
                    4 => return Some((enforcer.peek(&facts, cost), None)),
                    5 | 6 => {
                        let admitted = enforcer.admit(&facts, cost);
                        let said = admitted.as_ref().map(Permit::allowed).map_err(|r| *r);
                        held.extend(admitted);
                        return Some((said, None));
                    }
                    _ => {
                        let (admitted, answers) = enforcer.admit_with_answers(&facts, cost);
                        let said = admitted.as_ref().map(Permit::allowed).map_err(|r| *r);
                        held.extend(admitted);
                        return Some((said, Some(answers)));
                    }
                }
                None
            });
            assert_eq!(fast, slow, "seed {seed} step {step}");
            let [fast, slow] = worlds.each_ref().map(|world| {
                let limits = world.enforcer.limits().into_iter().filter(|l| l.name != "beside");
                let counts =
                    limits.map(|l| (l.checked, l.refused, l.acquired, l.returned, l.slots));
                (counts.collect::<Vec<_>>(), world.enforcer.totals().admitted)
            });
            assert_eq!(fast, slow, "seed {seed} step {step}");
        }
    }
}

#[test]
fn a_set_with_slots_says_the_same_as_one_that_a_transaction_decides() {
    for seed in 0..400 {
        let mut rng = Rng(seed);
        let (users, shared) = (rate(&mut rng), rate(&mut rng));
        let (weight, caps) = (1 + rng.below(2) as u32, [1 + rng.below(4), 1 + rng.below(4)]);
        let time = VirtualClock::new();
        let limiters = [(); 2].map(|()| {
            let rate = |quota| RateLimiter::builder(quota).clock(time.clock()).build();
            let slots = caps.map(|cap| {
                ConcurrencyLimiter::builder(cap as u32).lease(LEASE).clock(time.clock()).build()
            });
            (rate(users), rate(shared), slots)
        });
        let beside: RateLimiter<FixedWindow> = RateLimiter::builder(roomy())
            .clock(time.clock())
            .algorithm(FixedWindow::new(roomy()))
            .build();
        type Limiters = (RateLimiter<Gcra>, RateLimiter<Gcra>, [ConcurrencyLimiter; 2]);
        let [(u, s, [a, b]), (u2, s2, [a2, b2])]: &[Limiters; 2] = &limiters;
        let (mut fast, mut slow) = (VecDeque::<SetPermit<'_, 5>>::new(), VecDeque::new());
        for step in 0..200 {
            let (user, cost) = (rng.below(3), rng.below(3));
            match rng.below(6) {
                0 => time.advance(Duration::from_millis(rng.below(12))),
                1 | 2 => {
                    drop(fast.pop_front());
                    drop(slow.pop_front());
                }
                _ => {
                    let one =
                        (u.key(&user), a.slot().weight(weight), s.key(&()), b.slot(), a.slot());
                    let one = all(one).admit(cost);
                    let other = (
                        u2.key(&user),
                        a2.slot().weight(weight),
                        s2.key(&()),
                        b2.slot(),
                        a2.slot(),
                        beside.key(&()),
                    );
                    let other = all(other).admit(cost);
                    let said = one.as_ref().map(|p| (p.cost(), p.allowed())).map_err(|r| *r);
                    let same = other.as_ref().map(|p| (p.cost(), p.allowed())).map_err(|r| *r);
                    assert_eq!(said, same, "seed {seed} step {step}");
                    fast.extend(one);
                    slow.extend(other);
                }
            }
            assert_eq!([a.usage(), b.usage()], [a2.usage(), b2.usage()], "seed {seed} step {step}");
        }
    }
}
