//! Random histories: costs, keys, settling, peeks, resets, partial grants, time running backwards.
//! A limiter with records answers as the pure functions over a plain map do, and one with words as
//! the same algorithm in records.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::time::Duration;

use foldhash::fast::FixedState;
use tollgate::algorithm::{
    Algorithm, FixedWindow, Gcra, LeakyBucket, SlidingGranules, SlidingLog, SlidingWindow,
};
use tollgate::{Allowed, Denied, Quota, RateLimiter, Reservation, Retry, VirtualClock};

use crate::conformance::in_records::InRecords;
use crate::oracle::{Census, Rng, SECOND, TODAY, at, nanos, quota, steps};

type Answer = Result<Allowed, Denied>;

/// The pure functions over a plain map, and what a limiter adds: a key is never asked at a time
/// before its last change, and a wait counts from the time of the call.
struct Plain<A: Algorithm> {
    algorithm: A,
    keys: HashMap<u64, Kept<A>>,
}

struct Kept<A: Algorithm> {
    state: A::State,
    latest: u64,
    /// Whether anything was ever charged.
    is_known: bool,
}

/// A charge that may be settled: of a key, of so many units, counted as of a time.
#[derive(Clone, Copy)]
struct Charge {
    key: u64,
    at: u64,
    cost: u64,
}

/// An answer as of `by` earlier.
fn later(answer: Answer, by: u64) -> Answer {
    let by = Duration::from_nanos(by);
    // A wait of nothing is that for whoever is late, too.
    match answer {
        Ok(it) => Ok(Allowed::new(it.burst(), it.remaining(), it.reset_after() + by)),
        Err(it) => {
            let retry = match it.retry() {
                Retry::After(wait) => Retry::After(wait + by),
                other => other,
            };
            Err(Denied::new(it.burst(), it.remaining(), it.reset_after() + by, retry))
        }
    }
}

impl<A: Algorithm> Plain<A> {
    fn ahead(&self, key: u64) -> u64 {
        nanos(self.algorithm.ahead(FixedState::default().hash_one(key).max(1)))
    }

    fn kept(&mut self, key: u64) -> &mut Kept<A> {
        let unknown = || Kept { state: A::State::default(), latest: 0, is_known: false };
        self.keys.entry(key).or_insert_with(unknown)
    }

    fn peek(&mut self, key: u64, cost: u64, now: u64) -> Answer {
        let (algorithm, now) = (self.algorithm.clone(), now + self.ahead(key));
        let kept = self.kept(key);
        let time = now.max(kept.latest);
        later(algorithm.decide(&kept.state, cost, at(time)), time - now)
    }

    fn take(&mut self, key: u64, cost: u64, now: u64) -> Answer {
        let answer = self.peek(key, cost, now);
        let (algorithm, now) = (self.algorithm.clone(), now + self.ahead(key));
        if cost > 0 && (answer.is_ok() || algorithm.counts_denied()) {
            let kept = self.kept(key);
            kept.latest = kept.latest.max(now);
            kept.is_known = true;
            algorithm.charge(&mut kept.state, cost, at(kept.latest));
        }
        answer
    }

    /// How much of `up_to` is there, or one unit if that is denied.
    fn grantable(&mut self, key: u64, up_to: u64, now: u64) -> u64 {
        let left = self.peek(key, 0, now).unwrap().remaining();
        left.min(up_to).max(up_to.min(1))
    }

    /// What was just taken of a key. It counts as of the time that the key was asked at.
    fn charge(&mut self, key: u64, cost: u64, now: u64) -> Charge {
        let latest = self.kept(key).latest.saturating_sub(self.ahead(key));
        Charge { key, at: if cost > 0 { now.max(latest) } else { now }, cost }
    }

    fn settle(&mut self, charge: Charge, cost: u64, now: u64) {
        if cost == charge.cost {
            return;
        }
        let (algorithm, ahead) = (self.algorithm.clone(), self.ahead(charge.key));
        let kept = self.kept(charge.key);
        if !kept.is_known && cost <= charge.cost {
            return;
        }
        kept.latest = kept.latest.max(now + ahead);
        kept.is_known = true;
        let charged_at = at(charge.at + ahead);
        algorithm.settle(&mut kept.state, charge.cost, charged_at, cost, at(kept.latest));
    }

