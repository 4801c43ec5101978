//! Many threads on the same limits, on real threads and real time: no slot is given twice, none is
//! lost, no thread waits for ever.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use tollgate::{ConcurrencyLimiter, Enforcer, Limit, Policy, Quota, WaitError};

const THREADS: u64 = 8;
/// Far longer than a test takes: a thread that waits this long was stranded.
const LONG: Duration = Duration::from_secs(600);

/// A random number generator, xorshift.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

/// Runs `body` on all threads, each with its own random numbers.
fn on_threads(body: impl Fn(&mut Random) + Send + Sync) {
    thread::scope(|scope| {
        for seed in 1..=THREADS {
            let body = &body;
            scope.spawn(move || body(&mut Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15))));
        }
    });
}

/// How many hold something now, which never passes its cap.
#[derive(Default)]
struct Held(AtomicU32);

impl Held {
    fn during(&self, units: u32, cap: u32) {
        let now = self.0.fetch_add(units, Ordering::SeqCst) + units;
        assert!(now <= cap, "{now} of {cap} are held");
        if now % 3 == 0 {
            thread::yield_now();
        }
        self.0.fetch_sub(units, Ordering::SeqCst);
    }
}

#[test]
fn slots_of_one_limit() {
    const CAP: u32 = 6;
    let slots = ConcurrencyLimiter::builder(CAP).lease(LONG).build();
    let held = Held::default();
    let [taken, denied, waited] = [(); 3].map(|()| AtomicU64::new(0));
    let try_once = |random: &mut Random| {
        let weight = 1 + random.below(3) as u32;
        match slots.try_acquire_n(weight) {
            Ok(lease) => {
                held.during(weight, CAP);
                drop(lease);
                taken.fetch_add(1, Ordering::Relaxed);
            }
            Err(_) => {
                denied.fetch_add(1, Ordering::Relaxed);
            }
        }
    };
    let wait = |random: &mut Random| {
        let weight = 1 + random.below(3) as u32;
        let within = if random.below(4) > 0 { LONG } else { Duration::from_micros(50) };
        let lease = slots.acquire_n_blocking(weight, within);
        assert!(lease.is_ok() || within < LONG, "forgotten");
        if lease.is_ok() {
            held.during(weight, CAP);
            waited.fetch_add(1, Ordering::Relaxed);
        }
    };
    // Separately first: while a thread waits, no other gets anything.
    on_threads(|random| (0..4_000).for_each(|_| try_once(random)));
    on_threads(|random| {
        (0..4_000).for_each(|_| if random.below(2) == 0 { try_once(random) } else { wait(random) });
    });
    let usage = slots.usage();
    assert_eq!((usage.in_use, usage.waiting, usage.expired, usage.late), (0, 0, 0, 0));
    for (what, count) in [("taken", &taken), ("denied", &denied), ("waited", &waited)] {
        assert!(count.load(Ordering::Relaxed) > 500, "hardly ever {what}: {count:?}");
    }
    assert!(slots.try_acquire_n(CAP).is_ok(), "a slot is lost");
}

#[test]
fn slots_of_two_limits_and_a_rate_as_one() {
    let limit = |name, cap| Limit::concurrent(name, cap).lease(LONG).wait(LONG);
    let policy = Policy::new()
        .limit(Limit::new("rate", Quota::per_second(1_000_000)).key(["org"]).wait(LONG))
        .limit(limit("org", 2).key(["org"]))
        .limit(limit("all", 3));
    let enforcer = Arc::new(Enforcer::builder(policy).build().unwrap());
    let all = Held::default();
    let orgs: [Held; 3] = Default::default();
    let admitted = AtomicU64::new(0);
    on_threads(|random| {
        for _ in 0..2_000 {
            let org = random.below(3);
            let facts = [("org", org)];
            let permit = match random.below(3) {
                0 => enforcer.admit(&facts, 1).map_err(WaitError::Denied),
                _ => enforcer.admit_blocking(&facts, 1),
            };
            match permit {
                Ok(permit) => {
                    orgs[org as usize].during(1, 2);
                    all.during(1, 3);
                    drop(permit);
                    admitted.fetch_add(1, Ordering::Relaxed);
                }
                Err(WaitError::Denied(refused)) => {
                    assert!(["rate", "org", "all"].contains(&refused.limit()));
                }
                Err(other) => panic!("{other}"),
            }
        }
    });
    let status = enforcer.limits();
    for limit in &status[1..] {
        let slots = limit.slots.unwrap();
        assert_eq!((slots.in_use, limit.waiting), (0, 0), "{}", limit.name);
    }
    assert_eq!(status[0].checked, THREADS * 2_000);
    assert!(admitted.load(Ordering::Relaxed) > THREADS * 1_000, "{admitted:?}");
}
