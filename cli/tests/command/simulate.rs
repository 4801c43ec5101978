//! Simulations from end to end: scenarios, reports, expectations, pictures.

use std::fs;

use serde_json::Value;

use crate::{Ended, command, scratch};

const SLOTS: &str = "examples/query-slots.toml";
const CRASH: &str = "examples/query-slots-crash.toml";
const ROLLOUT: &str = "examples/query-slots-rollout.toml";

fn simulate(args: &[&str]) -> Ended {
    let args = [&["simulate"], args].concat();
    command(&args).output().unwrap().into()
}

/// A file for one test.
fn file(name: &str, content: &str) -> String {
    let path = scratch(name);
    fs::write(&path, content).unwrap();
    path.to_str().unwrap().to_owned()
}

/// The run with limits of a scenario of a minute.
#[track_caller]
fn run(name: &str, scenario: &str) -> Value {
    let path = file(name, &format!("duration = \"60s\"\n{scenario}"));
    simulate(&[&path, "--json"]).expect(0).json()
}

/// One group of clients that arrive together, with a service time of 1 s.
fn clients(size: u32, also: &str) -> String {
    format!(
        "[[clients]]\nname = \"all\"\n{also}\n\
         arrivals = {{ kind = \"bursts\", size = {size}, every = \"60s\" }}\n\
         service = {{ kind = \"constant\", time = \"1s\" }}\n"
    )
}

const ONE_SLOT: &str = "[[limit]]\nname = \"slot\"\nconcurrent = 1\n";

// ---- what happens to requests ----

#[test]
fn who_waits_is_served_in_turn_and_percentiles_are_by_nearest_rank() {
    let report = run("turns.toml", &format!("{ONE_SLOT}wait = \"60s\"\n{}", clients(4, "")));
    let with = &report["with"];
    // They wait 0, 1, 2 and 3 s.
    assert_eq!(with["wait_s"]["p50"], 1.0);
    assert_eq!(with["wait_s"]["p95"], 3.0);
    assert_eq!(with["wait_s"]["p99"], 3.0);
    assert_eq!(with["wait_s"]["max"], 3.0);
    assert_eq!(with["admitted"], 4);
    assert_eq!(with["peak_in_flight"], 1);
    assert_eq!(with["peak_waiting"], 3);
    assert_eq!(with["ended_s"], 4.0);
    // A step is 0.2 s, and one begins as the one before ended.
    let waiting = with["timeline"]["waiting"].as_array().unwrap();
    assert_eq!([&waiting[0], &waiting[5], &waiting[6], &waiting[16]], [3, 3, 2, 0]);
    let without = &report["without"];
    assert_eq!(without["peak_in_flight"], 4);
    assert_eq!(without["wait_s"]["max"], 0.0);
    assert_eq!(without["ended_s"], 1.0);
}

#[test]
fn a_rate_can_be_waited_for_too() {
    let rate = "[[limit]]\nname = \"rate\"\nrate = \"1/s\"\nwait = \"2500ms\"\n";
    let report = run("rate_waits.toml", &format!("{rate}{}", clients(5, "")));
    let with = &report["with"];
    // One at once and one after each of 1 and 2 s; the others could not pass in time.
    assert_eq!(with["admitted"], 3);
    assert_eq!(with["wait_s"]["max"], 2.0);
    assert_eq!(with["limits"]["rate"]["refused"], 2);
}

#[test]
fn who_is_turned_away_is_counted_by_the_reason() {
    let reason = |name: &str, limit: &str, also: &str| {
        let with = &run(name, &format!("{limit}\n{}", clients(5, also)))["with"];
        assert_eq!(with["requests"], 5);
        let count = |key: &str| with[key].as_u64().unwrap();
        assert_eq!(count("skipped"), 5 - count("admitted"));
        assert_eq!(with["skipped_share"], count("skipped") as f64 / 5.0);
        [count("admitted"), count("refused"), count("timed_out"), count("gave_up")]
    };
    let waiting = format!("{ONE_SLOT}wait = \"2500ms\"");
    assert_eq!(reason("refused.toml", ONE_SLOT, ""), [1, 4, 0, 0]);
    assert_eq!(reason("timed_out.toml", &waiting, ""), [3, 0, 2, 0]);
    assert_eq!(reason("gave_up.toml", &waiting, "patience = \"1500ms\""), [2, 0, 0, 3]);
    let full = format!("{waiting}\nmax_waiters = 1");
    assert_eq!(reason("full.toml", &full, ""), [2, 3, 0, 0]);
    let rate = "[[limit]]\nname = \"rate\"\nrate = \"1/h\"\nburst = 2";
    assert_eq!(reason("rate.toml", rate, ""), [2, 3, 0, 0]);
    let report = run("by_limit.toml", &format!("{rate}\n{waiting}\n{}", clients(5, "")));
    assert_eq!(report["with"]["limits"]["rate"]["refused"], 3);
    assert_eq!(report["with"]["limits"]["slot"]["refused"], 0);
    assert_eq!(report["without"]["limits"]["rate"]["refused"], 0);
}

