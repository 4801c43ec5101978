//! `tollgate compare` from end to end.

use std::collections::HashSet;
use std::fs;

use crate::{Ended, command, in_clone, scratch};

fn compare(args: &[&str]) -> Ended {
    let args = [&["compare"], args].concat();
    command(&args).output().unwrap().into()
}

#[test]
fn a_seed_gives_the_same_bytes_and_another_seed_others() {
    let run = |seed| compare(&["--json", "--seed", seed]).expect(0).stdout;
    let (first, again, other) = (run("7"), run("7"), run("8"));
    assert!(first == again, "the same seed gave something else");
    let scores = |text: &str| {
        let report: serde_json::Value = serde_json::from_str(text).unwrap();
        assert!(report["speed"].is_null());
        report["scenarios"].clone()
    };
    assert_ne!(scores(&first), scores(&other));
}

#[test]
fn the_table_has_everyone_within_100_columns() {
    let ended = compare(&["--no-speed"]).expect(0);
    for line in ended.stdout.lines() {
        assert!(line.chars().count() <= 100, "{line}");
    }
    for name in ["gcra", "fixed-counting", "granules-strict", "sliding-log", "burst-then-rate"] {
        assert!(ended.stdout.contains(name), "{name}");
    }
    assert_eq!(ended.stderr, "");
    let governor = if cfg!(feature = "peers") { "governor 0.10" } else { "Left out: `governor`" };
    assert!(ended.stdout.contains(governor));
}

#[test]
fn scenarios_and_the_quota_can_be_chosen() {
    let args = ["--json", "--quota", "10/s", "--scenario", "fade", "--scenario", "constant"];
    let report = compare(&args).expect(0).json();
    assert_eq!((&report["quota"], &report["count"]), (&"10/s".into(), &10.into()));
    let names: Vec<_> =
        report["scenarios"].as_array().unwrap().iter().map(|s| &s["name"]).collect();
    assert_eq!(names, ["constant", "fade"]);
    let unknown = compare(&["--scenario", "fad"]).expect(2);
    assert!(unknown.stderr.contains("did you mean `fade`?"), "{}", unknown.stderr);
    compare(&["--quota", "0/s"]).expect(2);
}

#[test]
fn speed_is_measured_when_it_is_asked_for() {
    let args = ["--json", "--speed", "--keys", "100", "--scenario", "constant"];
    let report = compare(&args).expect(0).json();
    let rows = report["speed"]["rows"].as_array().unwrap();
    assert_eq!(rows.len(), report["contenders"].as_array().unwrap().len());
    let gcra = rows.iter().find(|row| row["contender"] == "gcra").unwrap();
    for figure in ["allowed_ns", "denied_ns", "bytes_per_key"] {
        assert!(gcra[figure].as_f64().unwrap() > 0.0, "{figure}");
    }
    // A log has the stamps of a whole window behind it.
    let log = rows.iter().find(|row| row["contender"] == "sliding-log").unwrap();
    assert!(log["bytes_per_key"].as_f64().unwrap() > 1_500.0, "{log}");
    compare(&["--speed", "--no-speed"]).expect(2);
}

#[test]
fn a_log_is_a_scenario_by_client_address() {
    let log = ["--log", "examples/access.log", "--scenario", "log", "--json", "--quota", "2/s"];
    let report = compare(&log).expect(0).json();
    let scenario = &report["scenarios"][0];
    assert_eq!(scenario["name"], "log");
    let lines = fs::read_to_string(in_clone("examples/access.log")).unwrap();
    // The rest of a line that was torn apart begins with a space.
    let readable: Vec<_> = lines.lines().filter(|line| !line.starts_with(' ')).collect();
    let addresses: HashSet<_> = readable.iter().map(|line| line.split(' ').next()).collect();
    assert_eq!(scenario["requests"], readable.len());
    assert_eq!(scenario["keys"], addresses.len());
    let unreadable = lines.lines().count() - readable.len();
    let note = report["notes"][0].as_str().unwrap();
    assert!(note.starts_with(&format!("{unreadable} of ")), "{note}");
    let empty = scratch("empty.log");
    fs::write(&empty, "").unwrap();
    let ended = compare(&["--log", empty.to_str().unwrap()]).expect(2);
    assert!(ended.stderr.contains("no request with a client address"), "{}", ended.stderr);
    compare(&["--log", "no such log"]).expect(2);
}

