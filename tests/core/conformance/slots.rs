//! Timelines of concurrency limits, on the slots of keys. Times are in seconds; a slot whose lease
//! is over is counted until another caller needs it.

use std::collections::HashMap;
use std::time::Duration;

use foldhash::fast::FixedState;
use serde_json::Value;
use tollgate::{ConcurrencyLimiter, KeyedConcurrencyLimiter, Lease, Usage, VirtualClock};

use crate::conformance::{SENTRY, number};
use crate::oracle::at;

/// What is not about slots. It runs with the others of `sentry`.
const NOT_SLOTS: [&str; 6] = [
    "fixed_window",
    "sliding_window",
    "relay_quota",
    "leaky_bucket",
    "cardinality",
    // Its rate.
    "sn-per-second",
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

    /// Whether a slot was free, and how many were taken back that their holders had not given back.
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
fn those_of_slots_hold_for_a_concurrency_limiter() {
    let all: Vec<Value> = serde_json::from_str(SENTRY).unwrap();
    let is_of_slots = |timeline: &&Value| {
        let (id, kind) = (timeline["id"].as_str().unwrap(), timeline["limiter"].as_str().unwrap());
        !NOT_SLOTS.contains(&id) && !NOT_SLOTS.contains(&kind)
    };
    let ran = all.iter().filter(is_of_slots).inspect(|timeline| run_slots(timeline)).count();
    assert_eq!((all.len(), ran), (38, 9));
}
