//! Policies of several rates and slots against a naive model of them: random requests, waits,
//! cancels, give-backs, resets, reloads and changes of mode, checked after each step.
//!
//! The model has no lines. It checks what a line must never do: let a request wait that lacks
//! nothing, admit above a limit, or charge a request that was refused or that left.

use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tollgate::future::Admission;
use tollgate::policy::{Missing, Override};
use tollgate::status::Verdict;
use tollgate::{
    Enforcer, Limit, Mode, Permit, Policy, Quota, Refused, Retry, VirtualClock, WaitError,
};

/// All durations are whole steps, so whatever happens happens at one.
const STEP: Duration = Duration::from_millis(100);
const NAMES: [&str; 5] = ["user", "org", "watched", "all", "calls"];
const ORGS: u64 = 3;
const USERS: u64 = 3;

fn steps(count: u64) -> Duration {
    STEP * count as u32
}

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn one_in(&mut self, chance: u64) -> bool {
        self.below(chance) == 0
    }
}

/// What a limit counts, in steps.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Rate { every: u64, burst: u64 },
    Slots { cap: u64, special: Option<u64>, lease: u64, weight: u64 },
}

#[derive(Clone, Debug)]
struct Numbers {
    kind: Kind,
    wait: Option<u64>,
    mode: Mode,
    max_waiters: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Facts {
    user: u64,
    org: Option<u64>,
}

impl Facts {
    fn list(self) -> Vec<(&'static str, u64)> {
        let org = self.org.map(|org| ("org", org));
        [Some(("user", self.user)), org].into_iter().flatten().collect()
    }

    /// The key of the limit at this place, if it applies.
    fn key(self, limit: usize) -> Option<u64> {
        match limit {
            0 => Some(self.user),
            1 | 2 => self.org,
            _ => Some(0),
        }
    }
}

fn draw(random: &mut Random) -> Vec<Numbers> {
    let mut numbers = |rate: bool, mode| {
        let wait = (!random.one_in(5)).then(|| 1 + random.below(40));
        let kind = if rate {
            Kind::Rate { every: 1 + random.below(4), burst: 1 + random.below(4) }
        } else {
            let weight = 1 + random.below(2);
            Kind::Slots {
                cap: if random.one_in(12) { 0 } else { weight + random.below(4) },
                special: Some(weight + random.below(3)),
                lease: 1 + random.below(30),
                weight,
            }
        };
        let max_waiters = if random.one_in(4) { 1 + random.below(3) as usize } else { 1_000 };
        Numbers { kind, wait, mode, max_waiters }
    };
    vec![
        numbers(true, Mode::Enforce),
        numbers(false, Mode::Enforce),
        numbers(false, Mode::Shadow),
        numbers(false, Mode::Enforce),
        numbers(true, Mode::Enforce),
    ]
}

fn policy(limits: &[Numbers]) -> Policy {
    let mut policy = Policy::new();
    for (place, numbers) in limits.iter().enumerate() {
        let name = NAMES[place];
        let mut limit = match numbers.kind {
            Kind::Rate { every, burst } => {
                Limit::new(name, Quota::new(1, steps(every)).unwrap().burst(burst))
            }
            Kind::Slots { cap, lease, weight, .. } => {
                Limit::concurrent(name, cap as u32).lease(steps(lease)).weight(weight as u32)
            }
        };
        limit = match place {
            0 => limit.key(["user"]),
            1 => limit.key(["org"]).missing(Missing::Refuse),
            2 => limit.key(["org"]).missing(Missing::Skip),
            _ => limit,
        };
        if let Some(wait) = numbers.wait {
            limit = limit.wait(steps(wait)).max_waiters(numbers.max_waiters);
        }
        policy = policy.limit(limit.mode(numbers.mode));
    }
    if let Kind::Slots { special: Some(cap), .. } = limits[1].kind {
        let special = Override::new("org").when("org", ["1"]).concurrent(cap as u32);
        policy = policy.with_override(special);
    }
    policy.with_override(Override::new("user").when("user", ["2"]).exempt())
}

/// What an admitted request was charged and holds.
struct Held {
    permit: Permit,
    /// Of rates: the limit, its key, units and when.
    charges: Vec<(usize, u64, u64, u64)>,
    leases: Vec<u64>,
}

#[derive(Clone, Copy)]
struct Lease {
    limit: usize,
    key: u64,
    weight: u64,
    end: u64,
}

struct Waiting {
    admission: Admission,
    facts: Facts,
    cost: u64,
    since: u64,
    /// The waits that it came under.
    waits: Vec<Option<u64>>,
}

struct World {
    seed: u64,
    step: usize,
    time: VirtualClock,
    enforcer: Enforcer,
    limits: Vec<Numbers>,
    now: u64,
    /// When the bucket is full again, of each limit's keys.
    full_at: HashMap<(usize, u64), u64>,
    leases: HashMap<u64, Lease>,
    next_lease: u64,
    held: Vec<Held>,
    waiting: Vec<Waiting>,
    bypass: bool,
    checked: [u64; 5],
    refused: [u64; 5],
}

/// What a limit says, by the model.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Says {
    Yes,
    No(Retry),
}