#[test]
fn a_real_log_holds_the_exact_log_to_its_word() {
    let Some(traces) = std::env::var_os("TOLLGATE_TRACES") else {
        println!("left out without TOLLGATE_TRACES: a comparison on a real access log");
        return;
    };
    let log = std::path::Path::new(&traces).join("erddap-clean.log");
    let args = ["--log", log.to_str().unwrap(), "--scenario", "log", "--quota", "10/m", "--json"];
    let report = compare(&args).expect(0).json();
    let scenario = &report["scenarios"][0];
    assert!(scenario["requests"].as_u64().unwrap() > 5_000);
    let scores = scenario["scores"].as_array().unwrap();
    let exact = scores.iter().find(|score| score["contender"] == "sliding-log").unwrap();
    assert_eq!((&exact["excess"], &exact["wrongful"]), (&0.into(), &0.into()));
    assert!(exact["denied"].as_u64().unwrap() > 100, "{}", exact["denied"]);
}

#[test]
fn the_log_is_not_written_over() {
    let log = scratch("compared.log");
    fs::copy(in_clone("examples/access.log"), &log).unwrap();
    let log = log.to_str().unwrap();
    compare(&["--log", log, "--html", log, "--no-speed"]).expect(2);
    assert!(fs::metadata(log).unwrap().len() > 0);
}

/// The figures in the documentation are those that the command prints for anyone.
#[test]
#[cfg(feature = "peers")]
fn the_pages_say_what_the_command_says() {
    let printed = compare(&["--no-speed"]).expect(0).stdout;
    let page = include_str!("../../../docs/cli.md");
    let after = page.split("\ncargo tollgate-peers compare\n").nth(1).expect("the command");
    let block = after.split("```text\n").nth(1).and_then(|rest| rest.split("```").next());
    let block = block.expect("what it prints");
    assert!(block.lines().count() > 20);
    assert!(printed.contains(block.trim_end()), "docs/cli.md has:\n{block}\nnot:\n{printed}");

    let whys = include_str!("../../../docs/algorithms.md");
    let percent = |row: &str, column: usize| {
        let line = printed.lines().find(|line| line.trim_start().starts_with(row)).unwrap();
        let cells: Vec<_> = line.split("  ").map(str::trim).filter(|c| !c.is_empty()).collect();
        cells[column].replace(" %", "").parse::<f64>().map_or(0, |number| number.round() as u64)
    };
    for (name, row) in [
        ("| `Gcra`, ", "gcra"),
        ("| `FixedWindow`, ", "fixed-window"),
        ("| `FixedWindow::from_first_hit`", "fixed-first-hit"),
        ("| `FixedWindow::counting_denied`", "fixed-counting"),
        ("| `SlidingWindow`", "sliding-window"),
        ("| `SlidingGranules`", "granules "),
        ("| `SlidingGranules::strict`", "granules-strict"),
        ("| `SlidingLog`", "sliding-log"),
    ] {
        let said = whys.lines().rfind(|line| line.starts_with(name)).unwrap();
        let said: Vec<_> = said.split('|').map(str::trim).collect();
        let (wrongly, excess) = (percent(row, 2), percent(row, 3));
        let expected =
            [(excess, "nothing"), (wrongly, "none")].map(|(number, zero)| match number {
                0 => zero.to_owned(),
                number => format!("{number} %"),
            });
        assert_eq!(said[2..4], expected, "{name}");
    }
}