#[test]
fn the_back_end_fails_those_that_are_too_many_and_they_take_their_time() {
    let backend = "[backend]\nlimit = 2\n";
    let limit = "[[limit]]\nname = \"slots\"\nconcurrent = 2\nwait = \"60s\"\n";
    let report = run("backend.toml", &format!("{limit}{backend}{}", clients(5, "")));
    assert_eq!(report["without"]["backend_errors"], 3);
    assert_eq!(report["without"]["peak_in_flight"], 5);
    assert_eq!(report["without"]["admitted"], 5);
    assert_eq!(report["with"]["backend_errors"], 0);
    assert_eq!(report["with"]["peak_in_flight"], 2);
}

#[test]
fn the_slots_of_who_crashed_come_back_when_their_lease_ends() {
    let limit = format!("{ONE_SLOT}lease = \"10s\"\nwait = \"60s\"\n");
    let report = run("crash.toml", &format!("{limit}{}", clients(3, "crash = 1")));
    let with = &report["with"];
    assert_eq!(with["crashed"], 1);
    // The first holds the slot for 10 s, the second for 1 s.
    assert_eq!(with["wait_s"]["p50"], 10.0);
    assert_eq!(with["wait_s"]["max"], 11.0);
    assert_eq!(with["peak_in_flight"], 1);
    let slots = with["timeline"]["in_use"]["slot"].as_array().unwrap();
    // At the end of each step of 0.2 s, as long as all of them.
    assert_eq!(slots.len(), 300);
    let held = slots.iter().take_while(|slots| **slots == 1).count();
    assert_eq!(held, 59, "12 s, and at their end it is free");
    assert!(slots[held..].iter().all(|slots| *slots == 0));
}

#[test]
fn facts_decide_which_clients_a_limit_counts_together() {
    let limit = "[[limit]]\nname = \"org\"\nkey = [\"org\"]\nrate = \"1/h\"\n";
    let facts = "facts = { org = { from = 1, to = 3, pick = \"in-turn\" } }";
    let report = run("facts.toml", &format!("{limit}{}", clients(10, facts)));
    assert_eq!(report["with"]["admitted"], 3);
    let fixed = run("fixed.toml", &format!("{limit}{}", clients(10, "facts = { org = 7 }")));
    assert_eq!(fixed["with"]["admitted"], 1);
}

#[test]
fn changes_come_when_they_should() {
    let limit = "[[limit]]\nname = \"rate\"\nrate = \"1/h\"\n";
    let changes = "[[change]]\nat = \"20s\"\nlimit = \"rate\"\nmode = \"shadow\"\n\
        [[change]]\nat = \"40s\"\nlimit = \"rate\"\nmode = \"enforce\"\n";
    let arrivals = "[[clients]]\nname = \"all\"\n\
        arrivals = { kind = \"constant\", rate = \"1/s\" }\n\
        service = { kind = \"constant\", time = \"0s\" }\n";
    let report = run("changes.toml", &format!("{limit}{changes}{arrivals}"));
    let phases = report["with"]["phases"].as_array().unwrap();
    let admitted: Vec<&Value> = phases.iter().map(|phase| &phase["admitted"]).collect();
    assert_eq!(admitted, [1, 20, 0]);
    let changed: Vec<&Value> = phases.iter().map(|phase| &phase["change"]).collect();
    assert_eq!(changed, ["", "rate: mode shadow", "rate: mode enforce"]);
    let ends: Vec<[&Value; 2]> =
        phases.iter().map(|phase| [&phase["from_s"], &phase["to_s"]]).collect();
    assert_eq!(ends, [[0.0, 20.0], [20.0, 40.0], [40.0, 60.0]]);
    assert!(report["without"]["phases"].as_array().unwrap().iter().all(|p| p["skipped"] == 0));
}

