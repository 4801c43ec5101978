//! Timelines of other systems' tests.
//!
//! Token buckets are in whole nanoseconds, several bands being one bucket with several quotas that
//! are decided together. A bucket that starts below its capacity is charged at 0 first. Taking by
//! force and adding are a reservation settled upwards and downwards, reserving is a booking. An
//! estimate is a look.
//!
//! Concurrency limits are in seconds. A slot that is over is counted until somebody needs it.

mod oracle;

use std::collections::HashMap;
use std::time::Duration;

use foldhash::fast::FixedState;
use oracle::{at, nanos, quota};
use serde_json::Value;
use tollgate::{
    ConcurrencyLimiter, Gcra, KeyedConcurrencyLimiter, Lease, RateLimiter, Reservation, Retry,
    Usage, VirtualClock, all,
};

/// What cannot be asked here, and why. Anything else must run, and pass.
const LEFT_OUT: [(&str, &str); 9] = [
    ("K3.7", "refills by the interval; GCRA refills by the unit"),
    ("K5", "refills by the interval"),
    ("K5c", "refills by the interval"),
    ("K11.3", "refills by the interval"),
    ("K9f.4", "keeps tokens above the capacity; a bucket is at most full"),
    ("K9g", "keeps tokens above the capacity"),
    ("K9.0", "adds at 50 what was charged at 0: a charge is given back less what time gave"),
    ("K9f.0", "adds at 50 what was charged at 0"),
    ("K9f.1", "adds at 50 what was charged at 0"),
];

struct Bands {
    time: VirtualClock,
    limiters: Vec<RateLimiter<Gcra, FixedState>>,
}

/// A look at all bands: what they would say to `cost`, the least that remains, the longest reset.
struct Looked {
    retry: Retry,
    remaining: u64,
    reset: u64,
}

impl Bands {
    fn new(bands: &[Value]) -> Bands {
        let time = VirtualClock::new();
        let build = |band: &Value| {
            let quota = quota(number(&band["n"]), number(&band["p"]), number(&band["cap"]));
            oracle::limiter(quota, time.clock())
        };
        Bands { limiters: bands.iter().map(build).collect(), time }
    }

    fn look(&self, cost: u64) -> Looked {
        let mut looked = Looked { retry: wait(0), remaining: u64::MAX, reset: 0 };
        for limiter in &self.limiters {
            let (remaining, reset) = match limiter.peek_n("k", cost) {
                Ok(_) => {
                    let now = limiter.peek_n("k", 0).unwrap();
                    (now.remaining(), now.reset_after())
                }
                Err(denied) => {
                    looked.retry = match (looked.retry, denied.retry()) {
                        (Retry::After(a), Retry::After(b)) => Retry::After(a.max(b)),
                        _ => Retry::Never,
                    };
                    (denied.remaining(), denied.reset_after())
                }
            };
            looked.remaining = looked.remaining.min(remaining);
            looked.reset = looked.reset.max(nanos(reset));
        }
        looked
    }

    fn take(&self, cost: u64) -> bool {
        let keys: Vec<_> = self.limiters.iter().map(|limiter| limiter.key("k")).collect();
        match *keys {
            [band] => all((band,)).admit(cost).is_ok(),
            [first, second] => all((first, second)).admit(cost).is_ok(),
            _ => panic!("a timeline with {} bands", keys.len()),
        }
    }

    /// Takes whether there is room or not.
    fn force(&self, cost: u64) {
        for limiter in &self.limiters {
            limiter.reserve("k", 0).unwrap().settle(cost);
        }
    }

    /// Books a turn, and says when it is.
    fn book(&self, cost: u64, max_wait: Duration) -> Option<u64> {
        let [limiter] = &self.limiters[..] else { panic!("a booking in several bands") };
        let turn = limiter.book("k", cost, max_wait).ok()?;
        assert_eq!(turn.turn(), self.time.now() + turn.wait());
        assert_eq!(turn.cost(), cost);
        Some(turn.turn().as_nanos())
    }
}

fn wait(nanos: u64) -> Retry {
    Retry::After(Duration::from_nanos(nanos))
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no whole number"))
}

fn retry_is(expected: &Value, retry: Retry) -> bool {
    match expected {
        Value::String(never) => never == "never" && retry == Retry::Never,
        nanos => retry == wait(number(nanos)),
    }
}