impl World {
    fn new(seed: u64) -> (World, Random) {
        let mut random = Random(seed);
        let limits = draw(&mut random);
        let time = VirtualClock::new();
        let enforcer = Enforcer::builder(policy(&limits)).clock(time.clock()).build().unwrap();
        let world = World {
            seed,
            step: 0,
            time,
            enforcer,
            limits,
            now: 0,
            full_at: HashMap::new(),
            leases: HashMap::new(),
            next_lease: 0,
            held: Vec::new(),
            waiting: Vec::new(),
            bypass: false,
            checked: [0; 5],
            refused: [0; 5],
        };
        (world, random)
    }

    fn at(&self) -> String {
        format!("seed {} step {} at {}", self.seed, self.step, self.now)
    }

    fn cap(&self, limit: usize, key: u64) -> u64 {
        match self.limits[limit].kind {
            Kind::Slots { special: Some(special), .. } if limit == 1 && key == 1 => special,
            Kind::Slots { cap, .. } => cap,
            Kind::Rate { .. } => unreachable!(),
        }
    }

    fn in_use(&self, limit: usize, key: Option<u64>) -> u64 {
        let of = |lease: &&Lease| lease.limit == limit && key.is_none_or(|key| lease.key == key);
        let live = self.leases.values().filter(|lease| lease.end > self.now);
        live.filter(of).map(|lease| lease.weight).sum()
    }

    /// Limits that apply, with the key, whatever their mode.
    fn applying(&self, facts: Facts) -> Vec<(usize, u64)> {
        let exempt = |limit: usize| limit == 0 && facts.user == 2;
        (0..5)
            .filter(|limit| !exempt(*limit))
            .filter_map(|limit| Some((limit, facts.key(limit)?)))
            .collect()
    }

    fn says(&self, limit: usize, key: u64, cost: u64) -> Says {
        match self.limits[limit].kind {
            Kind::Rate { every, burst } => {
                let debt = self.debt(limit, key);
                if cost > burst {
                    Says::No(Retry::Never)
                } else if debt + cost * every <= burst * every {
                    Says::Yes
                } else {
                    Says::No(Retry::After(steps(debt + cost * every - burst * every)))
                }
            }
            Kind::Slots { weight, .. } => {
                let (cap, in_use) = (self.cap(limit, key), self.in_use(limit, Some(key)));
                if weight > cap {
                    return Says::No(Retry::Never);
                }
                if in_use + weight <= cap {
                    return Says::Yes;
                }
                let mut needed = (in_use + weight) as i64 - cap as i64;
                let mut ends: Vec<(u64, u64)> = self
                    .leases
                    .values()
                    .filter(|lease| lease.limit == limit && lease.key == key)
                    .filter(|lease| lease.end > self.now)
                    .map(|lease| (lease.end, lease.weight))
                    .collect();
                ends.sort_unstable();
                let end = ends.into_iter().find(|(_, weight)| {
                    needed -= *weight as i64;
                    needed <= 0
                });
                let at_latest = end.map(|(end, _)| steps(end - self.now));
                Says::No(Retry::Unknown { at_latest })
            }
        }
    }

    fn debt(&self, limit: usize, key: u64) -> u64 {
        self.full_at.get(&(limit, key)).map_or(0, |full| full.saturating_sub(self.now))
    }

