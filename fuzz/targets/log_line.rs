//! A log is read line by line, whatever it holds: every line is an event, blank, or unreadable with a
//! reason, and what is read means the same when it is written down as an event line.

use std::io::BufReader;

use tollgate::{Limit, Policy, Quota, Timestamp};
use tollgate_cli::replay::{Arrivals, Decision, Event, Format, Log, Op, Replay, Seconds, Took};

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
            for took in [Took::Microseconds, Took::RequestTime] {
                timed(line, format, took);
            }
        }
        combined_is_common_and_more(line);
    }
    for format in [None, Some(Format::Jsonl), Some(Format::Common)] {
        for took in [None, Some(Took::Seconds)] {
            replayed(data, &ended, format, took);
        }
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
    let took = event.took.map_or(String::new(), |took| {
        format!(r#", "took": "{}""#, Seconds(Timestamp::ZERO + took))
    });
    let line = format!(
        r#"{{"cost": {cost}, "facts": {facts}, "op": "{op}", "id": {id}, "t": {at}{took}}}"#
    );
    if line.len() > tollgate_cli::replay::MAX_LINE {
        return;
    }
    let mut again = Format::Jsonl.event(line.as_bytes()).expect(&line).expect("it is not blank");
    let mut facts = event.facts.clone();
    facts.sort();
    again.facts.sort();
    assert_eq!((again.at, again.op, again.cost), (event.at, event.op, event.cost), "{line}");
    assert_eq!((&again.id, &again.facts), (&event.id, &facts), "{line}");
    assert_eq!(again.took, event.took, "{line}");
}

/// A line that tells how long it took is the line, and its stamp is its beginning or its end.
fn timed(line: &[u8], format: Format, took: Took) {
    let Ok(Some(timed)) = format.timed_event(line, Some(took)) else { return };
    let mut plain = format.event(line).expect("it starts alike").expect("it is not blank");
    if format != Format::Jsonl {
        let until_stamp = timed.took.filter(|_| took == Took::RequestTime).unwrap_or_default();
        assert_eq!(timed.at + until_stamp, plain.at);
        (plain.at, plain.took) = (timed.at, timed.took);
    }
    assert_eq!(timed, plain);
    written_down(&timed);
}

fn combined_is_common_and_more(line: &[u8]) {
    let Ok(Some(mut combined)) = Format::Combined.event(line) else { return };
    let common = Format::Common.event(line).expect("it starts alike").expect("it is not blank");
    combined.facts.retain(|(name, _)| name != "referer" && name != "user_agent");
    assert_eq!(combined, common);
}

/// Every line is met once, by its number, and decided upon; with `took`, in order.
fn replayed(data: &[u8], lines: &[&[u8]], format: Option<Format>, took: Option<Took>) {
    let policy = Policy::new()
        .limit(Limit::new("key", Quota::per_second(1)).key(["ip|user", "path"]))
        .limit(Limit::new("all", Quota::per_minute(1000).burst(3)));
    let mut replay = Replay::new(policy).expect("the policy is right");
    let mut log = Log::new(BufReader::with_capacity(5, data), format);
    if let Some(took) = took {
        log = log.took(took);
    }
    let mut arrivals = Arrivals::new();
    let mut numbers = Vec::new();
    let (mut decisions, mut unreadable) = (0, 0);
    while let Some(line) = log.next_line().expect("memory can be read") {
        numbers.push(line.number);
        match line.event {
            Ok(event) if took.is_some() => arrivals.push(event),
            Ok(event) => decisions += u64::from(replay.event(&event).is_some_and(is_json)),
            Err(_) => {
                replay.unreadable();
                unreadable += 1;
            }
        }
    }
    for event in arrivals.into_rest() {
        decisions += u64::from(replay.event(&event).is_some_and(is_json));
    }
    let is_blank = |line: &&[u8]| line.trim_ascii().is_empty();
    let expected = (1..).zip(lines).filter(|(_, line)| !is_blank(line)).map(|(number, _)| number);
    assert_eq!(numbers, expected.collect::<Vec<u64>>());

    let summary = replay.summary();
    assert_eq!(summary.requests + summary.peeks, decisions);
    assert_eq!(summary.unreadable_lines, unreadable);
    assert!(took.is_none() || summary.disorder.lines == 0);
    assert!(summary.unknown_finishes <= summary.finishes);
    assert!(summary.peak_in_flight.is_none_or(|peak| (1..=summary.admitted).contains(&peak)));
    assert!(summary.unfinished <= summary.admitted);
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