// ---- the examples ----

#[test]
fn the_example_breaks_the_back_end_without_the_limit_and_not_with_it() {
    simulate(&[
        SLOTS,
        "--expect=without.peak_in_flight>100",
        "--expect=without.backend_errors>500",
        "--expect=peak_in_flight==50",
        "--expect=backend_errors==0",
        "--expect=skipped_share<5%",
        "--expect=wait_s.max<=60s",
        "--expect=requests==1590",
        "--expect=without.requests==1590",
    ])
    .expect(0);
    // No luck of one seed.
    for seed in ["2", "3", "4", "5"] {
        let claims = ["--expect=peak_in_flight<=50", "--expect=skipped_share<5%"];
        simulate(&[&[SLOTS, "--seed", seed], &claims[..]].concat()).expect(0);
    }
}

#[test]
fn the_slots_of_ten_who_crashed_come_back_after_300_s() {
    let report = simulate(&[CRASH, "--json", "--expect=crashed==10"]).expect(0).json();
    let with = &report["with"];
    let step = report["step_s"].as_f64().unwrap();
    let timeline = |series: &Value, from: f64, to: f64| -> Vec<u64> {
        let steps = series.as_array().unwrap().iter().map(|value| value.as_u64().unwrap());
        let within = |index: usize| (from..to).contains(&(index as f64 * step));
        steps.enumerate().filter(|(index, _)| within(*index)).map(|(_, value)| value).collect()
    };
    let slots = &with["timeline"]["in_use"]["queries"];
    let in_flight = &with["timeline"]["in_flight"];
    // They crash holding slots from 80 s on.
    assert_eq!(timeline(slots, 0.0, 80.0).iter().min(), Some(&0));
    let held = timeline(slots, 80.0, 378.0);
    assert_eq!(held.iter().min(), Some(&10));
    assert_eq!(held.iter().max(), Some(&50));
    assert_eq!(timeline(in_flight, 90.0, 380.0).iter().max(), Some(&40));
    assert_eq!(timeline(slots, 380.0, 390.0), [0; 5]);
    assert_eq!(timeline(in_flight, 380.0, 600.0).iter().max(), Some(&50));
    assert_eq!(with["skipped"], 0);
}

#[test]
fn the_rollout_makes_the_back_end_safe_step_by_step() {
    let report = simulate(&[ROLLOUT, "--json"]).expect(0).json();
    let phases = report["with"]["phases"].as_array().unwrap();
    let peaks: Vec<u64> =
        phases.iter().map(|phase| phase["peak_in_flight"].as_u64().unwrap()).collect();
    let errors: Vec<u64> =
        phases.iter().map(|phase| phase["backend_errors"].as_u64().unwrap()).collect();
    assert_eq!(phases.len(), 3);
    assert!(peaks.is_sorted_by(|a, b| a > b), "{peaks:?}");
    assert!(errors.is_sorted_by(|a, b| a > b), "{errors:?}");
    assert_eq!(errors[2], 0);
    assert_eq!(report["with"]["skipped_share"].as_f64().unwrap(), 0.0);
}

#[test]
fn every_request_is_admitted_or_skipped() {
    for example in [SLOTS, CRASH, ROLLOUT] {
        let report = simulate(&[example, "--json"]).expect(0).json();
        for run in [&report["without"], &report["with"]] {
            let sum = |counts: &Value| {
                let count = |key: &str| counts[key].as_u64().unwrap();
                assert_eq!(count("requests"), count("admitted") + count("skipped"), "{example}");
                count("requests")
            };
            let groups: u64 = run["clients"].as_object().unwrap().values().map(sum).sum();
            let phases: u64 = run["phases"].as_array().unwrap().iter().map(sum).sum();
            assert_eq!([groups, phases], [sum(run); 2], "{example}");
        }
    }
}

// ---- the report ----