    fn is_enforced(&self, limit: usize) -> bool {
        self.limits[limit].mode == Mode::Enforce
    }

    /// Limits that refuse by themselves, whether or not requests wait.
    fn refusing(&self, facts: Facts, cost: u64) -> Vec<(usize, Retry)> {
        let mut all: Vec<(usize, Retry)> = self
            .applying(facts)
            .into_iter()
            .filter(|(limit, _)| self.is_enforced(*limit))
            .filter_map(|(limit, key)| match self.says(limit, key, cost) {
                Says::Yes => None,
                Says::No(retry) => Some((limit, retry)),
            })
            .collect();
        if facts.org.is_none() && self.is_enforced(1) {
            all.push((1, Retry::Never));
        }
        all.sort_by_key(|(limit, _)| *limit);
        all
    }

    /// Enforced limits that apply and that have waiters.
    fn queued(&self, facts: Facts) -> Vec<usize> {
        let limits = self.enforcer.limits();
        let applying = self.applying(facts).into_iter().map(|(limit, _)| limit);
        applying.filter(|l| self.is_enforced(*l) && limits[*l].waiting > 0).collect()
    }

    fn count(&mut self, facts: Facts, refused: Option<&Refused>) {
        for (limit, _) in self.applying(facts) {
            if self.limits[limit].mode != Mode::Off {
                self.checked[limit] += 1;
            }
        }
        if facts.org.is_none() && self.limits[1].mode != Mode::Off {
            self.checked[1] += 1;
        }
        if let Some(refused) = refused {
            self.refused[refused.index()] += 1;
        }
    }

    /// Enters a request that was admitted now, and checks that it could be.
    fn enter(&mut self, permit: Permit, facts: Facts, cost: u64) {
        let mut held = Held { permit, charges: Vec::new(), leases: Vec::new() };
        if !self.bypass {
            self.count(facts, None);
            if facts.org.is_none() {
                assert!(!self.is_enforced(1), "{}: no organization", self.at());
            }
            for (limit, key) in self.applying(facts) {
                let mode = self.limits[limit].mode;
                if mode == Mode::Off {
                    continue;
                }
                if mode == Mode::Enforce {
                    let says = self.says(limit, key, cost);
                    assert_eq!(says, Says::Yes, "{}: {} is full", self.at(), NAMES[limit]);
                }
                match self.limits[limit].kind {
                    Kind::Rate { every, .. } => {
                        let full = self.full_at.entry((limit, key)).or_insert(0);
                        *full = (*full).max(self.now) + cost * every;
                        held.charges.push((limit, key, cost, self.now));
                    }
                    Kind::Slots { lease, weight, .. } => {
                        let end = self.now + lease;
                        let lease = Lease { limit, key, weight, end };
                        self.leases.insert(self.next_lease, lease);
                        held.leases.push(self.next_lease);
                        self.next_lease += 1;
                    }
                }
            }
        }
        self.held.push(held);
    }

    fn admit(&mut self, random: &mut Random) {
        let facts = draw_facts(random);
        let cost = 1 + random.below(3);
        let refusing = self.refusing(facts, cost);
        let queued = self.queued(facts);
        let peeked = self.enforcer.peek(&facts.list(), cost);
        let admitted = self.enforcer.admit(&facts.list(), cost);
        match (&peeked, &admitted) {
            (Ok(allowed), Ok(permit)) => {
                assert_eq!(*allowed, permit.allowed(), "{}: peek", self.at());
            }
            (Err(peeked), Err(refused)) => assert_eq!(peeked, refused, "{}: peek", self.at()),
            _ => panic!("{}: peek {peeked:?}, admit {admitted:?}", self.at()),
        }
        match admitted {
            Ok(permit) => {
                if !self.bypass {
                    assert!(refusing.is_empty(), "{}: admitted", self.at());
                    // Of the others they may wait for another key.
                    let barged = queued.iter().any(|limit| *limit >= 3);
                    assert!(!barged, "{}: barged {facts:?}", self.at());
                }
                self.enter(permit, facts, cost);
            }
            Err(refused) => {
                assert!(!self.bypass, "{}", self.at());
                self.count(facts, Some(&refused));
                if queued.is_empty() {
                    let first = refusing.first().map(|(limit, _)| *limit);
                    assert_eq!(first, Some(refused.index()), "{}", self.at());
                    let retry = refusing.iter().map(|(_, retry)| *retry).reduce(longer);
                    assert_eq!(retry, Some(refused.retry()), "{}", self.at());
                } else {
                    let index = refused.index();
                    let first = refusing.first().map_or(usize::MAX, |(limit, _)| *limit);
                    assert!(index <= first, "{}: {index} {first}", self.at());
                    assert!(index == first || queued.contains(&index), "{}", self.at());
                }
            }
        }
    }

