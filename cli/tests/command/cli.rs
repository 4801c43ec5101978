//! The command line from end to end: what it prints where, and how it ends.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::Stdio;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use crate::{Ended, command, in_clone, scratch};

const POLICY: &str = "examples/limits.toml";
const LOG: &str = "examples/access.log";
const LINE: &str = r#"a - - [10/Oct/2000:13:55:36 -0700] "GET / HTTP/1.1" 200 1"#;

fn run(args: &[&str]) -> Ended {
    run_with_input(args, b"")
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
    let path = scratch(name);
    fs::write(&path, content).unwrap();
    path.to_str().unwrap().to_owned()
}

fn one_a_second_by_user(name: &str) -> String {
    file(name, "[[limit]]\nname = \"user\"\nkey = [\"user\"]\nrate = \"1/s\"\n")
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

// ---- replay ----

#[test]
fn the_example_shows_refusals_by_several_limits() {
    let summary = run(&["replay", "--policy", POLICY, LOG, "--json"]).expect(0).json();
    let requests = summary["requests"].as_u64().unwrap();
    assert_eq!(requests, fs::read_to_string(in_clone(LOG)).unwrap().lines().count() as u64 - 1);
    assert_eq!(summary["unreadable_lines"], 1);
    assert_eq!(
        summary["admitted"].as_u64().unwrap() + summary["refused"].as_u64().unwrap(),
        requests
    );
    let limits = summary["limits"].as_array().unwrap();
    let refused = |limit: &&Value| limit["refused"].as_u64().unwrap() > 0;
    let names: Vec<_> = limits.iter().filter(refused).map(|limit| &limit["name"]).collect();
    assert_eq!(names, ["login", "export", "webhookpayload", "user", "ip"]);
    let sum: u64 = limits.iter().map(|limit| limit["refused"].as_u64().unwrap()).sum();
    assert_eq!(summary["refused"], sum);
    let crawlers = limits.iter().find(|limit| limit["name"] == "crawlers").unwrap();
    assert_eq!(crawlers["refused"], 0);
    assert!(crawlers["shadow_refused"].as_u64().unwrap() > 0);
    let top = &summary["top_refused_keys"][0];
    assert_eq!(top["key"], "no group no view method=GET user=1042");
}

#[test]
fn the_same_input_gives_the_same_bytes_however_it_comes() {
    let log = fs::read(in_clone(LOG)).unwrap();
    let (first, second) = log.split_at(log.len() / 2);
    let packed = file("same.gz", gzip(&log));
    let twice = file("twice.gz", [gzip(first), gzip(second)].concat());
    let mut outputs = Vec::new();
    for (source, input) in
        [(LOG, &[][..]), (LOG, &[]), (&packed, &[]), (&twice, &[]), ("-", &log), ("-", &gzip(&log))]
    {
        let decisions = scratch("same.jsonl");
        let path = decisions.to_str().unwrap();
        let args = ["replay", "--policy", POLICY, source, "--json", "--decisions", path];
        let ended = run_with_input(&args, input).expect(0);
        outputs.push((ended.stdout, fs::read_to_string(decisions).unwrap()));
    }
    assert!(outputs.iter().all(|output| *output == outputs[0]));
    assert!(outputs[0].1.lines().count() > 600);
}

#[test]
fn decisions_are_written_as_documented() {
    let log = r#"
        {"t": 12.5, "id": "a", "op": "admit", "facts": {"user": "7"}, "cost": 1}
        {"t": "12.7", "id": "r1", "facts": {"user": 7}}
        {"t": 12.480, "id": "late", "facts": {"user": 7}}
        {"t": 13.5, "op": "peek", "facts": {"user": 7}}
        {"t": 13.500000001, "id": "\"q\"", "facts": {"user": 7}, "unknown": [1]}
        {"t": 14, "id": "never", "facts": {"user": 7}, "cost": 2}
        {"t": 14, "id": "a", "op": "finish"}
    "#;
    let args = [
        "replay",
        "--policy",
        &one_a_second_by_user("jsonl.toml"),
        "-",
        "--decisions",
        "-",
        "--json",
    ];
    let ended = run_with_input(&args, log.as_bytes()).expect(0);
    let (decisions, summary) = ended.stdout.trim_end().rsplit_once('\n').unwrap();
    assert_eq!(
        decisions,
        r#"{"t": 12.5, "id": "a", "allowed": true, "limit": null, "retry_after_ns": null, "remaining": 0}
{"t": 12.7, "id": "r1", "allowed": false, "limit": "user", "retry_after_ns": 800000000, "remaining": 0}
{"t": 12.48, "id": "late", "allowed": false, "limit": "user", "retry_after_ns": 800000000, "remaining": 0}
{"t": 13.5, "id": null, "allowed": true, "limit": null, "retry_after_ns": null, "remaining": 0}
{"t": 13.500000001, "id": "\"q\"", "allowed": true, "limit": null, "retry_after_ns": null, "remaining": 0}
{"t": 14, "id": "never", "allowed": false, "limit": "user", "retry_after_ns": null, "retry": "never", "remaining": 0}"#
    );
    let expected = json!({
        "requests": 5, "admitted": 2, "refused": 3, "unreadable_lines": 0, "first": 12.5, "last": 14,
        "limits": [{"name": "user", "checked": 5, "refused": 3, "shadow_refused": 0, "keys": 1,
                    "overflows": 0}],
        "top_refused_keys": [{"limit": "user", "key": "user=7", "refused": 3}],
        "peeks": 1, "finishes": 1, "unknown_finishes": 0, "unfinished": 1, "peak_in_flight": 2,
        "disorder": {"lines": 1, "furthest_ns": 220_000_000},
        "missing_facts": [],
    });
    assert_eq!(serde_json::from_str::<Value>(summary).unwrap(), expected);
}

#[test]
fn keys_refused_equally_often_stand_in_the_order_of_the_policy_and_the_alphabet() {
    let limit = |name: &str| {
        format!(
            "[[limit]]\nname = {name:?}\nkey = [{name:?}]\nrate = \"1/s\"\nmissing = \"skip\"\n"
        )
    };
    let policy = file("ties.toml", [limit("z"), limit("a")].concat());
    let mut log = String::new();
    for (fact, value, requests) in
        [("a", 2, 2), ("a", 1, 2), ("z", 2, 2), ("z", 1, 2), ("z", 3, 2), ("a", 9, 4)]
    {
        let event = json!({"t": 0, "facts": {fact: value}});
        log.push_str(&format!("{event}\n").repeat(requests));
    }
    let ended = run_with_input(&["replay", "--policy", &policy, "-", "--json"], log.as_bytes());
    let keys = ended.expect(0).json()["top_refused_keys"].clone();
    let keys: Vec<_> = keys.as_array().unwrap().iter().map(|key| key["key"].clone()).collect();
    assert_eq!(keys, ["a=9", "z=1", "z=2", "z=3", "a=1", "a=2"]);
}

#[test]
fn a_request_that_no_limit_applies_to_has_no_remainder() {
    let policy = file(
        "skip.toml",
        "[[limit]]\nname = \"user\"\nkey = [\"user\"]\nrate = \"1/s\"\nmissing = \"skip\"\n",
    );
    let args = ["replay", "--policy", &policy, "-", "--decisions", "-"];
    let ended = run_with_input(&args, br#"{"t": 0}"#).expect(0);
    assert_eq!(ended.stdout.lines().count(), 1);
    assert!(ended.stdout.contains(r#""remaining": null}"#), "{}", ended.stdout);
    // Standard output is taken, so the report is on the other.
    assert!(ended.stderr.contains("1  admitted"), "{}", ended.stderr);
    assert!(ended.stderr.contains("No request has `user`: user never applies."));
}

#[test]
fn the_report_is_plain_text_of_80_columns() {
    let ended = run(&["replay", "--policy", POLICY, LOG]).expect(0);
    assert_eq!(ended.stderr, "");
    for line in ended.stdout.lines() {
        assert!(line.chars().count() <= 80, "{line}");
        assert!(!line.contains('\x1b') && !line.ends_with(' '), "{line:?}");
    }
    let rows = ended.stdout.lines().filter(|line| line.starts_with("  crawlers"));
    assert_eq!(rows.count(), 2, "what a shadow limit would refuse is in the chart too");
    for part in [
        "examples/access.log: combined format",
        "12 Mar 2026 13:",
        "requests\n",
        "webhookpayload",
        "shadow: would have refused",
        "never applied",
        "Refused over time, one column is 30s",
        "█",
        "╵13:00:00",
        "Keys refused most",
        "ip=192.0.2.10",
        "1 of 657 lines (0.2 %) could not be read",
        "examples/access.log:201 lacks a date in brackets",
        "stamped earlier than one before, by up to 2s",
        "No request has `org`: user counts by another instead, organization never",
    ] {
        assert!(ended.stdout.contains(part), "{part}\n{}", ended.stdout);
    }
}

/// Lines as Apache writes them with `%D` and nginx with `$request_time`, at the ends of the requests:
/// of 40 s from :00, 2 s from :35, 5 s from :36, and nothing at :45.
fn timed_logs() -> [(&'static str, String); 3] {
    let line = |second: u32, end: &str| {
        format!("a - - [10/Oct/2000:13:55:{second:02} -0700] \"GET / HTTP/1.1\" 200 1{end}\n")
    };
    let agent = r#" "-" "curl/8 0.5""#;
    let apache = [(35, "2000000"), (0, "40000000"), (36, "5000000"), (45, "0")];
    let nginx = [(37, "2.000"), (40, "40.000"), (41, "5.000"), (45, "0.000")];
    let log = |lines: [(u32, &str); 4], before: &str| {
        lines.map(|(second, took)| line(second, &format!("{before}{took}"))).concat()
    };
    [
        ("%D", log(apache, " ")),
        ("microseconds", log(apache, &format!("{agent} "))),
        ("request_time", log(nginx, &format!("{agent} rt="))),
    ]
}

#[test]
fn requests_of_an_access_log_are_decided_in_the_order_of_their_beginnings() {
    let policy = one_a_second_by_user("timed.toml");
    for (unit, log) in timed_logs() {
        let log = file("timed.log", log);
        let args = ["replay", "--policy", &policy, &log, "--duration", unit];
        let ended = run(&[&args[..], &["--json", "--decisions", "-"]].concat()).expect(0);
        let (decisions, summary) = ended.stdout.trim_end().rsplit_once('\n').unwrap();
        let stamps: Vec<u64> = decisions
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap()["t"].as_u64().unwrap())
            .collect();
        let beginnings = [0, 35, 36, 45].map(|second| 971_211_300 + second);
        assert_eq!(stamps, beginnings, "{unit}");
        let summary: Value = serde_json::from_str(summary).unwrap();
        assert_eq!(summary["peak_in_flight"], 3, "{unit}");
        assert_eq!(summary["disorder"]["lines"], 0, "{unit}");
        let report = run(&args).expect(0).stdout;
        let together = if unit == "request_time" { "end together" } else { "begin together" };
        let note = "At most 3 requests were in flight at once. Those stamped alike";
        assert!(report.contains(note), "{unit}\n{report}");
        assert!(report.contains(together), "{unit}\n{report}");
        // Without being told, it takes no number for a duration, and the lines as they stand.
        let plain = run(&["replay", "--policy", &policy, &log, "--json"]).expect(0).json();
        assert_eq!(plain["peak_in_flight"], Value::Null, "{unit}");
        let late = u64::from(unit != "request_time");
        assert_eq!(plain["disorder"]["lines"], late, "{unit}");
    }
}

#[test]
fn requests_that_outlast_a_log_file_are_put_in_order_with_the_next() {
    let policy = one_a_second_by_user("rotated.toml");
    let log = timed_logs()[0].1.clone();
    let at = log.find('\n').unwrap() + 1;
    let (first, second) = (file("rotated.log.1", &log[..at]), file("rotated.log", &log[at..]));
    let args = ["replay", "--policy", &policy, &first, &second, "--duration", "%D", "--json"];
    let summary = run(&args).expect(0).json();
    assert_eq!(summary["disorder"]["lines"], 0);
    assert_eq!(summary["peak_in_flight"], 3);
}

#[test]
fn event_lines_that_tell_how_long_they_took_are_put_in_order_with_all_after_them() {
    let policy = one_a_second_by_user("took.toml");
    let log = r#"{"t": 2, "id": "a"}
        {"t": 9, "id": "d", "took": 1}
        {"t": 8, "id": "c", "op": "peek"}
        {"t": 1, "id": "late", "took": "8.5"}
        {"t": 9, "id": "a", "op": "finish"}
        {"t": 9.5, "id": "e", "op": "peek"}"#;
    let args = ["replay", "--policy", &policy, "-", "--json", "--decisions", "-"];
    let ended = run_with_input(&args, log.as_bytes()).expect(0);
    let lines: Vec<Value> =
        ended.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let (summary, decisions) = lines.split_last().unwrap();
    let ids: Vec<_> = decisions.iter().map(|decision| &decision["id"]).collect();
    // What stood before the first that told is decided already.
    assert_eq!(ids, ["a", "late", "c", "d", "e"]);
    assert_eq!(summary["disorder"], json!({"lines": 1, "furthest_ns": 1_000_000_000}));
    assert_eq!((&summary["unknown_finishes"], &summary["finishes"]), (&json!(0), &json!(1)));
}

#[test]
fn a_line_without_the_duration_that_was_told_is_unreadable() {
    let policy = one_a_second_by_user("untimed.toml");
    let log = file("untimed.log", format!("{LINE} 5\n{LINE}\n{LINE} -\n"));
    let args = ["replay", "--policy", &policy, &log, "--duration", "seconds"];
    let ended = run(&args).expect(3);
    assert!(ended.stderr.contains("untimed.log:2 lacks at its end how long"), "{}", ended.stderr);
    assert!(ended.stdout.contains("2  requests"), "{}", ended.stdout);
    let ended = run(&["replay", "--policy", &policy, &log, "--duration", "hours"]).expect(2);
    assert!(ended.stderr.contains("`request_time`"), "{}", ended.stderr);
}

#[test]
fn a_log_that_does_not_tell_what_a_concurrency_limit_needs_gets_a_hint() {
    let slots = file("slots.toml", "[[limit]]\nname = \"slots\"\nconcurrent = 50\n");
    let rate = one_a_second_by_user("no_slots.toml");
    let log = file("slots.log", format!("{LINE} 5\n"));
    for (policy, options, hinted) in
        [(&slots, &[][..], true), (&slots, &["--duration", "%T"], false), (&rate, &[], false)]
    {
        let args = [&["replay", "--policy", policy, &log][..], options].concat();
        let report = run(&args).expect(0).stdout;
        assert_eq!(report.contains("give --duration"), hinted, "{args:?}\n{report}");
    }
}

#[test]
fn finishes_that_end_nothing_and_requests_that_never_end_are_reported() {
    let policy = file("all.toml", "[[limit]]\nname = \"all\"\nrate = \"100/s\"\n");
    let log = r#"{"t": 0, "id": "a"}
        {"t": 0, "id": "b"}
        {"t": 1, "id": "a", "op": "finish"}
        {"t": 1, "id": "a", "op": "finish"}"#;
    let ended = run_with_input(&["replay", "--policy", &policy, "-"], log.as_bytes()).expect(0);
    for part in [
        "At most 2 requests were in flight at once. 1 was admitted and never finished.",
        "1 finish ended nothing",
    ] {
        let words = ended.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(words.contains(part), "{part}\n{}", ended.stdout);
    }
}

#[test]
fn each_log_has_its_own_format() {
    let policy = file("formats.toml", "[[limit]]\nname = \"ip\"\nkey = [\"ip\"]\nrate = \"1/s\"\n");
    let common = file("formats.log", format!("\n{LINE}\n\n{LINE}\r\n"));
    let events = file("formats.jsonl", r#"{"t": 971211336, "facts": {"ip": "a"}}"#);
    let summary = run(&["replay", "--policy", &policy, &common, &events, "--json"]).expect(0);
    assert_eq!((&summary.json()["requests"], &summary.json()["refused"]), (&json!(3), &json!(2)));
    assert!(summary.stderr.contains("formats.log: common format, 2 lines"), "{}", summary.stderr);
    assert!(summary.stderr.contains("formats.jsonl: jsonl format, 1 line\n"), "{}", summary.stderr);
    // A format that was asked for is not questioned.
    let args = ["replay", "--policy", &policy, &common, "--format", "combined", "--json"];
    assert_eq!(run(&args).expect(3).json()["unreadable_lines"], 2);
}

#[test]
fn an_empty_log_is_no_mistake() {
    for content in ["", "\n\n \n"] {
        let log = file("empty.log", content);
        let ended = run(&["replay", "--policy", POLICY, &log]).expect(0);
        assert!(ended.stdout.contains("0  requests"), "{}", ended.stdout);
        let summary = run(&["replay", "--policy", POLICY, &log, "--json"]).expect(0).json();
        assert_eq!((&summary["first"], &summary["missing_facts"]), (&Value::Null, &json!([])));
    }
}

#[test]
fn too_many_unreadable_lines_are_exit_code_3() {
    let broken = "\u{0}binary\n";
    let long = "x".repeat(1 << 20);
    let log = file("unreadable.log", format!("{broken}{long}\n{}", format!("{LINE}\n").repeat(8)));
    let args = ["replay", "--policy", POLICY, &log];
    let ended = run(&args).expect(3);
    assert!(ended.stdout.contains("8  requests"), "{}", ended.stdout);
    for part in [
        "2 of 10 lines (20.0 %) could not be read, and at most 10% may be so",
        "unreadable.log:1 has NUL bytes",
        "unreadable.log:2 longer than 64 KiB",
        "--max-unreadable",
    ] {
        assert!(ended.stderr.contains(part), "{part}\n{}", ended.stderr);
    }
    for (most, code) in [("20%", 0), ("20", 0), ("19.9%", 3), ("100%", 0), ("0%", 3)] {
        run(&[&args[..], &["--max-unreadable", most]].concat()).expect(code);
    }
    for wrong in ["101%", "-1%", "NaN", "some"] {
        run(&[&args[..], &[&format!("--max-unreadable={wrong}")]].concat()).expect(2);
    }
}

#[test]
fn a_torn_gzip_is_reported_with_what_was_read() {
    let line = format!("{LINE}\n");
    let mut packed = gzip(line.repeat(100_000).as_bytes());
    packed.truncate(packed.len() / 2);
    let log = file("torn.gz", &packed);
    let ended = run(&["replay", "--policy", POLICY, &log, "--json"]).expect(3);
    let requests = ended.json()["requests"].as_u64().unwrap();
    assert!((1..100_000).contains(&requests), "{requests}");
    assert!(ended.stderr.contains("torn.gz could not be read after"), "{}", ended.stderr);
    // Not even its head is there.
    let log = file("head.gz", &packed[..5]);
    let ended = run(&["replay", "--policy", POLICY, &log, LOG]).expect(3);
    assert!(ended.stderr.contains("head.gz could not be read after 0 lines"), "{}", ended.stderr);
    assert!(ended.stdout.contains("656  requests"), "{}", ended.stdout);
}

#[test]
fn wrong_usage_is_exit_code_2_and_writes_nothing() {
    let decisions = scratch("untouched.jsonl");
    let _ = fs::remove_file(&decisions);
    let decisions_path = decisions.to_str().unwrap();
    let wrong_policy = file("wrong.toml", "[[limit]]\nname = \"a\"\nrate = \"0/s\"\nkind = 1\n");
    let folder = env!("CARGO_TARGET_TMPDIR");
    for (args, said) in [
        (vec!["replay", "--policy", POLICY, LOG, "missing.log"], "cannot read the log missing.log"),
        (vec!["replay", "--policy", POLICY, LOG, folder], "it is a directory"),
        (vec!["replay", "--policy", "missing.toml", LOG], "cannot read the policy missing.toml"),
        (vec!["replay", "--policy", &wrong_policy, LOG], "2 things are wrong with the policy"),
        (vec!["replay", "--policy", POLICY, "-", "-"], "only once"),
        (vec!["replay", "--policy", POLICY], "LOG"),
        (vec!["replay", LOG], "--policy"),
        (vec!["replay", "--policy", POLICY, LOG, "--format", "iis"], "or `auto`"),
        (vec!["relay"], "relay"),
    ] {
        let ended = run(&[&args[..], &["--decisions", decisions_path][..]].concat()).expect(2);
        assert!(ended.stderr.contains(said), "{args:?}\n{}", ended.stderr);
        assert_eq!(ended.stdout, "");
        assert!(!decisions.exists(), "{args:?}");
    }
    let nowhere = scratch("no/such/folder");
    let args = ["replay", "--policy", POLICY, LOG, "--decisions", nowhere.to_str().unwrap()];
    assert!(run(&args).expect(2).stderr.contains("cannot write"));
}

#[test]
fn what_is_read_is_never_written_over() {
    let log = file("precious.log", LINE);
    let policy = one_a_second_by_user("precious.toml");
    for precious in [&log, &policy] {
        let before = fs::read(precious).unwrap();
        let args = ["replay", "--policy", &policy, &log, "--decisions", precious];
        assert!(run(&args).expect(2).stderr.contains("would write over"));
        assert_eq!(fs::read(precious).unwrap(), before);
    }
    #[cfg(unix)]
    for (name, hard) in [("soft.log", false), ("hard.log", true)] {
        let other = scratch(name);
        let _ = fs::remove_file(&other);
        match hard {
            true => fs::hard_link(&log, &other).unwrap(),
            false => std::os::unix::fs::symlink(&log, &other).unwrap(),
        }
        let args = ["replay", "--policy", &policy, &log, "--decisions", other.to_str().unwrap()];
        run(&args).expect(2);
        assert_eq!(fs::read_to_string(&log).unwrap(), LINE);
    }
}

#[test]
fn a_closed_pipe_ends_it_quietly() {
    let log = file("pipe.log", format!("{LINE}\n").repeat(20_000));
    for args in [
        vec!["replay", "--policy", POLICY, &log, "--decisions", "-"],
        vec!["replay", "--policy", POLICY, &log, "--decisions", "-", "--json"],
    ] {
        let mut child =
            command(&args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        // Dropping the reader closes the pipe.
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(line.starts_with(r#"{"t": 971211336, "id": null, "allowed": true"#), "{line}");
        let mut stderr = String::new();
        child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(0));
        assert_eq!(stderr, "");
    }
}

// ---- check ----

#[test]
fn check_prints_the_limits_as_a_table() {
    let policy = file(
        "table.toml",
        r#"
        [[limit]]
        name = "user"
        key = ["view", "user|project"]
        rate = "50/s"
        burst = 100
        when = { method = ["POST", "PUT"], view = "/webhooks/*" }
        [[limit]]
        name = "all"
        rate = "7/m"
        mode = "shadow"
        rollout = { share = "12.5%", by = ["org"] }
        [[override]]
        limit = "user"
        match = { user = "1017" }
        exempt = true
        "#,
    );
    let ended = run(&["check", &policy]).expect(0);
    let table = [
        "limit  key                when                                   quota           bound                                \
           mode     also",
        "user   view user|project  method=POST|PUT view=/webhooks/*       50/s burst 100  up to 100 at once, then one every 20ms",
    ];
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let lines: Vec<&str> = ended.stdout.lines().collect();
    assert_eq!(words(lines[0]), words(table[0]));
    assert_eq!(words(lines[1]), [words(table[1]), words("enforce")].concat());
    assert_eq!(words(lines[2]), words("└ user=1017 exempt no limit"));
    assert_eq!(
        words(lines[3]),
        words("all everything always 7/m up to 7 at once, then 7 every 1m shadow 12.5% by org")
    );
    let column = |line: &str, word: &str| line.find(word).map(|at| line[..at].chars().count());
    assert_eq!(column(lines[0], "quota"), column(lines[1], "50/s"));
    assert_eq!(column(lines[0], "quota"), column(lines[2], "exempt"));
    assert_eq!(column(lines[0], "mode"), column(lines[3], "shadow"));
    run(&["check", POLICY]).expect(0);
}

#[test]
fn check_says_all_that_is_wrong() {
    let policy = file("errors.toml", "[[limit]]\nname = \"a\"\nrate = \"0/s\"\nbrust = 1\n");
    let ended = run(&["check", &policy]).expect(2);
    assert_eq!(ended.stdout, "");
    for part in ["2 things are wrong", "errors.toml:3:", "errors.toml:4:", "`burst`"] {
        assert!(ended.stderr.contains(part), "{part}\n{}", ended.stderr);
    }
    run(&["check"]).expect(2);
    run(&["check", env!("CARGO_TARGET_TMPDIR")]).expect(2);
    run(&["--help"]).expect(0);
    run(&["--version"]).expect(0);
}