    fn reset(&mut self, key: u64) {
        self.kept(key).state = A::State::default();
    }
}

/// One thing that a caller does.
#[derive(Clone, Copy, Debug)]
enum Call {
    Check(u64),
    Peek(u64),
    Reserve(u64),
    GrantUpTo(u64),
    Settle(u64),
    Reset,
}

fn any_call(rng: &mut Rng, quota: &Quota) -> Call {
    let cost = match rng.below(10) {
        0 => 0,
        1 => u64::MAX,
        2 => quota.burst_size() + 1,
        3 => quota.burst_size(),
        _ => 1 + rng.below(quota.burst_size()),
    };
    match rng.below(12) {
        0..=4 => Call::Check(cost),
        5 => Call::Peek(cost),
        6..=7 => Call::Reserve(cost),
        8 => Call::GrantUpTo(cost),
        9..=10 => Call::Settle(rng.below(2 * quota.burst_size())),
        _ => Call::Reset,
    }
}

/// The next time, in steps of `grain`: often the same, sometimes the edge of a period, a long while
/// later, or earlier.
fn any_time(rng: &mut Rng, now: u64, quota: &Quota, grain: u64) -> u64 {
    let period = nanos(quota.period());
    let next = match rng.below(12) {
        0..=3 => now,
        4 => now - now % period + period,
        5 => now - now % period + period - grain,
        6 => now + 3 * period,
        7 => now - rng.below(period),
        8 => now - rng.below(3 * period),
        _ => now + rng.below(period),
    };
    next - next % grain
}

fn limiter<A: Algorithm>(algorithm: A, time: &VirtualClock) -> RateLimiter<A, FixedState> {
    let builder = RateLimiter::builder(algorithm.quota()).clock(time.clock());
    builder.hasher(FixedState::default()).algorithm(algorithm).build()
}

/// Keys that do not meet: whom a newcomer forgets has another latest time then.
fn keys() -> [u64; 3] {
    let shard = |key: u64| (FixedState::default().hash_one(key) >> 32) % 64;
    let mut keys = [0; 3];
    for nth in 1..3 {
        let apart = |key: &u64| keys[..nth].iter().all(|other| shard(*key) != shard(*other));
        keys[nth] = (1..).find(apart).unwrap();
    }
    keys
}

const START: u64 = TODAY + 3600 * SECOND;
const CALLS: u64 = 60;

/// What was reserved of a limiter, and what the pure functions know of it.
type Reserved<'a> = Vec<(Charge, Vec<Reservation<'a>>)>;

fn take_any<T>(rng: &mut Rng, of: &mut Vec<T>) -> Option<T> {
    (!of.is_empty()).then(|| of.swap_remove(rng.below(of.len() as u64) as usize))
}

/// One history of `algorithm` in records, beside the pure functions.
fn records_are_pure<A: Algorithm>(algorithm: A, grain: u64, rng: &mut Rng, census: &mut Census) {
    let time = VirtualClock::starting_at(at(START));
    let records = limiter(InRecords(algorithm.clone()), &time);
    let mut plain = Plain { algorithm: algorithm.clone(), keys: HashMap::new() };
    let mut reserved: Reserved<'_> = Vec::new();
    let (quota, keys) = (algorithm.quota(), keys());
    let (mut now, mut highest) = (START, START);
    for _ in 0..CALLS {
        now = any_time(rng, now, &quota, grain);
        highest = highest.max(now);
        time.set(at(now));
        let (key, call) = (rng.pick(&keys), any_call(rng, &quota));
        let is_late = now + plain.ahead(key) < plain.kept(key).latest;
        let (got, expected) = match call {
            Call::Check(cost) => (records.check_n(&key, cost), plain.take(key, cost, now)),
            Call::Peek(cost) => (records.peek_n(&key, cost), plain.peek(key, cost, now)),
            Call::Reserve(cost) => {
                let got = records.reserve(&key, cost);
                let expected = plain.take(key, cost, now);
                let answer = got.as_ref().map(Reservation::allowed).map_err(|denied| *denied);
                let charge = plain.charge(key, cost, now);
                reserved.extend(got.ok().map(|reservation| (charge, vec![reservation])));
                (answer, expected)
            }
            Call::GrantUpTo(up_to) => {
                let got = records.grant_up_to(&key, up_to);
                let cost = plain.grantable(key, up_to, now);
                let expected = plain.take(key, cost, now);
                if let Ok(granted) = &got {
                    assert_eq!(granted.cost(), cost, "granted of {up_to}");
                }
                (got.map(|granted| granted.allowed()), expected)
            }
            Call::Settle(cost) => {
                if let Some((charge, reservations)) = take_any(rng, &mut reserved) {
                    reservations.into_iter().for_each(|reservation| reservation.settle(cost));
                    plain.settle(charge, cost, highest);
                }
                (records.peek_n(&key, 1), plain.peek(key, 1, now))
            }
            Call::Reset => {
                records.reset(&key);
                plain.reset(key);
                (records.peek_n(&key, 1), plain.peek(key, 1, now))
            }
        };
        assert_same(got, expected, || format!("{call:?} of {key} at {now} of {quota}"));
        census.count((got.is_ok(), is_late));
    }
}