fn run(vector: &Value) {
    let bands = Bands::new(vector["bands"].as_array().unwrap());
    let id = &vector["id"];
    // What a bucket lacks at first was reserved at 0, and is what `add` gives back.
    let mut lacking: Vec<Reservation<'_>> = Vec::new();
    for (band, limiter) in vector["bands"].as_array().unwrap().iter().zip(&bands.limiters) {
        let cap = number(&band["cap"]);
        let init = band["init"].as_u64().unwrap_or(cap);
        lacking.push(limiter.reserve("k", cap - init).unwrap());
    }
    let mut lacking = Some(lacking);
    for (step, op) in vector["ops"].as_array().unwrap().iter().enumerate() {
        bands.time.set(at(number(&op["t"])));
        let cost = op["n"].as_u64().unwrap_or(0);
        let before = bands.look(cost);
        let (mut ok, mut turn) = (true, None);
        match op["op"].as_str().unwrap() {
            "reserve" => {
                let max_wait =
                    op["max_wait_ns"].as_u64().map_or(Duration::MAX, Duration::from_nanos);
                turn = bands.book(cost, max_wait);
                ok = turn.is_some();
            }
            "take" => ok = bands.take(cost),
            "force" => bands.force(cost),
            "add" | "force_add" => {
                for reservation in lacking.take().expect("one `add` to a timeline") {
                    let reserved = reservation.cost();
                    reservation.settle(reserved.saturating_sub(cost));
                }
            }
            "peek" | "estimate" | "full_time" => {}
            other => panic!("{id} step {step}: what is {other}?"),
        }
        let after = bands.look(0);
        for (what, expected) in op["expect"].as_object().unwrap() {
            let holds = match what.as_str() {
                "ok" => expected == &Value::Bool(ok),
                "act_at" => turn == Some(number(expected)),
                "remaining" => number(expected) == after.remaining,
                "reset_ns" => number(expected) == after.reset,
                "retry_ns" => retry_is(expected, before.retry),
                "wait_ns" if op["op"] == "full_time" => number(expected) == after.reset,
                "wait_ns" => retry_is(expected, before.retry),
                // Below 0 it is the wait that says how far.
                "balance" => expected.as_i64().unwrap().max(0) as u64 == after.remaining,
                "overflow_wait_ns" => {
                    let debt = bands.limiters.iter().map(|limiter| {
                        let full = limiter.quota();
                        let reset = nanos(limiter.peek_n("k", 0).unwrap().reset_after());
                        let whole = full.burst_size() * nanos(full.period()) / full.count();
                        reset.saturating_sub(whole)
                    });
                    number(expected) == debt.max().unwrap()
                }
                other => panic!("{id} step {step}: what is {other}?"),
            };
            assert!(holds, "{id} step {step}: {op}: {what} is not so, {} remain", after.remaining);
        }
    }
}

#[test]
fn timelines_of_token_buckets() {
    let text = include_str!("data/buckets.json");
    let all: Value = serde_json::from_str(text).unwrap();
    let vectors = all["vectors"].as_array().unwrap();
    let (mut ran, mut left_out) = (Vec::new(), 0);
    for vector in vectors {
        let id = vector["id"].as_str().unwrap();
        match LEFT_OUT.iter().find(|(name, _)| *name == id) {
            Some((_, why)) => {
                println!("left out: {id} ({}): {why}", vector["source"].as_str().unwrap());
                left_out += 1;
            }
            None => {
                run(vector);
                ran.push(id);
            }
        }
    }
    println!("{} of {} timelines hold: {}", ran.len(), vectors.len(), ran.join(" "));
    assert_eq!((vectors.len(), left_out), (38, LEFT_OUT.len()), "each is run or named");
}

/// What cannot be asked of concurrency limits here, and why. Anything else must run, and pass.
const NOT_SLOTS: [(&str, &str); 6] = [
    ("fixed_window", "counts by tumbling windows; GCRA has none"),
    ("sliding_window", "counts by granules, and grants a part of what is asked for"),
    ("relay_quota", "counts by windows shifted by the key"),
    ("leaky_bucket", "a rate that leaks in fractions of a second, not slots"),
    ("cardinality", "counts distinct values"),
    ("sn-per-second", "a rate over the exact log of the last 60 s"),
];

