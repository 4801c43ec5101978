//! Measures slots against tokio's semaphore, each ratio within one run; `harness` has the method.
//!
//! `cargo bench --bench slots --features tokio` runs everything (ten seconds); arguments select
//! parts: `cargo bench --bench slots --features tokio -- alone keyed`. Prints Markdown.
//!
//! A lease ends by itself and can be attributed to its holder; a permit of the semaphore cannot.
//! The comparison makes no allowance for that.

#[allow(dead_code, reason = "each bench uses a part of it")]
mod contenders;
#[path = "harness/counted.rs"]
mod counted;
mod harness;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::Future;
use std::hint::black_box;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use contenders::{Hasher, Keys};
use counted::{ALLOCATOR, kept_bytes};
use dashmap::DashMap;
use harness::{Answer, BATCH, Fold, Race, Run, Sip, Work, machine};
use harness::{median, together};
use stats_alloc::Region;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Semaphore;
use tollgate::{
    Clock, ConcurrencyLimiter, ConcurrencyLimiterBuilder, Enforcer, KeyedConcurrencyLimiter, Lease,
    Limit, Policy, Quota, VirtualClock,
};

const CAP: u32 = 50;
const LEASE: Duration = Duration::from_secs(300);
/// Longer than any round.
const PATIENCE: Duration = Duration::from_secs(3600);
const WAITERS: usize = 1_000;
const KEYS: usize = 100_000;

fn main() {
    let run = Run::from_args();
    println!("{}\n", machine());
    println!("Nanoseconds for taking a slot and giving it back; medians of interleaved rounds.");
    println!("Cap {CAP}, leases of {LEASE:?}. *virtual*: time stands still; std: monotonic.");
    if run.wants("alone") {
        run.alone();
    }
    if run.wants("threads") {
        run.threads();
    }
    if run.wants("waiters") {
        run.waiters();
    }
    if run.wants("keyed") {
        run.keyed_with::<Sip>();
        run.keyed_with::<Fold>();
    }
    if run.wants("memory") {
        memory();
    }
    if run.wants("admit") {
        run.admit();
    }
}

fn slots(clock: Clock) -> ConcurrencyLimiterBuilder {
    ConcurrencyLimiter::builder(CAP).lease(LEASE).max_waiters(WAITERS).clock(clock)
}

fn semaphore(permits: u32) -> Arc<Semaphore> {
    Arc::new(Semaphore::new(permits as usize))
}

