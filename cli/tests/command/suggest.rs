//! `tollgate suggest` from end to end: a replay of what it prints keeps to what it was asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::Stdio;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use tollgate::policy::Share;
use tollgate::{Policy, Quota};
use tollgate_cli::replay::{Log, Op};

use crate::{Ended, command, in_clone, scratch};

const LOG: &str = "examples/access.log";
const FACTS: [&str; 3] = ["ip", "user", "path"];
const SHARES: [&str; 4] = ["0%", "0.1%", "1%", "10%"];

fn run(args: &[&str]) -> Ended {
    command(args).output().unwrap().into()
}

fn run_with_input(args: &[&str], input: &[u8]) -> Ended {
    let mut command = command(args);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // It may end without reading all of it.
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap().into()
}

/// A file for one test.
fn file(name: &str, content: impl AsRef<[u8]>) -> String {
    let path = scratch(&format!("suggest-{name}"));
    fs::write(&path, content).unwrap();
    path.to_str().unwrap().to_owned()
}

/// Event lines of requests: the time and the caller of each.
fn log_of<'a>(requests: impl IntoIterator<Item = (f64, &'a str)>) -> String {
    let line = |(t, user)| format!("{}\n", json!({"t": t, "facts": {"user": user}}));
    requests.into_iter().map(line).collect()
}

fn suggest_json(log: &str, options: &[&str]) -> Value {
    run(&[&["suggest", log, "--json"], options].concat()).expect(0).json()
}

/// The quota that is suggested for the first fact.
fn quota(suggestion: &Value) -> Quota {
    suggestion["facts"][0]["limit"]["quota"].as_str().unwrap().parse().unwrap()
}

/// What a replay of a policy over a log comes to.
#[derive(Debug)]
struct Replayed {
    summary: Value,
    /// For each fact, its values, and the values that had a request refused.
    callers: BTreeMap<String, (BTreeSet<String>, BTreeSet<String>)>,
}

fn replay(policy: &str, log: &str) -> Replayed {
    let args = ["replay", "--policy", policy, log, "--json", "--decisions", "-"];
    let ended = run(&[&args[..], &["--max-unreadable", "100%"]].concat()).expect(0);
    let lines: Vec<Value> =
        ended.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let (summary, mut decisions) = (lines.last().unwrap().clone(), lines.iter());
    let mut callers: BTreeMap<String, (BTreeSet<String>, BTreeSet<String>)> = BTreeMap::new();
    let text = fs::read(in_clone(log)).unwrap();
    let mut log = Log::new(text.as_slice(), None);
    while let Some(line) = log.next_line().unwrap() {
        let Ok(event) = line.event else { continue };
        assert_eq!(event.op, Op::Admit);
        let refused = decisions.next().unwrap()["allowed"] == false;
        for (fact, value) in &event.facts {
            let (all, some) = callers.entry(fact.to_string()).or_default();
            all.insert(value.to_string());
            if refused {
                some.insert(value.to_string());
            }
        }
    }
    Replayed { summary, callers }
}

impl Replayed {
    /// Whether no more was refused than was asked for.
    fn keeps(&self, share: &str, of: &str, facts: &[&str]) -> bool {
        let share: Share = share.parse().unwrap();
        let number = |key: &str| self.summary[key].as_u64().unwrap();
        match of {
            "requests" => number("refused") <= share.of(number("requests")),
            _ => facts
                .iter()
                .filter_map(|fact| self.callers.get(*fact))
                .all(|(all, refused)| refused.len() as u64 <= share.of(all.len() as u64)),
        }
    }
}

