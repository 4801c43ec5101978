//! Timelines of the seven kinds of limiters that `compat` has the rules of. Times are in seconds.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::Value;
use tollgate::compat::{
    CountedQuota, DistinctValues, DualLimit, DualLimiter, FixedWindowCounter, GranuleQuota,
    GranuleQuotas, LeakyBucket, QuotaSet, Request, Running, SlotsById,
};
use tollgate::{Quota, Timestamp, VirtualClock};

use crate::conformance::{SENTRY, number};
use crate::oracle::{SECOND, at, quota};

/// Nanoseconds of seconds that the timelines tell to the millisecond at most.
fn seconds(value: &Value) -> u64 {
    (value.as_f64().unwrap() * 1000.0).round() as u64 * 1_000_000
}

fn span(value: &Value) -> Duration {
    Duration::from_nanos(seconds(value))
}

fn now(step: &Value) -> Timestamp {
    at(seconds(&step["t"]))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text"))
}

fn array(value: &Value) -> &[Value] {
    value.as_array().unwrap_or_else(|| panic!("{value} is no list"))
}

/// What a step expects, and what it came to, by the names of the timelines.
struct Step<'a> {
    step: &'a Value,
    context: String,
    told: Vec<&'static str>,
}

impl<'a> Step<'a> {
    /// `told`: what the step tells the limiter. All else it expects.
    fn new(timeline: &'a Value, number: usize, told: &[&'static str]) -> Step<'a> {
        let step = &array(&timeline["steps"])[number];
        let context = format!("{} step {number}: {step}", timeline["id"]);
        Step { step, context, told: [&["t", "op"], told].concat() }
    }

    /// Holds what came of the step to what it expects; each expectation must be `got`.
    fn expect(&self, got: &[(&str, Value)]) {
        for (what, expected) in self.step.as_object().unwrap() {
            if self.told.contains(&what.as_str()) {
                continue;
            }
            let found = got.iter().find(|(name, _)| name == what);
            let (_, got) = found.unwrap_or_else(|| panic!("{}: what is {what}?", self.context));
            let alike = match (got.as_f64(), expected.as_f64()) {
                (Some(got), Some(expected)) => got == expected,
                _ => got == expected,
            };
            assert!(alike, "{}: {what} is {got}", self.context);
        }
    }
}

fn in_seconds(nanos: u128) -> Value {
    (nanos as f64 / SECOND as f64).into()
}

fn fixed_window(timeline: &Value) {
    let time = VirtualClock::new();
    let counter = FixedWindowCounter::new(time.clock());
    for (nth, step) in array(&timeline["steps"]).iter().enumerate() {
        let step_of = Step::new(timeline, nth, &["key", "project", "limit", "window"]);
        time.set(now(step));
        let key = (text(&step["key"]), step["project"].as_u64());
        let window = step["window"].as_u64().map(Duration::from_secs);
        match text(&step["op"]) {
            "hit" => {
                let hit = counter.hit(&key, step["limit"].as_i64().unwrap(), window);
                let reset = in_seconds(hit.reset.as_nanos().into());
                step_of.expect(&[
                    ("limited", hit.limited.into()),
                    ("value", hit.value.into()),
                    ("reset", reset),
                ]);
            }
            "current" => step_of.expect(&[("value", counter.current(&key, window).into())]),
            other => panic!("what is {other}?"),
        }
    }
}

fn concurrent(timeline: &Value) {
    let time = VirtualClock::new();
    let slots = SlotsById::new(span(&timeline["config"]["ttl"]), time.clock());
    for (nth, step) in array(&timeline["steps"]).iter().enumerate() {
        let step_of = Step::new(timeline, nth, &["key", "limit", "uid"]);
        time.set(now(step));
        let key = text(&step["key"]);
        match text(&step["op"]) {
            "start" => {
                let got = slots.start(key, text(&step["uid"]), number(&step["limit"]));
                step_of.expect(&[
                    ("current", got.current.into()),
                    ("exceeded", got.exceeded.into()),
                    ("cleaned", got.cleaned.into()),
                ]);
            }
            "finish" => slots.finish(key, text(&step["uid"])),
            "count" => step_of.expect(&[("value", slots.count(key).into())]),
            other => panic!("what is {other}?"),
        }
    }
}

fn leaky_bucket(timeline: &Value) {
    let (time, config) = (VirtualClock::new(), &timeline["config"]);
    let drips = quota(number(&config["drip"]), SECOND, number(&config["burst"]));
    let bucket = LeakyBucket::new(drips, time.clock());
    for (nth, step) in array(&timeline["steps"]).iter().enumerate() {
        time.set(now(step));
        assert_eq!(step["op"], "use");
        let leak = bucket.fill("k", number(&step["n"]));
        Step::new(timeline, nth, &["n"]).expect(&[
            ("limited", leak.limited.into()),
            ("stored_level", leak.level.into()),
            ("wait", in_seconds(leak.wait.as_nanos())),
        ]);
    }
}

fn quotas_of<'a>(request: &'a Value) -> Vec<GranuleQuota<'a>> {
    let of = |quota: &'a Value| GranuleQuota {
        window: span(&quota["window"]),
        granularity: span(&quota["granularity"]),
        limit: quota["limit"].as_i64().unwrap(),
        prefix_override: quota["prefix_override"].as_str(),
    };
    array(&request["quotas"]).iter().map(of).collect()
}

