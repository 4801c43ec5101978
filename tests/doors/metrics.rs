//! The metrics of a real run as a scraper sees them; also checks that the dashboard, the alerts and
//! the documentation use names that exist.

mod asked;
mod scrape;

use std::collections::BTreeSet;
use std::future::Future;
use std::panic::catch_unwind;
use std::pin::{Pin, pin};
use std::process::Command;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tollgate::metrics::{Task, WAIT_BUCKETS};
use tollgate::policy::{Missing, Override};
use tollgate::{Enforcer, Limit, Mode, Overflow, Policy, Quota, VirtualClock};

use scrape::{Scrape, recorder, told_anew, with_endpoint};

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

fn enforcer(policy: Policy) -> (Enforcer, VirtualClock) {
    let time = VirtualClock::new();
    (Enforcer::builder(policy).clock(time.clock()).build().unwrap(), time)
}

fn queries() -> Limit {
    Limit::concurrent("queries", 2)
        .key(["org"])
        .missing(Missing::Skip)
        .lease(secs(300))
        .wait(secs(60))
}

fn policy(max_visitors: usize) -> Policy {
    let by = |limit: Limit, fact| limit.key([fact]).missing(Missing::Skip);
    Policy::new()
        .facts(["user", "visitor", "org"])
        .limit(by(Limit::new("user", Quota::per_hour(2)), "user"))
        .limit(by(Limit::new("trial", Quota::per_hour(1)), "user").mode(Mode::Shadow))
        .limit(
            by(Limit::new("crowd", Quota::per_hour(1)), "visitor")
                .max_keys(max_visitors)
                .overflow(Overflow::Allow),
        )
        .limit(queries())
}