/// Suggests, checks, and replays: the share is kept, and by what the file says. Gives the sum
/// of all counts.
fn confirm(name: &str, log: &str, share: &str, of: &str, facts: &[&str]) -> u64 {
    let by: Vec<&str> = facts.iter().flat_map(|fact| ["--by", fact]).collect();
    let options = [&["--refuse", share, "--of", of], &by[..]].concat();
    let asked = format!("{log}: {options:?}");
    let suggestion = suggest_json(log, &options);
    let ended = run(&[&["suggest", log], &options[..]].concat()).expect(0);
    let path = file(&format!("{name}.toml"), &ended.stdout);
    run(&["check", &path]).expect(0);
    let replayed = replay(&path, log);
    assert!(replayed.keeps(share, of, facts), "{asked}\n{replayed:?}");
    assert_eq!(replayed.summary["refused"], suggestion["refused"], "{asked}");
    assert_eq!(replayed.summary["requests"], suggestion["requests"], "{asked}");
    assert_eq!(replayed.summary["disorder"], suggestion["disorder"], "{asked}");
    let limits = replayed.summary["limits"].as_array().unwrap();
    assert_eq!(limits.len(), facts.len(), "{asked}");
    for ((limit, fact), name) in
        limits.iter().zip(suggestion["facts"].as_array().unwrap()).zip(facts)
    {
        assert_eq!((&limit["name"], &fact["fact"]), (&json!(name), &json!(name)), "{asked}");
        assert_eq!(limit["keys"], fact["callers"], "{asked}");
        assert_eq!(limit["checked"], fact["requests"], "{asked}");
        assert_eq!(limit["refused"], fact["limit"]["refused"], "{asked}");
        let (all, refused) = &replayed.callers[*name];
        assert_eq!(fact["callers"], all.len(), "{asked}");
        assert_eq!(fact["refused_callers"], refused.len(), "{asked}");
    }
    let said = format!("refuses {} (", suggestion["refused"].as_u64().unwrap());
    assert!(ended.stdout.replace(',', "").contains(&said), "{said}\n{}", ended.stdout);
    let facts = suggestion["facts"].as_array().unwrap().iter();
    let quotas = facts.map(|fact| fact["limit"]["quota"].as_str().unwrap());
    quotas.map(|quota| quota.parse::<Quota>().unwrap().count()).sum()
}

/// Whether a limit by one fact with another count keeps to the share.
fn other_count_keeps(
    (name, log): (&str, &str),
    (share, of, fact): (&str, &str, &str),
    quota: Quota,
    count: u64,
) -> bool {
    let other = Quota::new(count, quota.period()).unwrap();
    let policy = format!(
        "[[limit]]\nname = {fact:?}\nkey = [{fact:?}]\nrate = \"{other}\"\nmissing = \"skip\"\n"
    );
    let policy = file(&format!("{name}-other.toml"), policy);
    replay(&policy, log).keeps(share, of, &[fact])
}

/// With one fact alone the count is the smallest that keeps to the share.
fn confirm_tight(name: &str, log: &str) {
    let mut tight = 0;
    for fact in FACTS {
        for of in ["requests", "callers"] {
            for share in SHARES {
                let options = ["--refuse", share, "--of", of, "--by", fact];
                let suggestion = suggest_json(log, &options);
                if suggestion["facts"].as_array().is_none_or(Vec::is_empty) {
                    continue;
                }
                let quota = quota(&suggestion);
                let what = (share, of, fact);
                let keeps = |count| other_count_keeps((name, log), what, quota, count);
                assert!(keeps(quota.count()), "{log} {options:?} {quota}");
                if quota.count() > 1 {
                    assert!(!keeps(quota.count() - 1), "{log} {options:?} {quota}");
                    tight += 1;
                }
            }
        }
    }
    assert!(tight > 12, "{tight}");
}

#[test]
fn a_replay_of_the_file_keeps_to_the_share() {
    for of in ["requests", "callers"] {
        let shares = SHARES.into_iter().chain(["30%"]);
        let counts: Vec<u64> =
            shares.map(|share| confirm("example", LOG, share, of, &FACTS)).collect();
        assert!(counts.is_sorted_by(|a, b| a >= b), "{counts:?}");
        assert!(counts.first() > counts.last(), "{counts:?}");
    }
    // Nearly all is used of what is allowed.
    let refused = suggest_json(LOG, &["--refuse", "10%"])["refused"].as_u64().unwrap();
    assert!((60..=65).contains(&refused), "{refused}");
}