fn sliding_window(timeline: &Value) {
    let time = VirtualClock::new();
    let granules = GranuleQuotas::new(time.clock());
    for (nth, step) in array(&timeline["steps"]).iter().enumerate() {
        time.set(now(step));
        assert_eq!(step["op"], "check_and_use");
        let asked = array(&step["requests"]);
        let all: Vec<_> = asked.iter().map(quotas_of).collect();
        let requests: Vec<Request<'_>> = asked
            .iter()
            .zip(&all)
            .map(|(asked, quotas)| Request {
                prefix: text(&asked["prefix"]),
                requested: number(&asked["requested"]),
                quotas,
            })
            .collect();
        let grants = granules.check_and_use(&requests);
        let told = |grant: &tollgate::compat::Grant| serde_json::json!({ "granted": grant.granted, "reached": grant.reached });
        let grants: Vec<Value> = grants.iter().map(told).collect();
        Step::new(timeline, nth, &["requests"]).expect(&[("grants", grants.into())]);
    }
}

fn cardinality(timeline: &Value) {
    let (time, config) = (VirtualClock::new(), &timeline["config"]);
    let limit = Quota::new(number(&config["limit"]), span(&config["window"])).unwrap();
    let granules = number(&config["window"]) / number(&config["granularity"]);
    let values = DistinctValues::new(limit, granules as u32, time.clock());
    for (nth, step) in array(&timeline["steps"]).iter().enumerate() {
        time.set(now(step));
        assert_eq!(step["op"], "check_and_use");
        let hashes: Vec<u64> = array(&step["hashes"]).iter().map(number).collect();
        let granted = values.check_and_use(text(&step["prefix"]), &hashes);
        let these: Vec<Value> = granted.granted.iter().map(|hash| Value::from(**hash)).collect();
        Step::new(timeline, nth, &["prefix", "hashes"])
            .expect(&[("granted", these.into()), ("reached", granted.reached.into())]);
    }
}

fn snuba_dual(timeline: &Value) {
    let (time, config) = (VirtualClock::new(), &timeline["config"]);
    let lookback = span(&config["lookback"]);
    let dual = DualLimiter::new(span(&config["duration"]), lookback, time.clock());
    let limit = DualLimit {
        concurrent: config["concurrent_limit"].as_u64(),
        per_second: config["per_second_limit"].as_u64(),
    };
    let mut running: HashMap<&str, Running<'_>> = HashMap::new();
    for (nth, step) in array(&timeline["steps"]).iter().enumerate() {
        time.set(now(step));
        let query = text(&step["qid"]);
        match text(&step["op"]) {
            "start" => {
                let started = dual.start("bucket", limit);
                let rejected = started.is_err();
                let load = match started {
                    Ok(query_running) => {
                        let load = query_running.load();
                        running.insert(query, query_running);
                        load
                    }
                    Err(overloaded) => overloaded.load,
                };
                Step::new(timeline, nth, &["qid"]).expect(&[
                    ("rejected", rejected.into()),
                    ("concurrent", load.concurrent.into()),
                    ("rate", (load.recent as f64 / lookback.as_secs_f64()).into()),
                ]);
            }
            "finish" => drop(running.remove(query).expect("it runs")),
            other => panic!("what is {other}?"),
        }
    }
}

fn relay_quota(timeline: &Value) {
    let (time, config) = (VirtualClock::new(), &timeline["config"]);
    let set = QuotaSet::new(time.clock());
    for (nth, step) in array(&timeline["steps"]).iter().enumerate() {
        time.set(now(step));
        assert_eq!(step["op"], "check");
        let of = |quota: &Value| CountedQuota {
            key: text(&quota["key"]).to_owned(),
            // -1 there: without a limit.
            limit: quota["limit"].as_u64(),
            window: span(&config["window"]),
            organization: number(&config["org"]),
        };
        let quotas: Vec<_> = array(&step["quotas"]).iter().map(of).collect();
        let over_accept_once = step["over_accept_once"].as_bool().unwrap();
        let answers = set.check(&quotas, number(&step["quantity"]), over_accept_once);
        let rejected: Vec<Value> = answers.iter().map(|answer| answer.rejected.into()).collect();
        let consumed = answers.iter().map(|answer| Value::from(answer.consumed as i64));
        Step::new(timeline, nth, &["quotas", "quantity", "over_accept_once"])
            .expect(&[("rejected", rejected.into()), ("consumed", consumed.collect())]);
    }
}

#[test]
fn each_holds() {
    let all: Vec<Value> = serde_json::from_str(SENTRY).unwrap();
    let mut ran: HashMap<&str, usize> = HashMap::new();
    for timeline in &all {
        let kind = text(&timeline["limiter"]);
        let run = match kind {
            "fixed_window" => fixed_window,
            "concurrent" => concurrent,
            "leaky_bucket" => leaky_bucket,
            "sliding_window" => sliding_window,
            "cardinality" => cardinality,
            "snuba_dual" => snuba_dual,
            "relay_quota" => relay_quota,
            other => panic!("what is {other}?"),
        };
        run(timeline);
        *ran.entry(kind).or_default() += 1;
    }
    println!("{} timelines hold: {ran:?}", all.len());
    assert_eq!((all.len(), ran.len(), ran.values().sum::<usize>()), (38, 7, 38));
}