    fn wait(&mut self, random: &mut Random) {
        let facts = draw_facts(random);
        let cost = 1 + random.below(2);
        let refusing = self.refusing(facts, cost);
        let queued = self.queued(facts);
        let mut admission = self.enforcer.admit_waiting(&facts.list(), cost);
        let waits: Vec<Option<u64>> = self.limits.iter().map(|numbers| numbers.wait).collect();
        match poll(&mut admission) {
            Poll::Ready(Ok(permit)) => {
                if !self.bypass {
                    assert!(refusing.is_empty(), "{}: admitted", self.at());
                }
                self.enter(permit, facts, cost);
            }
            Poll::Ready(Err(WaitError::Denied(refused))) => {
                assert!(!(refusing.is_empty() && queued.is_empty()), "{}", self.at());
                let may_wait = |limit: usize| waits[limit].is_some();
                if refusing.iter().all(|(limit, _)| may_wait(*limit)) && queued.is_empty() {
                    // Then only what can never be in time, or a full line, which there is none.
                    let late = |(limit, retry): &(usize, Retry)| match retry {
                        Retry::Never => true,
                        Retry::After(wait) => *wait > steps(waits[*limit].unwrap()),
                        _ => false,
                    };
                    assert!(refusing.iter().any(late), "{}: {refusing:?}", self.at());
                }
                self.count(facts, Some(&refused));
            }
            Poll::Ready(Err(error)) => panic!("{}: {error}", self.at()),
            Poll::Pending => {
                assert!(!self.bypass, "{}", self.at());
                let waiting = Waiting { admission, facts, cost, since: self.now, waits };
                self.waiting.push(waiting);
            }
        }
    }

    /// Finds the requests that were admitted or turned away meanwhile, and checks that no other
    /// could be.
    fn look(&mut self) {
        let mut still = Vec::new();
        let mut turned_away = Vec::new();
        for mut waiting in std::mem::take(&mut self.waiting) {
            let (facts, cost) = (waiting.facts, waiting.cost);
            match poll(&mut waiting.admission) {
                Poll::Ready(Ok(permit)) => self.enter(permit, facts, cost),
                Poll::Ready(Err(WaitError::Denied(refused))) => {
                    self.count(facts, Some(&refused));
                    turned_away.push((facts, cost, refused));
                }
                Poll::Ready(Err(error)) => panic!("{}: {error}", self.at()),
                Poll::Pending => still.push(waiting),
            }
        }
        self.waiting = still;
        for (facts, cost, refused) in turned_away {
            let nothing = self.refusing(facts, cost).is_empty() && self.queued(facts).is_empty();
            assert!(!nothing, "{}: {refused} though there is room", self.at());
        }
        for waiting in &self.waiting {
            assert!(!self.is_stranded(waiting), "{}: {:?} is stranded", self.at(), waiting.facts);
            let longest = waiting.waits.iter().flatten().max().copied().unwrap_or(0);
            assert!(self.now < waiting.since + longest, "{}: waits too long", self.at());
        }
    }

    /// Whether it lacks nothing, and no request before it lacks nothing.
    fn is_stranded(&self, waiting: &Waiting) -> bool {
        let keys = self.applying(waiting.facts);
        let holds_up = |other: &Waiting| {
            let same = self.applying(other.facts).into_iter().filter(|key| keys.contains(key));
            let mut same = same.filter(|(limit, _)| self.is_enforced(*limit));
            same.any(|(limit, key)| self.says(limit, key, other.cost) != Says::Yes)
        };
        // Itself included.
        self.refusing(waiting.facts, waiting.cost).is_empty() && !self.waiting.iter().any(holds_up)
    }