#[track_caller]
fn assert_same(got: Answer, expected: Answer, context: impl Fn() -> String) {
    // How long until nothing is owed means nothing of who owes nothing.
    let seen = |answer: &Answer| match answer {
        Ok(it) => (it.burst(), it.remaining(), it.reset_after(), None),
        Err(it) => (it.burst(), it.remaining(), it.reset_after(), Some(it.retry())),
    };
    assert_eq!(seen(&got), seen(&expected), "{}", context());
}

/// One history of `algorithm` in words, beside itself in records. What a word remembers does not say
/// when it was charged: asked at an earlier time it may see more debt, and then denies for no longer
/// than until that time. Nothing is charged there, or the two would go apart.
fn words_are_records<A: Algorithm>(algorithm: A, grain: u64, rng: &mut Rng, census: &mut Census) {
    let time = VirtualClock::starting_at(at(START));
    assert!(algorithm.in_word().is_some());
    let words = limiter(algorithm.clone(), &time);
    let records = limiter(InRecords(algorithm.clone()), &time);
    let mut reserved: Vec<(u64, Reservation<'_>, Reservation<'_>)> = Vec::new();
    let (quota, keys) = (algorithm.quota(), keys());
    let mut latest: HashMap<u64, u64> = HashMap::new();
    let (mut now, mut highest) = (START, START);
    for _ in 0..CALLS {
        now = any_time(rng, now, &quota, grain);
        highest = highest.max(now);
        time.set(at(now));
        let (key, call) = (rng.pick(&keys), any_call(rng, &quota));
        let context = || format!("{call:?} of {key} at {now} of {quota}");
        let latest_of_key = latest.get(&key).copied().unwrap_or(0);
        if now < latest_of_key {
            let (Call::Check(cost) | Call::Peek(cost) | Call::Reserve(cost)) = call else {
                continue;
            };
            let (word, record) = (words.peek_n(&key, cost), records.peek_n(&key, cost));
            let lag = Duration::from_nanos(latest_of_key - now);
            match (word, record) {
                (Ok(word), Ok(record)) => assert!(word.remaining() <= record.remaining()),
                (Err(word), Err(record)) => {
                    assert_eq!(word.retry(), record.retry(), "{}", context());
                }
                (Err(word), Ok(_)) => assert!(word.retry().after() <= Some(lag), "{}", context()),
                (Ok(_), Err(_)) => panic!("a word admits more: {}", context()),
            }
            census.count(("late", word.is_ok(), record.is_ok()));
            continue;
        }
        let (word, record) = match call {
            Call::Check(cost) => (words.check_n(&key, cost), records.check_n(&key, cost)),
            Call::Peek(cost) => (words.peek_n(&key, cost), records.peek_n(&key, cost)),
            Call::Reserve(cost) => {
                let (word, record) = (words.reserve(&key, cost), records.reserve(&key, cost));
                let answer = |it: &Result<Reservation<'_>, Denied>| {
                    it.as_ref().map(Reservation::allowed).map_err(|denied| *denied)
                };
                let answers = (answer(&word), answer(&record));
                if let (Ok(word), Ok(record)) = (word, record) {
                    reserved.push((key, word, record));
                }
                answers
            }
            Call::GrantUpTo(up_to) => {
                let (word, record) =
                    (words.grant_up_to(&key, up_to), records.grant_up_to(&key, up_to));
                if let (Ok(word), Ok(record)) = (&word, &record) {
                    assert_eq!(word.cost(), record.cost(), "{}", context());
                }
                (word.map(|it| it.allowed()), record.map(|it| it.allowed()))
            }
            Call::Settle(cost) => {
                if let Some((of, word, record)) = take_any(rng, &mut reserved) {
                    word.settle(cost);
                    record.settle(cost);
                    latest.insert(of, highest);
                }
                if now < latest.get(&key).copied().unwrap_or(0) {
                    continue;
                }
                (words.peek_n(&key, 1), records.peek_n(&key, 1))
            }
            Call::Reset => {
                words.reset(&key);
                records.reset(&key);
                (words.peek_n(&key, 1), records.peek_n(&key, 1))
            }
        };
        assert_same(word, record, context);
        census.count(("in time", word.is_ok(), record.is_ok()));
        if let Call::Check(_) | Call::Reserve(_) | Call::GrantUpTo(_) = call {
            latest.insert(key, now);
        }
    }
}