/// Steps of one timeline on the slots of its keys.
struct InFlight {
    time: VirtualClock,
    slots: KeyedConcurrencyLimiter<str, FixedState>,
    held: HashMap<String, Lease>,
}

impl InFlight {
    fn new(cap: u64, lease: Duration) -> InFlight {
        let time = VirtualClock::new();
        let cap = u32::try_from(cap).unwrap();
        let builder = ConcurrencyLimiter::builder(cap).lease(lease).clock(time.clock());
        let slots = builder.build_keyed_with(FixedState::default());
        InFlight { time, slots, held: HashMap::new() }
    }

    fn at(&self, seconds: &Value) {
        let millis = (seconds.as_f64().unwrap() * 1000.0).round() as u64;
        self.time.set(at(millis * 1_000_000));
    }

    /// Whether a slot was free, and how many were taken back that nobody had given back.
    fn start(&mut self, key: &str, id: &str) -> (bool, u64) {
        let taken_back = |usage: Usage| usage.expired - u64::from(usage.overdue);
        let before = taken_back(self.slots.usage(key));
        let lease = self.slots.try_acquire(key);
        let started = lease.is_ok();
        self.held.extend(lease.ok().map(|lease| (id.to_owned(), lease)));
        (started, taken_back(self.slots.usage(key)) - before)
    }

    fn step(&mut self, step: &Value, context: &str) {
        self.at(&step["t"]);
        let key = step["key"].as_str().unwrap_or("");
        let id = step["uid"].as_str().or(step["qid"].as_str()).unwrap_or("");
        match step["op"].as_str().unwrap() {
            "start" => {
                let (started, cleaned) = self.start(key, id);
                let in_use = u64::from(self.slots.usage(key).in_use);
                let rejected = u64::from(!started);
                let told = ["t", "op", "key", "limit", "uid", "qid"];
                let expectations = step.as_object().unwrap().iter();
                for (what, expected) in expectations.filter(|(what, _)| !told.contains(&&***what)) {
                    let holds = match what.as_str() {
                        "exceeded" | "rejected" => expected == &Value::Bool(!started),
                        "current" => number(expected) == in_use,
                        "cleaned" => number(expected) == cleaned,
                        // That one counts whom it turns away.
                        "concurrent" => number(expected) == in_use + rejected,
                        other => panic!("{context}: what is {other}?"),
                    };
                    assert!(holds, "{context}: {what} is not so: {in_use} in use, {cleaned} back");
                }
            }
            "finish" => drop(self.held.remove(id)),
            "count" => {
                let usage = self.slots.usage(key);
                let counted = u64::from(usage.in_use + usage.overdue);
                assert_eq!(counted, number(&step["value"]), "{context}");
            }
            other => panic!("{context}: what is {other}?"),
        }
    }
}

fn run_slots(timeline: &Value) {
    let (config, steps) = (&timeline["config"], timeline["steps"].as_array().unwrap());
    let limit = config["concurrent_limit"].as_u64().or(steps[0]["limit"].as_u64()).unwrap_or(0);
    let seconds = config["ttl"].as_u64().or(config["duration"].as_u64()).unwrap();
    let mut in_flight = InFlight::new(limit, Duration::from_secs(seconds));
    for (number, step) in steps.iter().enumerate() {
        assert!(step["limit"].is_null() || step["limit"] == limit);
        in_flight.step(step, &format!("{} step {number}: {step}", timeline["id"]));
    }
}

#[test]
fn timelines_of_concurrency_limits() {
    let all: Vec<Value> = serde_json::from_str(include_str!("data/sentry.json")).unwrap();
    let (mut ran, mut left_out) = (Vec::new(), 0);
    for timeline in &all {
        let id = timeline["id"].as_str().unwrap();
        let kind = timeline["limiter"].as_str().unwrap();
        match NOT_SLOTS.iter().find(|(name, _)| *name == id || *name == kind) {
            Some((_, why)) => {
                println!("left out: {id} ({kind}): {why}");
                left_out += 1;
            }
            None => {
                run_slots(timeline);
                ran.push(id);
            }
        }
    }
    println!("{} of {} timelines hold: {}", ran.len(), all.len(), ran.join(" "));
    assert_eq!((all.len(), ran.len(), left_out), (38, 9, 29), "each is run or named");
}
