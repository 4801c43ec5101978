//! A log is read line by line, whatever it holds: every line is an event, blank, or unreadable with a
//! reason, and what is read means the same when it is written down as an event line.

use std::io::BufReader;

use tollgate::replay::{Decision, Event, Format, Log, Op, Replay, Seconds};
use tollgate::{Limit, Policy, Quota};

const FORMATS: [Format; 3] = [Format::Jsonl, Format::Combined, Format::Common];

pub(crate) fn run(data: &[u8]) {
    let mut ended: Vec<&[u8]> = data.split(|byte| *byte == b'\n').collect();
    if ended.last().is_some_and(|line| line.is_empty()) {
        ended.pop();
    }
    for line in &ended {
        for format in FORMATS {
            match format.event(line) {
                Ok(Some(event)) => written_down(&event),
                Ok(None) => assert!(line.trim_ascii().is_empty()),
                Err(why) => assert!(!why.to_string().is_empty()),
            }
        }
        combined_is_common_and_more(line);
    }
    for format in [None, Some(Format::Jsonl), Some(Format::Common)] {
        replayed(data, &ended, format);
    }
}

/// The event as a line of JSON is the same event.
fn written_down(event: &Event<'_>) {
    let facts = event.facts.iter().map(|(name, value)| (name.to_string(), (&**value).into()));
    let facts = serde_json::Value::Object(facts.collect());
    let op = match event.op {
        Op::Admit => "admit",
        Op::Peek => "peek",
        Op::Finish => "finish",
    };
    let id = serde_json::json!(event.id);
    let (at, cost) = (Seconds(event.at), event.cost);
    let line =
        format!(r#"{{"cost": {cost}, "facts": {facts}, "op": "{op}", "id": {id}, "t": {at}}}"#);
    if line.len() > tollgate::replay::MAX_LINE {
        return;
    }
    let mut again = Format::Jsonl.event(line.as_bytes()).expect(&line).expect("it is not blank");
    let mut facts = event.facts.clone();
    facts.sort();
    again.facts.sort();
    assert_eq!((again.at, again.op, again.cost), (event.at, event.op, event.cost), "{line}");
    assert_eq!((&again.id, &again.facts), (&event.id, &facts), "{line}");
}

fn combined_is_common_and_more(line: &[u8]) {
    let Ok(Some(mut combined)) = Format::Combined.event(line) else { return };
    let common = Format::Common.event(line).expect("it starts alike").expect("it is not blank");
    combined.facts.retain(|(name, _)| name != "referer" && name != "user_agent");
    assert_eq!(combined, common);
}

/// Every line is met once, by its number, and decided upon.
fn replayed(data: &[u8], lines: &[&[u8]], format: Option<Format>) {
    let policy = Policy::new()
        .limit(Limit::new("key", Quota::per_second(1)).key(["ip|user", "path"]))
        .limit(Limit::new("all", Quota::per_minute(1000).burst(3)));
    let mut replay = Replay::new(policy).expect("the policy is right");
    let mut log = Log::new(BufReader::with_capacity(5, data), format);
    let mut numbers = Vec::new();
    let (mut decisions, mut unreadable) = (0, 0);
    while let Some(line) = log.next_line().expect("memory can be read") {
        numbers.push(line.number);
        match line.event {
            Ok(event) => decisions += u64::from(replay.event(&event).is_some_and(is_json)),
            Err(_) => {
                replay.unreadable();
                unreadable += 1;
            }
        }
    }
    let is_blank = |line: &&[u8]| line.trim_ascii().is_empty();
    let expected = (1..).zip(lines).filter(|(_, line)| !is_blank(line)).map(|(number, _)| number);
    assert_eq!(numbers, expected.collect::<Vec<u64>>());

    let summary = replay.summary();
    assert_eq!(summary.requests + summary.peeks, decisions);
    assert_eq!(summary.unreadable_lines, unreadable);
    assert_eq!(decisions + summary.finishes + unreadable, numbers.len() as u64);
    assert_eq!(summary.refused, summary.limits.iter().map(|limit| limit.refused).sum::<u64>());
    serde_json::from_str::<serde_json::Value>(&summary.to_string()).expect("a line of JSON");
    if let Some(columns) = summary.columns(60) {
        assert!((1..=60).contains(&columns.count()));
        for limit in &summary.limits {
            let shown: u64 = limit.over_time.by_column(&columns).iter().sum();
            assert_eq!(shown, limit.refused, "every refusal is in a column");
        }
    }
}

fn is_json(decision: Decision<'_>) -> bool {
    let text = decision.to_string();
    assert!(!text.contains('\n'));
    serde_json::from_str::<serde_json::Value>(&text).is_ok_and(|line| line.is_object())
}