    fn check(&mut self) {
        let limits = self.enforcer.limits();
        let waiting: usize = limits.iter().map(|status| status.waiting).sum();
        assert_eq!(waiting, self.waiting.len(), "{}: waiting", self.at());
        for (limit, status) in limits.iter().enumerate() {
            let name = NAMES[limit];
            assert_eq!(status.checked, self.checked[limit], "{}: checked {name}", self.at());
            assert_eq!(status.refused, self.refused[limit], "{}: refused {name}", self.at());
            if let Some(usage) = status.slots {
                let in_use = self.in_use(limit, None);
                assert_eq!(u64::from(usage.in_use), in_use, "{}: in use {name}", self.at());
            }
        }
        for user in 0..USERS {
            let facts = Facts { user, org: Some(0) };
            for (limit, explanation) in
                self.enforcer.explain(&facts.list(), 0).into_iter().enumerate()
            {
                let Kind::Rate { every, burst } = self.limits[limit].kind else { continue };
                let Verdict::Decided { answer, .. } = explanation.verdict else { continue };
                let key = facts.key(limit).unwrap();
                let left = burst - self.debt(limit, key).div_ceil(every);
                let said = answer.map(|allowed| allowed.remaining());
                assert_eq!(said, Ok(left), "{}: left of {}", self.at(), NAMES[limit]);
            }
        }
    }

    fn give_back(&mut self, random: &mut Random) {
        if self.held.is_empty() {
            return;
        }
        let place = random.below(self.held.len() as u64) as usize;
        let Held { permit, charges, leases } = self.held.swap_remove(place);
        let settled = match random.below(8) {
            0 | 1 => {
                permit.cancel();
                Some(0)
            }
            2 => {
                permit.settle(1);
                Some(1)
            }
            3 => {
                // Its slots come back by themselves.
                std::mem::forget(permit);
                return;
            }
            _ => {
                drop(permit);
                None
            }
        };
        for lease in leases {
            self.leases.remove(&lease);
        }
        for (limit, key, cost, at) in charges {
            let Kind::Rate { every, .. } = self.limits[limit].kind else { unreachable!() };
            if let Some(settled) = settled.filter(|settled| *settled < cost) {
                let back = ((cost - settled) * every).saturating_sub(self.now - at);
                if let Some(full) = self.full_at.get_mut(&(limit, key)) {
                    *full = full.saturating_sub(back);
                }
            }
        }
    }

    fn reset(&mut self, random: &mut Random) {
        let limit = random.below(5) as usize;
        let facts = Facts { user: random.below(USERS), org: Some(random.below(ORGS)) };
        let key = random.one_in(2).then(|| facts.key(limit).unwrap());
        // A charge made before a reset is given back all the same: let there be none.
        for held in &mut self.held {
            held.charges.retain(|charge| charge.0 != limit);
        }
        let is_rate = matches!(self.limits[limit].kind, Kind::Rate { .. });
        if is_rate {
            // So they are only dropped.
            self.forget_charges();
        }
        match key {
            Some(_) => self.enforcer.reset_key(NAMES[limit], &facts.list()).unwrap(),
            None => self.enforcer.reset(NAMES[limit]).unwrap(),
        }
        self.full_at.retain(|(l, k), _| *l != limit || key.is_some_and(|key| *k != key));
        self.leases
            .retain(|_, lease| lease.limit != limit || key.is_some_and(|key| lease.key != key));
    }

    /// Gives all permits back that were charged something.
    fn forget_charges(&mut self) {
        for Held { permit, leases, .. } in std::mem::take(&mut self.held) {
            drop(permit);
            for lease in leases {
                self.leases.remove(&lease);
            }
        }
        self.look();
        if self.held.iter().any(|held| !held.charges.is_empty()) {
            self.forget_charges();
        }
    }

    fn reload(&mut self, random: &mut Random) {
        for limit in [1, 2, 3] {
            if let Kind::Slots { cap, special, lease, weight } = &mut self.limits[limit].kind {
                if random.one_in(2) {
                    *cap = if random.one_in(8) { 0 } else { *weight + random.below(4) };
                    *special = Some(*weight + random.below(3));
                    *lease = 1 + random.below(30);
                }
            }
        }
        for limit in &mut self.limits {
            if random.one_in(3) {
                limit.wait = (!random.one_in(5)).then(|| 1 + random.below(40));
            }
        }
        let kept = self.enforcer.reload(policy(&self.limits)).unwrap();
        assert_eq!((kept.fresh, kept.dropped), (0, 0));
    }