/// Quotas, and the grain of time in which each is counted without rounding: where a unit takes whole
/// nanoseconds any, elsewhere a whole second. Only there do words, whose ticks lie on one axis for
/// all keys, begin a busy period when records do.
const QUOTAS: [(u64, u64, u64, u64); 5] = [
    (50, SECOND, 50, 1),
    (50, SECOND, 7, 1),
    (5, 10 * SECOND, 12, 1),
    (7, 60 * SECOND, 7, SECOND),
    (7, 60 * SECOND, 3, SECOND),
];

fn each_quota(seed: u64, mut history: impl FnMut(Quota, u64, &mut Rng)) {
    let mut rng = Rng(seed);
    for round in 0..steps(100_000) / CALLS {
        let (count, per, burst, grain) = QUOTAS[round as usize % QUOTAS.len()];
        history(quota(count, per, burst), grain, &mut rng);
    }
}

macro_rules! histories {
    ($($name:ident: $history:ident $make:expr, $classes:expr;)+) => {
        $(#[test]
        fn $name() {
            let mut census = Census::default();
            each_quota(0x7011, |quota, grain, rng| {
                $history($make(quota), grain, rng, &mut census);
            });
            census.require(&$classes, 500);
        })+
    };
}

/// Allowed or not, late or not.
const PURE: [(bool, bool); 4] = [(true, false), (false, false), (true, true), (false, true)];
const WORDS: [(&str, bool, bool); 5] = [
    ("in time", true, true),
    ("in time", false, false),
    ("late", true, true),
    ("late", false, false),
    ("late", false, true),
];

histories! {
    gcra_in_records: records_are_pure Gcra::new, PURE;
    leaky_bucket_in_records: records_are_pure LeakyBucket::new, PURE;
    fixed_window_in_records: records_are_pure FixedWindow::new, PURE;
    fixed_window_shifted: records_are_pure |quota| FixedWindow::new(quota).shifted_per_key(), PURE;
    fixed_window_from_first_hit:
        records_are_pure |quota| FixedWindow::new(quota).from_first_hit(), PURE;
    fixed_window_counting_denied:
        records_are_pure |quota| FixedWindow::new(quota).counting_denied(), PURE;
    sliding_window: records_are_pure SlidingWindow::new, PURE;
    sliding_granules: records_are_pure |quota| SlidingGranules::new(quota, 3), PURE;
    sliding_granules_strict: records_are_pure |quota| SlidingGranules::new(quota, 3).strict(), PURE;
    sliding_log: records_are_pure SlidingLog::new, PURE;
    gcra_in_words: words_are_records Gcra::new, WORDS;
    leaky_bucket_in_words: words_are_records LeakyBucket::new, WORDS;
    fixed_window_in_words: words_are_records FixedWindow::new, WORDS;
}