/// A run in which everything happens, and what is scraped at its end.
fn run() -> Scrape {
    let (enforcer, time) = enforcer(policy(16));
    with_endpoint(enforcer, |enforcer, scrape| {
        for _ in 0..3 {
            let _ = enforcer.admit(&[("user", "KEY-ann")], 1);
        }
        for nth in 0..100 {
            drop(enforcer.admit(&[("visitor", format!("KEY-{nth}").as_str())], 1).unwrap());
        }
        drop(enforcer.admit(&[("usr", "KEY-misspelt")], 1).unwrap());
        let now = scrape();
        let of_crowd = |metric| now.get(&format!(r#"{metric}{{limit="crowd"}}"#));
        assert_eq!(of_crowd("tollgate_limit_keys_max"), 16.0);
        assert!(of_crowd("tollgate_limit_overflows_total") > 0.0);
        // A caller that found no room owes nothing.
        let of_room = of_crowd("tollgate_limit_keys") + of_crowd("tollgate_limit_overflows_total");
        assert_eq!(of_room, 100.0);

        // The enforcer admits `third` after 3 s, and refuses `fourth` after 60 s.
        let org = [("org", "KEY-org")];
        let first = enforcer.admit(&org, 1).unwrap();
        std::mem::forget(enforcer.admit(&org, 1).unwrap());
        let mut third = pin!(enforcer.admit_waiting(&org, 1));
        let mut fourth = pin!(enforcer.admit_waiting(&org, 1));
        assert!(poll(third.as_mut()).is_pending() && poll(fourth.as_mut()).is_pending());
        let of_queries = |metric| scrape().get(&format!(r#"{metric}{{limit="queries"}}"#));
        assert_eq!(of_queries("tollgate_limit_waiting"), 2.0);
        assert_eq!(of_queries("tollgate_slots_in_flight"), 2.0);
        time.advance(secs(3));
        drop(first);
        let Poll::Ready(Ok(third)) = poll(third.as_mut()) else { panic!() };
        time.advance(secs(57));
        let Poll::Ready(Err(_)) = poll(fourth.as_mut()) else { panic!() };
        let other = enforcer.admit(&[("org", "KEY-other")], 1).unwrap();
        assert_eq!(of_queries("tollgate_slots_in_flight"), 3.0);
        // That of the fullest key.
        assert_eq!(of_queries("tollgate_slots_utilization_ratio"), 1.0);
        // The second, forgotten, lapses at 300 s, the third at 303.
        time.advance(secs(243));
        drop(third);
        drop(other);

        let _ = enforcer.reload(policy(16)).unwrap();
        let _ = enforcer.reload(policy(32)).unwrap();
        assert!(enforcer.reload(Policy::new().limit(Limit::concurrent("", 1))).is_err());
        enforcer.bypass(true);
        drop(enforcer.admit(&[("user", "KEY-ann")], 1).unwrap());
        enforcer.bypass(false);
        let last = enforcer.admit(&[("org", "KEY-last")], 1).unwrap();

        let _going_on = Task::start("reports");
        Task::start("reports").complete();
        drop(Task::start("reports"));
        let _ = catch_unwind(|| {
            let _task = Task::start("reports");
            std::panic::resume_unwind(Box::new("it fails"));
        });
        Task::skipped("reports");
        let scraped = scrape();
        drop(last);
        scraped
    })
}

/// All of [`run`], worked out by hand. What memory and overflows come to is the table's affair.
const TOLD: &str = r#"
tollgate_checks_total{outcome="admitted"} 108
tollgate_checks_total{outcome="refused"} 2
tollgate_late_give_backs_total{limit="queries"} 1
tollgate_leases_expired_total{limit="queries"} 2
tollgate_limit_evaluations_total{limit="crowd"} 100
tollgate_limit_evaluations_total{limit="queries"} 6
tollgate_limit_evaluations_total{limit="trial"} 3
tollgate_limit_evaluations_total{limit="user"} 3
tollgate_limit_fresh_starts_total{limit="crowd"} 1
tollgate_limit_fresh_starts_total{limit="queries"} 0
tollgate_limit_fresh_starts_total{limit="trial"} 0
tollgate_limit_fresh_starts_total{limit="user"} 0
tollgate_limit_keys_max{limit="crowd"} 32
tollgate_limit_keys_max{limit="trial"} 1048576
tollgate_limit_keys_max{limit="user"} 1048576
tollgate_limit_keys{limit="crowd"} 0
tollgate_limit_keys{limit="queries"} 2
tollgate_limit_keys{limit="trial"} 1
tollgate_limit_keys{limit="user"} 1
tollgate_limit_overflows_total{limit="queries"} 0
tollgate_limit_overflows_total{limit="trial"} 0
tollgate_limit_overflows_total{limit="user"} 0
tollgate_limit_refusals_total{limit="crowd"} 0
tollgate_limit_refusals_total{limit="queries"} 1
tollgate_limit_refusals_total{limit="trial"} 0
tollgate_limit_refusals_total{limit="user"} 1
tollgate_limit_shadow_refusals_total{limit="crowd"} 0
tollgate_limit_shadow_refusals_total{limit="queries"} 0
tollgate_limit_shadow_refusals_total{limit="trial"} 2
tollgate_limit_shadow_refusals_total{limit="user"} 0
tollgate_limit_waiting{limit="crowd"} 0
tollgate_limit_waiting{limit="queries"} 0
tollgate_limit_waiting{limit="trial"} 0
tollgate_limit_waiting{limit="user"} 0
tollgate_policy_reloads_total{outcome="failed"} 1
tollgate_policy_reloads_total{outcome="replaced"} 2
tollgate_slots_acquired_total{limit="queries"} 5
tollgate_slots_cap{limit="queries"} 2
tollgate_slots_in_flight{limit="queries"} 1
tollgate_slots_returned_total{limit="queries"} 3
tollgate_slots_utilization_ratio{limit="queries"} 0.5
tollgate_tasks_total{outcome="completed",task="reports"} 1
tollgate_tasks_total{outcome="error",task="reports"} 2
tollgate_tasks_total{outcome="skipped",task="reports"} 1
tollgate_tasks_total{outcome="started",task="reports"} 4
tollgate_undeclared_facts_total 1
tollgate_wait_seconds_count{limit="queries",outcome="admitted"} 1
tollgate_wait_seconds_count{limit="queries",outcome="refused"} 1
tollgate_wait_seconds_sum{limit="queries",outcome="admitted"} 3
tollgate_wait_seconds_sum{limit="queries",outcome="refused"} 60
tollgate_wait_timeouts_total{limit="crowd"} 0
tollgate_wait_timeouts_total{limit="queries"} 1
tollgate_wait_timeouts_total{limit="trial"} 0
tollgate_wait_timeouts_total{limit="user"} 0
"#;

#[test]
fn a_run_is_told_exactly() {
    let scraped = run();
    let is_the_tables = |name: &str, limit: Option<&String>| match name {
        "tollgate_limit_memory_bytes" => true,
        "tollgate_limit_overflows_total" => limit.is_some_and(|limit| limit == "crowd"),
        _ => name.ends_with("_bucket"),
    };
    let mut told: Vec<String> = Vec::new();
    for ((name, labels), value) in &scraped.samples {
        if is_the_tables(name, labels.get("limit")) {
            continue;
        }
        let labels: Vec<_> = labels.iter().map(|(l, value)| format!("{l}=\"{value}\"")).collect();
        let braces =
            if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        told.push(format!("{name}{braces} {value}"));
    }
    told.sort();
    let expected: Vec<&str> = TOLD.trim().lines().collect();
    assert_eq!(told, expected);
    for limit in ["user", "trial", "crowd", "queries"] {
        assert!(scraped.get(&format!(r#"tollgate_limit_memory_bytes{{limit="{limit}"}}"#)) > 0.0);
    }
    // The buckets count what is not above them: the wait of a whole minute is in the last.
    let below = |outcome: &str, le: f64| {
        let labels = format!(r#"limit="queries",outcome="{outcome}",le="{le}""#);
        scraped.get(&format!("tollgate_wait_seconds_bucket{{{labels}}}"))
    };
    assert!(WAIT_BUCKETS.is_sorted() && WAIT_BUCKETS.ends_with(&[60.0]));
    for le in WAIT_BUCKETS {
        assert_eq!(below("admitted", *le), f64::from(u8::from(*le >= 3.0)), "{le}");
        assert_eq!(below("refused", *le), f64::from(u8::from(*le >= 60.0)), "{le}");
    }
}

#[test]
fn no_key_is_told() {
    let text = run().text;
    assert!(!text.contains("KEY"), "{text}");
    assert!(!text.contains("usr"), "nor a fact that is not declared");
}

#[test]
fn what_is_named_is_told_and_what_is_told_is_described_and_named() {
    let scraped = run();
    let told = scraped.names();
    assert!(told.len() > 20, "{told:?}");
    let described: BTreeSet<String> = scraped.described.keys().cloned().collect();
    assert_eq!(described, told);
    for (file, text) in [
        ("dashboard", asked::DASHBOARD),
        ("documentation", asked::DOCUMENTATION),
        ("catalogue", asked::CATALOGUE),
    ] {
        assert_eq!(asked::names(text, &scraped), told, "{file}");
    }
    let of_alerts = asked::names(asked::ALERTS, &scraped);
    assert!(of_alerts.len() > 5 && of_alerts.is_subset(&told), "{of_alerts:?}");
}

#[test]
fn labels_that_are_asked_for_are_there() {
    let scraped = run();
    let mut asked_for = 0;
    let expressions: Vec<_> = asked::panels().into_iter().flat_map(|panel| panel.targets).collect();
    assert!(expressions.len() > 20);
    let alerts = [(asked::ALERTS.to_owned(), String::new())];
    for (expression, legend) in expressions.iter().chain(&alerts) {
        for (sample, matchers) in asked::matchers(expression) {
            let labels = scraped.labels(scraped.metric(&sample));
            for (label, value) in matchers {
                let values = labels.get(&label);
                let values = values.unwrap_or_else(|| panic!("{label} in {expression}"));
                let is_there = value.starts_with('$') || values.contains(&value);
                assert!(is_there, "{sample}: {label} is {value} in {expression}");
                asked_for += 1;
            }
        }
        let by = asked::grouped(expression);
        for label in by.iter().filter(|label| *label != "le") {
            let named = asked::names(expression, &scraped);
            let has = |metric: &String| scraped.labels(metric).contains_key(label);
            assert!(named.iter().any(has), "{label} in {expression}");
        }
        for label in legend.split("{{").skip(1).map(|rest| rest.split("}}").next().unwrap()) {
            assert!(by.contains(label), "{legend} of {expression}");
        }
    }
    assert!(asked_for > 20, "{asked_for}");
}

#[test]
fn panels_have_a_place_a_unit_and_words() {
    let panels = asked::panels();
    let mut taken = BTreeSet::new();
    for panel in &panels {
        assert!(!panel.unit.is_empty() && !panel.description.is_empty(), "{}", panel.title);
        let [x, y, w, h] = panel.place;
        assert!(x + w <= 24, "{}", panel.title);
        for cell in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
            assert!(taken.insert(cell), "{} covers another", panel.title);
        }
    }
    let titles: BTreeSet<&str> = panels.iter().map(|panel| &*panel.title).collect();
    assert_eq!(titles.len(), panels.len());
}

#[test]
fn promtool_reads_all_of_it() {
    let promtool = |arguments: &[&str], input: &str| {
        use std::io::Write;
        let mut child = Command::new("promtool")
            .args(arguments)
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .ok()?;
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let ended = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&ended.stdout) + String::from_utf8_lossy(&ended.stderr);
        Some((ended.status.success(), said.into_owned()))
    };
    let Some((is_good, said)) = promtool(&["check", "metrics"], &run().text) else {
        println!("left out: nobody but these tests has read the metrics, for want of promtool");
        return;
    };
    assert!(is_good && said.is_empty(), "{said}");

    // The dashboard's expressions, as rules.
    let mut rules = String::from("groups:\n- name: dashboard\n  rules:\n");
    let targets = asked::panels().into_iter().flat_map(|panel| panel.targets);
    for (nth, (expression, _)) in targets.enumerate() {
        let expression = expression.replace("$__rate_interval", "5m").replace("$__range", "1h");
        rules += &format!("  - record: panel:{nth}\n    expr: '{expression}'\n");
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), rules).unwrap();
    let path = file.path().to_string_lossy();
    let (is_good, said) = promtool(&["check", "rules", &path], "").unwrap();
    assert!(is_good, "{said}");
}

#[test]
fn a_lapsed_lease_is_out_of_the_gauge_at_the_next_scrape() {
    let (enforcer, time) = enforcer(Policy::new().limit(queries()));
    with_endpoint(enforcer, |enforcer, scrape| {
        let held = enforcer.admit(&[("org", "KEY")], 1).unwrap();
        let in_flight = || {
            let now = scrape();
            let of = |metric| now.get(&format!(r#"{metric}{{limit="queries"}}"#));
            (of("tollgate_slots_in_flight"), of("tollgate_leases_expired_total"))
        };
        time.advance(secs(300) - Duration::from_nanos(1));
        assert_eq!(in_flight(), (1.0, 0.0));
        // No request needs the slot, and no call asks the limit.
        time.advance(Duration::from_nanos(1));
        assert_eq!(in_flight(), (0.0, 1.0));
        assert_eq!(in_flight(), (0.0, 1.0), "and stays out on a frozen clock");
        drop(held);
        assert_eq!(in_flight(), (0.0, 1.0));
        assert_eq!(scrape().get(r#"tollgate_late_give_backs_total{limit="queries"}"#), 1.0);
    });
}

#[test]
fn counters_never_fall_over_reloads() {
    let (enforcer, time) = enforcer(policy(16));
    let mut before = Scrape::default();
    let mut told = |enforcer: &Enforcer| {
        let now = told_anew(enforcer);
        for (series, count) in before.counters() {
            assert!(now.samples.get(series).is_some_and(|now| *now >= count), "{series:?}");
        }
        before = now;
        before.samples.clone()
    };
    let busy = |enforcer: &Enforcer| {
        for nth in 0..100 {
            let visitor = format!("{nth}");
            let facts = [("visitor", visitor.as_str()), ("user", "ann"), ("org", "7")];
            let _ = enforcer.admit(&facts, 1);
        }
    };
    busy(&enforcer);
    for nth in 0..50 {
        let _ = enforcer.admit(&[("visitor", format!("v{nth}").as_str())], 1);
    }
    let held = enforcer.admit(&[("org", "7"), ("visitor", "held")], 1).unwrap();
    told(&enforcer);
    for reloaded in [policy(16), policy(64), Policy::new(), Policy::new(), policy(16), policy(32)] {
        let _ = enforcer.reload(reloaded).unwrap();
        told(&enforcer);
        busy(&enforcer);
        told(&enforcer);
        time.advance(secs(100));
    }
    // Its lease was over at the third of these; the tables it was admitted by go now.
    drop(held);
    let last = told(&enforcer);
    let of = |metric: &str, limit: &str| {
        let labels = [("limit".to_owned(), limit.to_owned())].into();
        last[&(metric.to_owned(), labels)]
    };
    assert!(of("tollgate_limit_overflows_total", "crowd") > 0.0);
    assert_eq!(of("tollgate_leases_expired_total", "queries"), 1.0);
    assert_eq!(of("tollgate_late_give_backs_total", "queries"), 1.0);
    let taken = of("tollgate_slots_acquired_total", "queries");
    assert_eq!(of("tollgate_slots_returned_total", "queries"), taken);
}

#[test]
fn of_a_dropped_limit_gauges_show_what_is_still_held() {
    let (enforcer, _) = enforcer(policy(16));
    with_endpoint(enforcer, |enforcer, scrape| {
        let facts = [("org", "7"), ("user", "ann"), ("visitor", "v")];
        let held = enforcer.admit(&facts, 1).unwrap();
        scrape();
        let _ = enforcer.reload(Policy::new()).unwrap();
        let now = scrape();
        let of = |metric: &str, limit: &str| now.get(&format!(r#"{metric}{{limit="{limit}"}}"#));
        assert_eq!(of("tollgate_slots_in_flight", "queries"), 1.0);
        assert_eq!(of("tollgate_slots_cap", "queries"), 0.0);
        assert_eq!(of("tollgate_limit_keys_max", "user"), 0.0);
        drop(held);
        let now = scrape();
        for ((name, labels), value) in &now.samples {
            if now.described[now.metric(name)] == "gauge" {
                assert_eq!(*value, 0.0, "{name} {labels:?}");
            }
        }
        assert_eq!(now.get(r#"tollgate_slots_returned_total{limit="queries"}"#), 1.0);

        // A rate by the name of what were slots: no flight is left in the gauges.
        let rate = Limit::new("queries", Quota::per_second(1));
        let _ = enforcer.reload(Policy::new().limit(rate)).unwrap();
        let now = scrape();
        assert_eq!(now.get(r#"tollgate_slots_in_flight{limit="queries"}"#), 0.0);
        assert_eq!(now.get(r#"tollgate_slots_cap{limit="queries"}"#), 0.0);
        assert_eq!(now.get(r#"tollgate_limit_keys_max{limit="queries"}"#), 1.0);
    });
}

#[test]
fn slots_held_from_before_a_limit_was_dropped_are_in_flight_when_it_is_back() {
    let (enforcer, _) = enforcer(Policy::new().limit(queries()));
    let held = enforcer.admit(&[("org", "7")], 1).unwrap();
    for policy in [Policy::new(), Policy::new().limit(queries())] {
        let _ = enforcer.reload(policy).unwrap();
        assert_eq!(told_anew(&enforcer).get(r#"tollgate_slots_in_flight{limit="queries"}"#), 1.0);
    }
    drop(held);
    assert_eq!(told_anew(&enforcer).get(r#"tollgate_slots_in_flight{limit="queries"}"#), 0.0);
}

#[test]
fn the_ratio_is_that_of_the_fullest_key_under_its_own_cap() {
    let slots = Limit::concurrent("queries", 4).key(["org"]);
    let small = Override::new("queries").when("org", ["small"]).concurrent(2);
    let (enforcer, _) = enforcer(Policy::new().limit(slots).with_override(small));
    let ratio = || told_anew(&enforcer).get(r#"tollgate_slots_utilization_ratio{limit="queries"}"#);
    assert_eq!(ratio(), 0.0);
    let _one = enforcer.admit(&[("org", "a")], 1).unwrap();
    let _other = enforcer.admit(&[("org", "b")], 1).unwrap();
    assert_eq!(ratio(), 0.25);
    let _of_two = enforcer.admit(&[("org", "small")], 1).unwrap();
    assert_eq!(ratio(), 0.5);
    let _three = [(); 2].map(|()| enforcer.admit(&[("org", "b")], 1).unwrap());
    assert_eq!(ratio(), 0.75);
    // In shadow more are taken than there are.
    enforcer.set_mode("queries", Mode::Shadow).unwrap();
    let _five = [(); 2].map(|()| enforcer.admit(&[("org", "b")], 1).unwrap());
    assert_eq!(ratio(), 1.25);
}

#[test]
fn a_task_that_is_dropped_as_a_future_is_an_error() {
    let recorder = recorder();
    metrics::with_local_recorder(&recorder, || {
        let mut future = Box::pin(async {
            let task = Task::start("mails");
            std::future::pending::<()>().await;
            task.complete();
        });
        assert!(poll(future.as_mut()).is_pending());
        drop(future);
    });
    let scraped = Scrape::parse(recorder.handle().render());
    let of = |outcome: &str| {
        scraped.get(&format!(r#"tollgate_tasks_total{{task="mails",outcome="{outcome}"}}"#))
    };
    assert_eq!((of("started"), of("error"), of("completed")), (1.0, 1.0, 0.0));
}

#[test]
fn without_a_recorder_nothing_is_told() {
    let (enforcer, _) = enforcer(policy(16));
    enforcer.record_metrics();
    Task::start("nobody listens").complete();
}