fn clocks() -> [(&'static str, Clock); 3] {
    [
        ("virtual", VirtualClock::new().clock()),
        ("coarse", Clock::coarse()),
        ("std", Clock::monotonic()),
    ]
}

impl Run {
    fn alone(&self) {
        Table::start("Uncontended: try_acquire, drop; try_acquire_owned, drop");
        let limiters = clocks().map(|(name, clock)| (name, slots(clock).build()));
        let semaphore = semaphore(CAP);
        let mut race = Race::new();
        for (name, limiter) in &limiters {
            race.add(name, Answer::Allow, |_: &u64| limiter.try_acquire().is_ok());
        }
        race.add("tokio", Answer::Allow, |_| semaphore.clone().try_acquire_owned().is_ok());
        let ns = race.run(self.rounds, || vec![0; BATCH]);
        for (name, _) in &limiters {
            let goal = (*name == "virtual").then_some(1.0 / 1.25);
            Table::row("acquire and give back", name, of(&ns, name), of(&ns, "tokio"), goal);
        }
        let endless = ConcurrencyLimiter::new(CAP);
        let clock = Clock::monotonic();
        let mut race = Race::new();
        race.add("std", Answer::Allow, |_: &u64| endless.try_acquire().is_ok());
        race.add("tokio", Answer::Allow, |_| semaphore.clone().try_acquire_owned().is_ok());
        race.add("clock", Answer::Allow, |_| black_box(clock.now()).as_nanos() > 0);
        let ns = race.run(self.rounds, || vec![0; BATCH]);
        let (measure, goal) = ("the same without a lease", Some(1.0 / 1.25));
        Table::row(measure, "std", of(&ns, "std"), of(&ns, "tokio"), goal);
        println!("| one reading of the clock | std | {:.1} | | | | |", of(&ns, "clock"));
        for cap in [CAP, 1_000 * CAP] {
            self.full(cap);
        }
    }

    /// Refusals by a full cap. Tollgate's also state when a slot comes free at the latest.
    fn full(&self, cap: u32) {
        let time = VirtualClock::new();
        let limiter = |lease| {
            let slots = ConcurrencyLimiter::builder(cap).clock(time.clock());
            if lease { slots.lease(LEASE).build() } else { slots.build() }
        };
        let (leased, endless) = (limiter(true), limiter(false));
        let semaphore = semaphore(cap);
        // Each lease ends a nanosecond after the previous one.
        let take = |slots: &ConcurrencyLimiter| {
            time.advance(Duration::from_nanos(1));
            slots.try_acquire().expect("a free slot")
        };
        let held: VecDeque<Lease> = (0..cap).map(|_| take(&leased)).collect();
        let _endless: Vec<Lease> = (0..cap).map(|_| take(&endless)).collect();
        let permits = (0..cap).filter_map(|_| semaphore.clone().try_acquire_owned().ok());
        let permits = RefCell::new(permits.collect::<VecDeque<_>>());
        let held = RefCell::new(held);
        // One lease is given back, and a new one that ends last is taken.
        let turn = |first: bool| {
            let mut held = held.borrow_mut();
            drop(if first { held.pop_front() } else { held.pop_back() });
            held.push_back(take(&leased));
        };
        let mut race = Race::new();
        race.add("leased", Answer::Deny, |_: &u64| leased.try_acquire().is_ok());
        race.add("endless", Answer::Deny, |_| endless.try_acquire().is_ok());
        race.add("other", Answer::Deny, |_| {
            turn(false);
            leased.try_acquire().is_ok()
        });
        race.add("first", Answer::Deny, |_| {
            turn(true);
            leased.try_acquire().is_ok()
        });
        race.add("tokio's other", Answer::Deny, |_| {
            let mut permits = permits.borrow_mut();
            drop(permits.pop_back());
            permits.extend(semaphore.clone().try_acquire_owned());
            semaphore.clone().try_acquire_owned().is_ok()
        });
        race.add("tokio", Answer::Deny, |_| semaphore.clone().try_acquire_owned().is_ok());
        let ns = race.run(self.rounds, || vec![0; BATCH / 8]);
        let row = |what, name, tokio, goal| {
            let measure = format!("refused, all {cap} taken{what}");
            Table::row(&measure, "virtual", of(&ns, name), of(&ns, tokio), goal);
        };
        row("", "leased", "tokio", Some(1.0 / 3.0));
        row(", no lease", "endless", "tokio", Some(1.0 / 3.0));
        let before = ", the last to end given back and taken before";
        row(before, "other", "tokio's other", None);
        row(", the first to end given back and one taken before", "first", "tokio's other", None);
    }

    fn threads(&self) {
        const THREADS: u32 = 2;
        Table::start("Two threads on one limiter, at most two of 50 slots taken");
        let limiters = clocks().map(|(name, clock)| (name, slots(clock).build()));
        let semaphore = semaphore(CAP);
        let ours = limiters.each_ref().map(|(name, limiter)| {
            (*name, move |batch: &[u64]| batch.iter().all(|_| limiter.try_acquire().is_ok()))
        });
        let theirs =
            |batch: &[u64]| batch.iter().all(|_| semaphore.clone().try_acquire_owned().is_ok());
        let mut contenders: Vec<(&str, &Work<'_>)> = vec![("tokio", &theirs)];
        contenders.extend(ours.iter().map(|(name, work)| (*name, work as &Work<'_>)));
        let batches = vec![vec![0; 8 * BATCH]; THREADS as usize];
        let mut ns = vec![Vec::new(); contenders.len()];
        for _ in 0..self.rounds {
            for (at, (_, contender)) in contenders.iter().enumerate() {
                let ops = f64::from(THREADS) * batches[0].len() as f64;
                ns[at].push(together(&batches, contender).as_nanos() as f64 / ops);
            }
        }
        let names = contenders.iter().map(|(name, _)| *name);
        let ns: Vec<_> = names.zip(ns.iter_mut().map(|ns| median(ns))).collect();
        for (name, _) in &ours {
            let goal = (*name == "virtual").then_some(0.9);
            Table::row("two threads", name, of(&ns, name), of(&ns, "tokio"), goal);
        }
    }

    /// From the creation of a future to the give-back of its slot.
    fn waiters(&self) {
        Table::start("1,000 waiters for one slot, each woken by the give-back of the one before");
        let runtime = &runtime();
        let _context = runtime.enter();
        let virtually = &slots(VirtualClock::new().clock()).build();
        let timed = &slots(Clock::tokio()).build();
        let (virtually, timed) = (one_slot(virtually), one_slot(timed));
        let semaphore = &semaphore(1);
        let acquire_slot = |slots: &ConcurrencyLimiter| {
            let slot = slots.acquire(PATIENCE);
            async { slot.await.ok() }
        };
        let acquire = || {
            let permit = semaphore.clone().acquire_owned();
            async { permit.await.ok() }
        };
        let acquire_timed = || {
            let permit = tokio::time::timeout(PATIENCE, semaphore.clone().acquire_owned());
            async { permit.await.ok()?.ok() }
        };
        let first_lease = |slots: &ConcurrencyLimiter| slots.try_acquire().expect("a free slot");
        let first_permit =
            || semaphore.clone().try_acquire_owned().expect("a free permit of the semaphore");

        let mut race = Race::new();
        race.without_warm_up();
        race.add_many("virtual", Answer::Allow, |batch: &[u64]| {
            spawned(runtime, batch.len(), first_lease(virtually), || acquire_slot(virtually))
        });
        race.add_many("tokio's", Answer::Allow, |batch| {
            spawned(runtime, batch.len(), first_lease(timed), || acquire_slot(timed))
        });
        race.add_many("tokio", Answer::Allow, |batch| {
            spawned(runtime, batch.len(), first_permit(), acquire)
        });
        race.add_many("tokio with timeout", Answer::Allow, |batch| {
            spawned(runtime, batch.len(), first_permit(), acquire_timed)
        });
        let ns = race.run(self.rounds, || vec![0; WAITERS]);
        let (plain, timeout) = (of(&ns, "tokio"), of(&ns, "tokio with timeout"));
        let measure = "tasks of tokio's executor";
        Table::row(measure, "virtual", of(&ns, "virtual"), plain, Some(0.7));
        Table::row(measure, "tokio's", of(&ns, "tokio's"), plain, Some(0.7));
        let measure = "the same, against acquire in a timeout";
        Table::row(measure, "tokio's", of(&ns, "tokio's"), timeout, None);

        let mut race = Race::new();
        race.without_warm_up();
        race.add_many("virtual", Answer::Allow, |batch: &[u64]| {
            by_hand(batch.len(), first_lease(virtually), || acquire_slot(virtually))
        });
        race.add_many("tokio's", Answer::Allow, |batch| {
            by_hand(batch.len(), first_lease(timed), || acquire_slot(timed))
        });
        race.add_many("tokio", Answer::Allow, |batch| {
            by_hand(batch.len(), first_permit(), acquire)
        });
        let ns = race.run(self.rounds, || vec![0; WAITERS]);
        for name in ["virtual", "tokio's"] {
            Table::row("polled by hand", name, of(&ns, name), of(&ns, "tokio"), None);
        }
    }

    fn keyed_with<S: Hasher>(&self) {
        Table::start(&format!("{KEYS} keys, u64, uniform, {}", S::NAME));
        let clock = VirtualClock::new().clock();
        let idle: Keyed<S> = slots(clock.clone()).build_keyed_with(S::default());
        let busy: Keyed<S> = slots(clock).build_keyed_with(S::default());
        let map: DashMap<u64, Arc<Semaphore>, S> = DashMap::with_hasher(S::default());
        for key in 0..KEYS as u64 {
            assert!(take_of_map(&map, key));
        }
        let _held: Vec<Lease> =
            (0..KEYS as u64).filter_map(|key| busy.try_acquire(&key).ok()).collect();
        let mut race = Race::new();
        race.add("idle", Answer::Allow, |key: &u64| idle.try_acquire(key).is_ok());
        race.add("busy", Answer::Allow, |key| busy.try_acquire(key).is_ok());
        race.add("tokio", Answer::Allow, |key| take_of_map(&map, *key));
        let mut source = Keys::new();
        let ns = race.run(self.rounds, || source.batch(KEYS, BATCH));
        let theirs = of(&ns, "tokio");
        let measure = "nothing else held: a key is forgotten and comes anew";
        Table::row(measure, "virtual", of(&ns, "idle"), theirs, None);
        let measure = "one lease of each key held";
        Table::row(measure, "virtual", of(&ns, "busy"), theirs, Some(0.9));
    }

    /// For information only: no other crate decides both together.
    fn admit(&self) {
        println!("\n## `Enforcer::admit`, three facts as text, virtual clock\n");
        println!("| policy | SipHash | foldhash |");
        println!("|---|---|---|");
        let (sip, fold) = (self.admit_with::<Sip>(), self.admit_with::<Fold>());
        for ((name, sip), (_, fold)) in sip.iter().zip(fold) {
            println!("| {name} | {sip:.1} | {fold:.1} |");
        }
    }

    fn admit_with<S: Hasher>(&self) -> Vec<(&'static str, f64)> {
        const ROOMY: Quota = Quota::per_second(1).burst(u32::MAX as u64);
        let rates = || {
            let user = Limit::new("user", ROOMY).key(["view", "user"]);
            Policy::new().limit(user).limit(Limit::new("org", ROOMY).key(["org"]))
        };
        let queries = |limit: Limit| limit.lease(LEASE);
        let enforcer = |policy: Policy| {
            let clock = VirtualClock::new().clock();
            let builder = Enforcer::builder(policy).clock(clock).hasher(S::default());
            builder.build().expect("a policy that is right")
        };
        let two = enforcer(rates());
        let all = enforcer(rates().limit(queries(Limit::concurrent("queries", CAP))));
        let keyed =
            enforcer(rates().limit(queries(Limit::concurrent("queries", CAP).key(["org"]))));
        let slot = enforcer(Policy::new().limit(queries(Limit::concurrent("queries", CAP))));
        let texts: Vec<_> =
            (0..1_000).map(|user| (user.to_string(), (user / 64).to_string())).collect();
        let facts: Vec<_> = texts
            .iter()
            .map(|(user, org)| [("user", &**user), ("org", &**org), ("view", "items.list")])
            .collect();
        let of = |key: &u64| &facts[*key as usize];
        let mut race = Race::new();
        race.add("two rates", Answer::Allow, |key| two.admit(of(key), 1).is_ok());
        race.add("two rates, one slot of all", Answer::Allow, |key| all.admit(of(key), 1).is_ok());
        race.add("two rates, one slot of the organization", Answer::Allow, |key| {
            keyed.admit(of(key), 1).is_ok()
        });
        race.add("one slot of all", Answer::Allow, |key| slot.admit(of(key), 1).is_ok());
        race.run(self.rounds, || Keys::new().batch(facts.len(), BATCH))
    }
}

type Keyed<S> = KeyedConcurrencyLimiter<u64, S>;

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_time().build().expect("a runtime")
}

/// With a cap of one.
fn one_slot(slots: &ConcurrencyLimiter) -> &ConcurrencyLimiter {
    slots.resize(1);
    slots
}

#[inline]
fn take_of_map<S: Hasher>(map: &DashMap<u64, Arc<Semaphore>, S>, key: u64) -> bool {
    let known = map.get(&key).map(|semaphore| semaphore.clone());
    let of_key = known.unwrap_or_else(|| map.entry(key).or_insert_with(|| semaphore(CAP)).clone());
    of_key.try_acquire_owned().is_ok()
}

/// Waits in this many tasks, which are served one after the other once `first` is dropped. Returns
/// how many got a slot.
fn spawned<G, F>(runtime: &Runtime, waiters: usize, first: G, acquire: impl Fn() -> F) -> usize
where
    G: Send + 'static,
    F: Future<Output = Option<G>> + Send + 'static,
{
    runtime.block_on(async {
        let wait = |_| {
            let acquire = acquire();
            tokio::spawn(async { acquire.await.is_some() })
        };
        let tasks: Vec<_> = (0..waiters).map(wait).collect();
        // Tasks run in the order in which they were spawned, so all of them wait now.
        let begin = tokio::spawn(async { drop(first) });
        let mut granted = 0;
        for task in tasks {
            granted += usize::from(task.await.expect("no panic"));
        }
        begin.await.expect("no panic");
        granted
    })
}

/// Waits in this many futures, each of which is polled only when it is its turn.
fn by_hand<G, F>(waiters: usize, first: G, acquire: impl Fn() -> F) -> usize
where
    F: Future<Output = Option<G>>,
{
    let mut waiting: Vec<Pin<Box<F>>> = (0..waiters).map(|_| Box::pin(acquire())).collect();
    let mut cx = Context::from_waker(Waker::noop());
    for future in &mut waiting {
        assert!(future.as_mut().poll(&mut cx).is_pending(), "it waits");
    }
    drop(first);
    let granted =
        |future: &mut Pin<Box<F>>| matches!(future.as_mut().poll(&mut cx), Poll::Ready(Some(_)));
    waiting.iter_mut().map(granted).filter(|granted| *granted).count()
}

fn memory() {
    println!("\n## Bytes a key, {KEYS} keys, asked of the allocator and not given back\n");
    println!("| | tollgate | goal | DashMap of semaphores |");
    println!("|---|---|---|---|");
    let per_key = |region: &Region<'_, _>| kept_bytes(region) / KEYS as f64;
    let slots: Keyed<Sip> = slots(VirtualClock::new().clock()).build_keyed_with(Sip::default());
    let mut leases = Vec::with_capacity(KEYS);
    let region = Region::new(ALLOCATOR);
    leases.extend((0..KEYS as u64).filter_map(|key| slots.try_acquire(&key).ok()));
    let ours = per_key(&region);
    leases.clear();
    let given_back = per_key(&region);
    assert_eq!(slots.len(), 0);
    let forgotten = per_key(&region);

    let map: DashMap<u64, Arc<Semaphore>, Sip> = DashMap::with_hasher(Sip::default());
    let region = Region::new(ALLOCATOR);
    assert!((0..KEYS as u64).all(|key| take_of_map(&map, key)));
    let theirs = per_key(&region);
    println!("| one slot of each held | {ours:.1} | | {theirs:.1} |");
    println!("| given back, before anybody looks | {given_back:.1} | | {theirs:.1} |");
    println!("| forgotten | {forgotten:.1} | 0 | never |");
}

/// The median of one contender.
fn of(ns: &[(&'static str, f64)], name: &str) -> f64 {
    ns.iter().find(|(at, _)| *at == name).map_or(f64::NAN, |(_, ns)| *ns)
}

struct Table;

impl Table {
    fn start(title: &str) {
        println!("\n## {title}\n");
        println!("| measure | our clock | tollgate | tokio | tokio / tollgate | to reach | |");
        println!("|---|---|---|---|---|---|---|");
    }

    /// `goal`: how many times tokio's speed.
    fn row(measure: &str, clock: &str, ours: f64, theirs: f64, goal: Option<f64>) {
        let ahead = theirs / ours;
        let (to_reach, verdict) = match goal {
            Some(goal) if ahead >= goal => (format!("{goal:.2}"), "reached"),
            Some(goal) => (format!("{goal:.2}"), "**not**"),
            None => (String::new(), ""),
        };
        println!(
            "| {measure} | {clock} | {ours:.1} | {theirs:.1} | {ahead:.2} | {to_reach} | {verdict} |"
        );
    }
}