#[test]
fn the_next_smaller_count_would_refuse_too_much() {
    confirm_tight("example-tight", LOG);
}

#[test]
fn real_logs_keep_to_the_share_too() {
    let traces = std::env::var_os("TOLLGATE_TRACES").filter(|path| !path.is_empty());
    let Some(traces) = traces.map(PathBuf::from) else {
        // Not by a macro: a test that passes would not show it.
        let what = "left out: TOLLGATE_TRACES does not say where the real logs are";
        let _ = writeln!(std::io::stderr(), "{what}");
        return;
    };
    for (name, facts) in [
        ("erddap-clean.log", &["ip", "path"][..]),
        ("apache-disordered.log", &["ip", "path", "user_agent"]),
    ] {
        let log = traces.join(name);
        let log = log.to_str().unwrap();
        for of in ["requests", "callers"] {
            for share in SHARES {
                confirm(&format!("trace-{name}"), log, share, of, facts);
            }
        }
        let options = ["--by", "ip", "--refuse", "1%"];
        let quota = quota(&suggest_json(log, &options));
        let keeps = |count| other_count_keeps((name, log), ("1%", "requests", "ip"), quota, count);
        assert!(keeps(quota.count()) && !keeps(quota.count() - 1), "{name} {quota}");
    }
}

#[test]
fn known_bursts_give_known_numbers() {
    // Caller n makes n requests at once, for n from 1 to 100, far apart.
    let callers: Vec<String> = (1..=100).map(|n| n.to_string()).collect();
    let requests = callers.iter().enumerate().flat_map(|(nth, caller)| {
        std::iter::repeat_n((100_000.0 * nth as f64, caller.as_str()), nth + 1)
    });
    let log = file("bursts.jsonl", log_of(requests));
    let by = ["--by", "user"];
    let suggestion = suggest_json(&log, &[&by[..], &["--refuse", "0%"]].concat());
    let window = |length: u64| json!({"length_s": length, "p50": 50, "p90": 90, "p99": 99, "max": 100, "peak": "100"});
    let windows = [1, 10, 60, 3600].map(window);
    let expected = json!({
        "refuse": "0%", "of": "requests", "requests": 5050, "refused": 0,
        "first": 0, "last": 9_900_000,
        "facts": [{
            "fact": "user", "requests": 5050, "callers": 100, "refused_callers": 0,
            "windows": windows,
            "limit": {"quota": "100/m", "max_keys": null, "refused": 0},
        }],
        "missing_facts": [],
        "disorder": {"lines": 0, "furthest_ns": 0},
    });
    assert_eq!(suggestion, expected);
    // 1 % is 50 requests: m callers have too many, by m + (m - 1) + … + 1: 45 for 9, 55 for 10.
    for (refuse, of, quota, refused, callers) in [
        ("1%", "requests", "91/m", 45, 9),
        ("1.0892%", "requests", "90/m", 55, 10),
        ("1.0892%", "callers", "99/m", 1, 1),
        ("10%", "callers", "90/m", 55, 10),
        ("0.99%", "callers", "100/m", 0, 0),
        ("100%", "requests", "1/m", 4950, 99),
    ] {
        let options = [&by[..], &["--refuse", refuse, "--of", of]].concat();
        let suggestion = suggest_json(&log, &options);
        let fact = &suggestion["facts"][0];
        assert_eq!(fact["limit"]["quota"], quota, "{refuse} {of}");
        assert_eq!(
            (&suggestion["refused"], &fact["refused_callers"]),
            (&json!(refused), &json!(callers)),
            "{refuse} {of}"
        );
    }
}