#[test]
fn the_same_seed_gives_the_same_bytes() {
    for example in [SLOTS, CRASH, ROLLOUT] {
        let pictures = [scratch("same-1.svg"), scratch("same-2.svg")];
        let [first, second] = pictures.each_ref().map(|picture| {
            let path = picture.to_str().unwrap();
            let json = simulate(&[example, "--json", "--svg", path]).expect(0).stdout;
            (json, simulate(&[example]).expect(0).stdout, fs::read(picture).unwrap())
        });
        assert!(first == second, "{example}");
    }
    let json = |seed: &str| simulate(&[SLOTS, "--json", "--seed", seed]).expect(0).json();
    assert_eq!(json("2")["seed"], 2);
    assert_ne!(json("2")["with"]["wait_s"], json("3")["with"]["wait_s"]);
}

#[test]
fn the_report_tells_the_story_side_by_side() {
    let text = simulate(&[SLOTS]).expect(0).stdout;
    let row = |name: &str| -> Vec<String> {
        let line = text.lines().find(|line| line.trim_start().starts_with(name));
        let cells = line.unwrap_or_else(|| panic!("no {name} in\n{text}")).trim_start();
        cells[name.len()..].split_whitespace().map(str::to_owned).collect()
    };
    let report = simulate(&[SLOTS, "--json"]).expect(0).json();
    let peak = |run: &str| report[run]["peak_in_flight"].to_string();
    assert_eq!(row("peak in flight"), [peak("without"), peak("with")]);
    assert_eq!(row("back-end errors (above 100)")[1], "0");
    assert_eq!(row("admitted")[0], "1,590");
    assert!(text.contains("cap 50 "), "{text}");
    assert!(text.contains("back end 100 "), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    assert!(text.lines().all(|line| line == line.trim_end()), "{text}");
}

#[test]
fn expectations_hold_or_set_the_exit_code() {
    let broken = simulate(&[SLOTS, "--expect", "peak_in_flight <= 49", "--expect", "crashed>0"]);
    let broken = broken.expect(1);
    assert_eq!(
        broken.stderr,
        "broken: expected peak_in_flight <= 49, but peak_in_flight is 50\n\
         broken: expected crashed>0, but crashed is 0\n"
    );
    assert!(broken.stdout.contains("peak in flight"), "the report is shown all the same");

    let unknown = simulate(&[SLOTS, "--expect", "peak_in_fligth<=50"]).expect(2);
    assert_eq!(
        unknown.stderr,
        "error: --expect: the report has no number `peak_in_fligth`; \
         did you mean `peak_in_flight`?\n"
    );
    assert_eq!(unknown.stdout, "");
    for wrong in ["peak_in_flight", "peak_in_flight=50", "peak_in_flight<=many", "<=50"] {
        simulate(&[SLOTS, "--expect", wrong]).expect(2);
    }
}

// ---- the picture ----

#[test]
fn the_picture_is_xml_and_has_every_series() {
    let picture = scratch("crash.svg");
    simulate(&[CRASH, "--svg", picture.to_str().unwrap()]).expect(0);
    let text = fs::read_to_string(&picture).unwrap();
    let tree = roxmltree::Document::parse(&text).unwrap();
    assert_eq!(tree.root_element().tag_name().name(), "svg");
    let texts: Vec<&str> =
        tree.descendants().filter_map(|node| node.text()).map(str::trim).collect();
    for name in [
        "in flight",
        "waiting",
        "slots in use",
        "cap",
        "back-end errors",
        "skipped requests",
        "Without limits",
        "With limits",
        "minutes",
    ] {
        assert!(texts.contains(&name), "no {name} in {texts:?}");
    }
    let drawn = |color: &str, tag: &str| {
        let shapes = tree.descendants().filter(|node| node.tag_name().name() == tag);
        let attribute = if tag == "polygon" { "fill" } else { "stroke" };
        shapes.filter(|node| node.attribute(attribute) == Some(color)).count()
    };
    // In flight is an area in both panels; slots in use are a line, and in the legend.
    assert_eq!(drawn("#2666A5", "polygon"), 2);
    assert_eq!(drawn("#6E6E6E", "polyline"), 2);
}

#[test]
fn the_picture_goes_nowhere_else() {
    let nowhere = simulate(&[SLOTS, "--svg", "no/such/folder/picture.svg"]).expect(2);
    assert!(nowhere.stderr.starts_with("error: cannot write no/such/folder/picture.svg"));
    assert_eq!(nowhere.stdout, "");
    let policy = file("over.policy.toml", ONE_SLOT);
    let scenario = file(
        "over.toml",
        &format!("duration = \"9s\"\npolicy = \"over.policy.toml\"\n{}", clients(1, "")),
    );
    for read in [&scenario, &policy] {
        let before = fs::read(read).unwrap();
        let ended = simulate(&[&scenario, "--svg", read]).expect(2);
        assert!(ended.stderr.contains("would write over"), "{}", ended.stderr);
        assert_eq!(fs::read(read).unwrap(), before);
    }
    simulate(&[&scenario]).expect(0);
}

// ---- scenario files ----

#[test]
fn all_that_is_wrong_with_a_scenario_is_said_at_once() {
    let scenario = r#"duratoin = "60s"
seed = -1

[[limit]]
name = "q"
concurent = 5

[[clients]]
name = "a"
arrivals = { kind = "burst", size = 1, every = "1s" }
service = { kind = "lognormal", median = "8s", p90 = "60s" }
patience = 60
crash = "500%"

[[clients]]
name = "a"
arrivals = { kind = "ramp", from = "0/s", to = "1/s" }
service = { kind = "constant", time = "0s" }
facts = { org = { from = 5, to = 1 }, x = 1.5, y = [] }
start = "10s"
end = "5s"

[[clients]]
name = "a"
arrivals = { kind = "constant", rate = "0/s" }
service = { kind = "exponential", mean = "8s" }

[[change]]
at = "1s"
limit = "q"

[backend]
limits = 100
"#;
    let path = file("wrong.toml", scenario);
    let ended = simulate(&[&path]).expect(2);
    assert_eq!(ended.stdout, "");
    let mut lines = ended.stderr.lines();
    assert_eq!(lines.next(), Some("error: 17 things are wrong with the scenario"));
    let prefix = format!("  {path}:");
    let problems: Vec<&str> = lines
        .filter_map(|line| {
            line.strip_prefix(&prefix).or(line.trim_start().strip_prefix("= hint: "))
        })
        .collect();
    assert_eq!(
        problems,
        [
            "6:1: a limit has no key `concurent`",
            "did you mean `concurrent`?",
            "1:1: a scenario needs `duration`",
            "as in `duration = \"60s\"`",
            "1:1: a scenario has no key `duratoin`",
            "did you mean `duration`?",
            "2:8: `seed` is a whole number from 0, not the number -1",
            "as in `seed = 1`",
            "10:21: the `kind` of `arrivals` cannot be the string \"burst\"",
            "did you mean `bursts`?",
            "11:11: `service` needs `p99`",
            "as in `p99 = \"60s\"`",
            "11:48: `service` has no key `p90`",
            "did you mean `p99`?",
            "12:12: `patience` is a length of time, not the number 60",
            "as in `patience = \"60s\"`",
            "13:9: `crash` is how many crash, or which share of them, not the string \"500%\"",
            "as in `crash = \"5%\"`",
            "19:34: `to` is below `from`",
            "19:43: a fact is text, a whole number, or a list or table of those, \
             not the number 1.5",
            "19:52: the values of a fact are a list of text or whole numbers",
            "20:9: the clients start no earlier than they end",
            "25:40: `rate` is a rate above 0, not the string \"0/s\"",
            "as in `rate = \"50/s\"`",
            "28:1: this change changes nothing",
            "give `mode`, `concurrent`, `rate`, `burst` or `share`",
            "32:1: the back end needs `limit`",
            "as in `limit = 100`",
            "33:1: the back end has no key `limits`",
            "did you mean `limit`?",
        ]
    );
}

#[test]
fn a_problem_shows_its_line() {
    let path = file("line.toml", &format!("{ONE_SLOT}{}", clients(1, "patiense = \"1s\"")));
    let ended = simulate(&[&path]).expect(2);
    assert_eq!(
        ended.stderr,
        format!(
            "error: 2 things are wrong with the scenario\n  \
             {path}:1:1: a scenario needs `duration`\n  |\n\
             1 | [[limit]]\n  | ^\n  = hint: as in `duration = \"60s\"`\n  \
             {path}:6:1: a group of clients has no key `patiense`\n  |\n\
             6 | patiense = \"1s\"\n  | ^^^^^^^^\n  = hint: did you mean `patience`?\n"
        )
    );
}

#[test]
fn what_a_change_makes_of_the_policy_is_checked_before_the_run() {
    let change = |at: &str, limit: &str, what: &str| {
        let change = format!("[[change]]\nat = \"{at}\"\nlimit = \"{limit}\"\n{what}\n");
        let scenario = format!("duration = \"60s\"\n{ONE_SLOT}{}{change}", clients(1, ""));
        let path = file("change.toml", &scenario);
        let stderr = simulate(&[&path]).expect(2).stderr;
        stderr.lines().nth(1).unwrap().split_once("change.toml:").unwrap().1.to_owned()
    };
    assert_eq!(change("1s", "slto", "concurrent = 2"), "12:9: the policy has no limit `slto`");
    assert_eq!(
        change("60s", "slot", "concurrent = 2"),
        "11:6: this change comes after the scenario"
    );
    assert_eq!(change("1s", "slot", "at_ = 2"), "10:1: this change changes nothing");
    let unreadable = change("1s", "slot", "concurrent = \"many\"");
    assert!(unreadable.starts_with("10:1: after this change "), "{unreadable}");
}

#[test]
fn groups_of_clients_have_names_of_their_own() {
    let twice = clients(1, "").repeat(2);
    let path = file("twice.toml", &format!("duration = \"60s\"\n{ONE_SLOT}{twice}"));
    let stderr = simulate(&[&path]).expect(2).stderr;
    assert!(stderr.contains("twice.toml:11:8: clients `all` are there twice"), "{stderr}");
}

#[test]
fn a_policy_has_one_place() {
    let wrong = |name: &str, scenario: String| {
        let stderr = simulate(&[&file(name, &scenario)]).expect(2).stderr;
        stderr.lines().nth(1).unwrap().split_once(".toml:").unwrap().1.to_owned()
    };
    let top = "duration = \"60s\"\n";
    assert_eq!(
        wrong("none.toml", format!("{top}{}", clients(1, ""))),
        "1:1: a scenario needs a policy"
    );
    let both = format!("{top}policy = \"p\"\n{ONE_SLOT}{}", clients(1, ""));
    assert_eq!(wrong("both.toml", both), "3:1: the policy is in a file, and `limit` is here too");
    let missing = format!("{top}policy = \"no-such.policy\"\n{}", clients(1, ""));
    assert!(wrong("missing.toml", missing).starts_with("2:10: cannot read the policy "));
    // The problems of a policy are where they are in its file.
    file("bad.policy.toml", "[[limit]]\nname = \"a\"\nrats = 5\n");
    let apart =
        file("apart.toml", &format!("{top}policy = \"bad.policy.toml\"\n{}", clients(1, "")));
    let stderr = simulate(&[&apart]).expect(2).stderr;
    assert!(stderr.contains("bad.policy.toml:3:1: a limit has no key `rats`"), "{stderr}");
    // And in a scenario where they are in that, whatever stands around them.
    let around = format!(
        "duration = \"60s\" # ü\nfacts = [\"org\"]\n{}[[limit]]\nname = \"ä\"\nkey = [\"ogr\"]\nrate = \"1/s\"\n\
         [backend]\nlimit = 1\n",
        clients(1, "")
    );
    let stderr = simulate(&[&file("around.toml", &around)]).expect(2).stderr;
    assert!(stderr.contains("around.toml:10:8: "), "{stderr}");
}

#[test]
fn what_is_no_toml_is_said() {
    let ended = simulate(&[&file("no.toml", "a = \n")]).expect(2);
    assert!(ended.stderr.contains("no.toml:1:5: this is no TOML: "), "{}", ended.stderr);
    let ended = simulate(&["no-such-scenario.toml"]).expect(2);
    assert!(ended.stderr.starts_with("error: cannot read the scenario no-such-scenario.toml: "));
}

#[test]
fn more_requests_than_can_be_are_refused() {
    let clients = clients(4_000_000_000, "");
    let path = file("many.toml", &format!("duration = \"60s\"\n{ONE_SLOT}{clients}"));
    let ended = simulate(&[&path]).expect(2);
    assert!(ended.stderr.ends_with(": more than 5,000,000 requests arrive\n"), "{}", ended.stderr);
}

#[test]
fn a_request_may_outlast_the_scenario_by_far() {
    let scenario = r#"
        [[limit]]
        name = "queries"
        concurrent = 2
        [[clients]]
        name = "endless"
        arrivals = { kind = "bursts", size = 2, every = "60s" }
        service = { kind = "constant", time = "200000d" }
    "#;
    let report = run("outlast", scenario);
    assert_eq!(report["with"]["admitted"], 2);
    assert_eq!(report["with"]["peak_in_flight"], 2);
}
