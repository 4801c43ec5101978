//! Timelines of token buckets, in whole nanoseconds.
//!
//! Several bands are one bucket with several quotas that are decided together; one that is refilled
//! by the interval is a fixed window with a burst other than its count. A bucket that starts below
//! its capacity is charged at 0 first. Taking by force and adding are a reservation settled upwards
//! and downwards, reserving is a booking. An estimate is a look.

use std::time::Duration;

use foldhash::fast::FixedState;
use serde_json::Value;
use tollgate::algorithm::{FixedWindow, Gcra};
use tollgate::{Allowed, Denied, Key, Quota, RateLimiter, Reservation, Retry, VirtualClock, all};

use crate::conformance::number;
use crate::oracle::{at, nanos, quota};

/// What cannot be asked here, and why. Anything else must run, and pass.
const LEFT_OUT: [(&str, &str); 5] = [
    ("K9f.4", "keeps tokens above the capacity; a bucket is at most full"),
    ("K9g", "keeps tokens above the capacity"),
    ("K9.0", "adds at 50 what was charged at 0: a charge is given back less what time gave"),
    ("K9f.0", "adds at 50 what was charged at 0"),
    ("K9f.1", "adds at 50 what was charged at 0"),
];

struct Bands {
    time: VirtualClock,
    limiters: Vec<Band>,
}

enum Band {
    Greedy(RateLimiter<Gcra, FixedState>),
    ByInterval(RateLimiter<FixedWindow, FixedState>),
}

impl Band {
    fn peek(&self, cost: u64) -> Result<Allowed, Denied> {
        match self {
            Band::Greedy(limiter) => limiter.peek_n("k", cost),
            Band::ByInterval(limiter) => limiter.peek_n("k", cost),
        }
    }

    fn reserve(&self, cost: u64) -> Reservation<'_> {
        let reserved = match self {
            Band::Greedy(limiter) => limiter.reserve("k", cost),
            Band::ByInterval(limiter) => limiter.reserve("k", cost),
        };
        reserved.unwrap()
    }

    fn key(&self) -> Key<'_> {
        match self {
            Band::Greedy(limiter) => limiter.key("k"),
            Band::ByInterval(limiter) => limiter.key("k"),
        }
    }

    fn quota(&self) -> Quota {
        match self {
            Band::Greedy(limiter) => limiter.quota(),
            Band::ByInterval(limiter) => limiter.quota(),
        }
    }
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
            let builder = RateLimiter::builder(quota).clock(time.clock());
            match band["mode"].as_str().unwrap() {
                "greedy" => Band::Greedy(builder.hasher(FixedState::default()).build()),
                "intervally" => {
                    let builder = builder.algorithm(FixedWindow::new(quota));
                    Band::ByInterval(builder.hasher(FixedState::default()).build())
                }
                other => panic!("what is {other}?"),
            }
        };
        Bands { limiters: bands.iter().map(build).collect(), time }
    }

    fn look(&self, cost: u64) -> Looked {
        let mut looked = Looked { retry: wait(0), remaining: u64::MAX, reset: 0 };
        for limiter in &self.limiters {
            let (remaining, reset) = match limiter.peek(cost) {
                Ok(_) => {
                    let now = limiter.peek(0).unwrap();
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
        let keys: Vec<_> = self.limiters.iter().map(Band::key).collect();
        match *keys {
            [band] => all((band,)).admit(cost).is_ok(),
            [first, second] => all((first, second)).admit(cost).is_ok(),
            _ => panic!("a timeline with {} bands", keys.len()),
        }
    }

    /// Takes whether there is room or not.
    fn force(&self, cost: u64) {
        for limiter in &self.limiters {
            limiter.reserve(0).settle(cost);
        }
    }

    /// Books a turn, and says when it is.
    fn book(&self, cost: u64, max_wait: Duration) -> Option<u64> {
        let [Band::Greedy(limiter)] = &self.limiters[..] else { panic!("only one can book") };
        let turn = limiter.book("k", cost, max_wait).ok()?;
        assert_eq!(turn.turn(), self.time.now() + turn.wait());
        assert_eq!(turn.cost(), cost);
        Some(turn.turn().as_nanos())
    }
}

fn wait(nanos: u64) -> Retry {
    Retry::After(Duration::from_nanos(nanos))
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
        lacking.push(limiter.reserve(cap - init));
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
                        let reset = nanos(limiter.peek(0).unwrap().reset_after());
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
fn each_holds_or_is_named() {
    let text = include_str!("../data/buckets.json");
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