#[test]
fn even_requests_get_a_short_period_as_far_as_stamps_tell() {
    for (name, step, quota) in [
        // One a second: ten in ten seconds, where a minute's burst would let 110 through.
        ("seconds", 1.0, "10/10s"),
        // Stamps that are fine enough tell that it was one in each second.
        ("fine", 1.001, "1/s"),
        // Two in each three: a third of the seconds has none.
        ("slow", 1.5, "7/10s"),
    ] {
        let requests: Vec<_> = (0..600).map(|n| (f64::from(n) * step, "a")).collect();
        let log = file(&format!("even-{name}.jsonl"), log_of(requests));
        let suggestion = suggest_json(&log, &["--by", "user", "--refuse", "0%"]);
        assert_eq!(suggestion["facts"][0]["limit"]["quota"], quota, "{name}");
    }
}

#[test]
fn a_window_is_the_busiest_wherever_it_begins_and_does_not_hold_its_length() {
    // 5 requests within 10 s less a little, of which no second holds two; and the next one.
    let stamps = [7.0, 9.0, 11.0, 13.0, 16.9, 17.0];
    let log = file("windows.jsonl", log_of(stamps.map(|at| (at, "a"))));
    let suggestion = suggest_json(&log, &["--by", "user"]);
    let windows = suggestion["facts"][0]["windows"].as_array().unwrap();
    let most: Vec<_> = windows.iter().map(|window| window["max"].as_u64().unwrap()).collect();
    assert_eq!(most, [2, 5, 6, 6]);
}

#[test]
fn two_runs_print_the_same_bytes_however_the_log_comes() {
    let log = fs::read(in_clone(LOG)).unwrap();
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(&log).unwrap();
    let packed = encoder.finish().unwrap();
    for options in [&[][..], &["--json"], &["--of", "callers", "--refuse", "20%"]] {
        let first = run(&[&["suggest", LOG], options].concat()).expect(0).stdout;
        assert_eq!(run(&[&["suggest", LOG], options].concat()).expect(0).stdout, first);
        let from_stdin = [&["suggest", "-"], options].concat();
        for input in [&log, &packed] {
            let ended = run_with_input(&from_stdin, input).expect(0);
            assert_eq!(ended.stdout.replace("standard input", LOG), first);
        }
    }
}

#[test]
fn a_log_without_requests_is_no_mistake() {
    for content in ["", "\n \n", r#"{"t": 1, "op": "peek", "facts": {"user": 1}}"#] {
        let log = file("empty.log", content);
        let ended = run(&["suggest", &log]).expect(0);
        assert!(ended.stderr.contains("there is no request"), "{}", ended.stderr);
        assert!(ended.stdout.contains("no request to limit"), "{}", ended.stdout);
        let policy = Policy::from_toml(&ended.stdout).unwrap();
        assert_eq!(policy.limits().len(), 0);
        let suggestion = suggest_json(&log, &[]);
        assert_eq!((&suggestion["requests"], &suggestion["facts"]), (&json!(0), &json!([])));
    }
}

#[test]
fn too_many_unreadable_lines_are_exit_code_3() {
    let log = file("unreadable.log", "what?\nwho?\n");
    let ended = run(&["suggest", &log]).expect(3);
    assert!(ended.stderr.contains("2 of 2 lines"), "{}", ended.stderr);
    assert!(Policy::from_toml(&ended.stdout).unwrap().limits().is_empty());
    run(&["suggest", &log, "--max-unreadable", "100%"]).expect(0);
    let text = format!("what?\n{}", log_of([(0.0, "a"), (1.0, "a"), (1.0, "a")]));
    let log = file("partly.log", text);
    let args = ["suggest", &log, "--by", "user", "--format", "jsonl"];
    let ended = run(&args).expect(3);
    assert_eq!(Policy::from_toml(&ended.stdout).unwrap().limits().len(), 1);
    assert!(ended.stdout.contains("1 of 4 lines (25.0 %) could not be read"));
    run(&[&args[..], &["--max-unreadable", "25%"]].concat()).expect(0);
}