    fn step(&mut self, random: &mut Random) {
        match random.below(24) {
            0..=4 => self.admit(random),
            5..=11 => self.wait(random),
            12..=15 => self.give_back(random),
            16..=18 => {
                for _ in 0..=random.below(4) {
                    self.now += 1;
                    self.time.advance(STEP);
                    self.look();
                }
            }
            // A jump. What is due on the way is decided on the way, so nobody may wait.
            19 if self.waiting.is_empty() => {
                let by = random.below(60);
                self.now += by;
                self.time.advance(steps(by));
            }
            20 if !self.waiting.is_empty() => {
                let place = random.below(self.waiting.len() as u64) as usize;
                drop(self.waiting.remove(place));
            }
            21 if random.one_in(3) => self.reset(random),
            22 if random.one_in(3) => self.reload(random),
            23 => {
                let limit = 1 + random.below(3) as usize;
                let mode = [Mode::Enforce, Mode::Enforce, Mode::Shadow, Mode::Off];
                let mode = mode[random.below(4) as usize];
                self.limits[limit].mode = mode;
                self.enforcer.set_mode(NAMES[limit], mode).unwrap();
                self.look();
                if random.one_in(6) {
                    self.bypass = true;
                    self.enforcer.bypass(true);
                    self.look();
                    assert!(self.waiting.is_empty(), "{}: bypassed", self.at());
                    self.admit(random);
                    self.wait(random);
                    self.bypass = false;
                    self.enforcer.bypass(false);
                }
            }
            _ => {}
        }
        self.look();
        self.check();
    }

    /// At the end everything comes back.
    fn end(mut self) {
        self.waiting.clear();
        self.held.clear();
        self.leases.clear();
        self.time.advance(steps(1_000));
        for status in self.enforcer.limits() {
            assert_eq!(status.waiting, 0, "{}: {status:?}", self.seed);
            match status.slots {
                Some(usage) => assert_eq!(usage.in_use, 0, "{}: {status:?}", self.seed),
                None => assert_eq!(status.keys, 0, "{}: {status:?}", self.seed),
            }
        }
    }
}

fn draw_facts(random: &mut Random) -> Facts {
    let org = (!random.one_in(16)).then(|| random.below(ORGS));
    Facts { user: random.below(USERS), org }
}

fn longer(a: Retry, b: Retry) -> Retry {
    let unknown = |at_latest| Retry::Unknown { at_latest };
    match (a, b) {
        (Retry::Never, _) | (_, Retry::Never) => Retry::Never,
        (Retry::After(a), Retry::After(b)) => Retry::After(a.max(b)),
        (Retry::After(a), Retry::Unknown { at_latest: b })
        | (Retry::Unknown { at_latest: b }, Retry::After(a)) => unknown(b.map(|b| b.max(a))),
        (Retry::Unknown { at_latest: a }, Retry::Unknown { at_latest: b }) => {
            unknown(a.zip(b).map(|(a, b)| a.max(b)))
        }
        _ => unreachable!(),
    }
}

fn poll(admission: &mut Admission) -> Poll<Result<Permit, WaitError<Refused>>> {
    Pin::new(admission).poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn a_policy_of_rates_and_slots_does_what_a_naive_account_says() {
    let mut seen = HashSet::new();
    for seed in 0..runs() {
        let (mut world, mut random) = World::new(seed);
        for step in 0..300 {
            world.step = step;
            world.step(&mut random);
            seen.insert((world.waiting.len().min(8), world.held.len().min(8)));
        }
        world.end();
    }
    assert!(seen.len() > 50, "hardly anything happened: {seen:?}");
}

/// More by the environment variable `TOLLGATE_MODEL_RUNS`.
fn runs() -> u64 {
    let runs = std::env::var("TOLLGATE_MODEL_RUNS").ok();
    runs.and_then(|runs| runs.parse().ok()).unwrap_or(24)
}