#[test]
fn one_request_is_one_a_minute() {
    let log = file("one.jsonl", log_of([(5.0, "a")]));
    for of in ["requests", "callers"] {
        for share in SHARES {
            assert_eq!(confirm("one", &log, share, of, &["user"]), 1);
        }
    }
    let policy = run(&["suggest", &log, "--by", "user"]).expect(0).stdout;
    assert!(policy.contains("1 caller, 1 request."), "{policy}");
    assert!(policy.contains("rate    = \"1/m\""), "{policy}");
}

#[test]
fn facts_that_no_request_has_are_said() {
    let log = file("facts.jsonl", log_of([(5.0, "a"), (6.0, "-"), (7.0, "")]));
    let ended = run(&["suggest", &log]).expect(0);
    for missing in ["ip", "path"] {
        let said = format!("warning: no request has `{missing}`: they have `user`\n");
        assert!(ended.stderr.contains(&said), "{}", ended.stderr);
    }
    assert_eq!(Policy::from_toml(&ended.stdout).unwrap().limits().len(), 1);
    let suggestion = suggest_json(&log, &[]);
    assert_eq!(suggestion["missing_facts"], json!(["ip", "path"]));
    // An event line's values are as they stand, but an empty one is none.
    assert_eq!(
        (&suggestion["facts"][0]["callers"], &suggestion["requests"]),
        (&json!(2), &json!(3))
    );
    // In an access log `-` is an unknown user.
    let example = suggest_json(LOG, &["--by", "user"]);
    assert!(example["facts"][0]["requests"].as_u64() < example["requests"].as_u64());

    let ended = run(&["suggest", &log, "--by", "uzer", "--by", "ip"]).expect(2);
    assert_eq!(ended.stdout, "");
    assert!(ended.stderr.contains("no request has `uzer`: did you mean `user`?"));
    assert!(ended.stderr.contains("--by"), "{}", ended.stderr);
    let log = file("no-facts.jsonl", r#"{"t": 0}"#);
    assert!(run(&["suggest", &log]).expect(2).stderr.contains("no facts at all"));
}

#[test]
fn late_events_count_at_the_latest_stamp_as_in_a_replay() {
    // Three at once by the clamped stamps, though by their own they are an hour apart.
    let log = r#"{"t": 7200, "op": "peek"}
        {"t": 3600, "facts": {"user": "a"}}
        {"t": 0, "facts": {"user": "a"}}
        {"t": 7200, "facts": {"user": "a"}}
    "#;
    let log = file("late.jsonl", log);
    let suggestion = suggest_json(&log, &["--by", "user", "--refuse", "0%"]);
    assert_eq!(suggestion["facts"][0]["limit"]["quota"], "3/m");
    assert_eq!(suggestion["disorder"], json!({"lines": 2, "furthest_ns": 7_200_000_000_000_u64}));
    let policy = run(&["suggest", &log, "--by", "user", "--refuse", "0%"]).expect(0).stdout;
    assert!(policy.contains("2 events are stamped earlier"), "{policy}");
    let policy = file("late.toml", policy);
    let replayed = run(&["replay", "--policy", &policy, &log, "--json"]).expect(0).json();
    assert_eq!((&replayed["refused"], &replayed["disorder"]), (&json!(0), &suggestion["disorder"]));
}

#[test]
fn logs_that_tell_durations_are_taken_in_the_order_of_beginnings() {
    let line = |second: u32, took: u32| {
        format!("a - - [10/Oct/2000:13:55:{second:02} -0700] \"GET / HTTP/1.1\" 200 1 {took}\n")
    };
    let lines = [line(30, 1), line(0, 31), line(40, 1)].concat();
    let log = file("timed.log", lines);
    let options = ["--by", "ip", "--refuse", "0%"];
    assert_eq!(suggest_json(&log, &options)["disorder"]["lines"], 1);
    let timed = suggest_json(&log, &[&options[..], &["--duration", "seconds"]].concat());
    assert_eq!(timed["disorder"]["lines"], 0);
    assert_eq!(timed["facts"][0]["windows"][0]["max"], 1);
}

#[test]
fn costs_count() {
    let event = |t: u64, cost: u64| json!({"t": t, "facts": {"user": "a"}, "cost": cost});
    let log =
        |events: &[Value]| events.iter().map(|event| format!("{event}\n")).collect::<String>();
    // The first is remembered to cost 1 when it turns out that others do not.
    let costs = file("costs.jsonl", log(&[event(0, 1), event(0, 5), event(0, 0), event(0, 1)]));
    assert_eq!(confirm("costs", &costs, "0%", "requests", &["user"]), 7);
    // The cheap ones fit, the dear one is never allowed.
    assert_eq!(confirm("costs", &costs, "25%", "requests", &["user"]), 2);
    let beyond = file("beyond.jsonl", log(&[event(0, 1), event(0, u64::MAX), event(0, u64::MAX)]));
    assert_eq!(confirm("beyond", &beyond, "67%", "requests", &["user"]), 1);
    let args = ["suggest", &beyond, "--by", "user"];
    let ended = run(&args).expect(0);
    assert!(ended.stdout.contains("No quota keeps to the target"), "{}", ended.stdout);
    assert!(Policy::from_toml(&ended.stdout).unwrap().limits().is_empty());
    assert_eq!(suggest_json(&beyond, &args[2..])["facts"][0]["limit"], Value::Null);
}

#[test]
fn any_name_and_value_makes_a_file() {
    let names = ["a b", "q\"uote", "\\", "line\nbreak # x", "é\u{7f}'", "[[limit]]", "'''\"\"\""];
    for (nth, name) in names.into_iter().enumerate() {
        let event = json!({"t": 0, "facts": {name: "v\n[[limit]]\u{1b}"}});
        let log = file(&format!("name-{nth}.jsonl"), format!("{event}\n{event}\n"));
        assert_eq!(confirm(&format!("name-{nth}"), &log, "0%", "requests", &[name]), 2);
    }
}

#[test]
fn the_file_is_plain_text_of_80_columns() {
    let ended = run(&["suggest", LOG]).expect(0);
    assert_eq!(ended.stderr, "");
    for line in ended.stdout.lines() {
        assert!(line.chars().count() <= 80, "{line}");
        assert!(!line.contains('\x1b') && !line.ends_with(' '), "{line:?}");
    }
    for part in [
        "examples/access.log: combined format, 657 lines",
        "1 of 657 lines (0.2 %) could not be read",
        "12 Mar 2026 13:00:15 UTC to",
        "1 event is stamped earlier",
        "A replay of this file over 656 requests refuses",
        "---- user -",
        "10 callers, 656 requests",
        "p99",
        "Busiest in 1m: 192.0.2.10 with",
    ] {
        assert!(ended.stdout.contains(part), "{part}\n{}", ended.stdout);
    }
}

#[test]
fn wrong_usage_is_exit_code_2() {
    for (args, said) in [
        (&["suggest"][..], "LOG"),
        (&["suggest", "-", "-"], "only once"),
        (&["suggest", "missing.log"], "cannot read the log missing.log"),
        (&["suggest", LOG, "--refuse", "101%"], "from 0% to 100%"),
        (&["suggest", LOG, "--refuse=-1%"], "from 0% to 100%"),
        (&["suggest", LOG, "--of", "people"], "`callers`"),
        (&["suggest", LOG, "--by", "user|ip"], "`user|ip` is no name of one fact"),
        (&["suggest", LOG, "--by", ""], "no name of one fact"),
        (&["suggest", LOG, "--by", " ip"], "no name of one fact"),
        (&["suggest", LOG, "--by", "ip", "--by", "ip"], "`ip` is asked for twice"),
    ] {
        let ended = run(args).expect(2);
        assert!(ended.stderr.contains(said), "{args:?}\n{}", ended.stderr);
        assert_eq!(ended.stdout, "");
    }
}
