//! `tollgate replay` against a model that shares no code with it: it parses log lines by itself,
//! and computes with rational numbers as integers. Every decision must be the same.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::in_clone;

type Facts = BTreeMap<&'static str, String>;

// ---- The model ----

#[derive(Clone, Debug)]
struct Limit {
    name: String,
    key: Vec<Vec<&'static str>>,
    when: Vec<(&'static str, Vec<&'static str>)>,
    count: u64,
    period: &'static str,
    period_nanos: i128,
    burst: u64,
    missing: &'static str,
    shadow: bool,
}

/// When each key's bucket is full, in nanoseconds times the limit's count.
type Full = HashMap<Vec<(String, String)>, i128>;

#[derive(Debug, PartialEq)]
struct Decided {
    t: u64,
    limit: Option<String>,
    retry_nanos: Option<i128>,
    remaining: Option<i128>,
}

#[derive(Default)]
struct Model {
    limits: Vec<Limit>,
    full: Vec<Full>,
    checked: Vec<u64>,
    refused: Vec<u64>,
    shadow_refused: Vec<u64>,
    keys: Vec<HashSet<Vec<(String, String)>>>,
    refused_keys: HashMap<(usize, String), u64>,
    decided: Vec<Decided>,
    unreadable: u64,
    latest: Option<u64>,
    late: (u64, u64),
}

impl Model {
    fn new(limits: &[Limit]) -> Model {
        let n = limits.len();
        Model {
            limits: limits.to_vec(),
            full: vec![Full::new(); n],
            checked: vec![0; n],
            refused: vec![0; n],
            shadow_refused: vec![0; n],
            keys: vec![HashSet::new(); n],
            ..Model::default()
        }
    }

    fn line(&mut self, line: &str) {
        match read(line) {
            Some((second, facts)) => self.request(second, &facts),
            None => self.unreadable += 1,
        }
    }

    fn request(&mut self, second: u64, facts: &Facts) {
        let latest = self.latest.unwrap_or(second);
        if second < latest {
            self.late = (self.late.0 + 1, self.late.1.max(latest - second));
        }
        let now = second.max(latest);
        self.latest = Some(now);

        let now = i128::from(now) * 1_000_000_000;
        let mut charges = Vec::new();
        let mut refusal: Option<(usize, i128)> = None;
        let mut wait = Some(0);
        let mut least_left: Option<i128> = None;
        for (index, limit) in self.limits.iter().enumerate() {
            if !limit.when.iter().all(|(fact, any)| {
                facts.get(fact).is_some_and(|value| any.iter().any(|p| glob(p, value)))
            }) {
                continue;
            }
            let key = limit.key_of(facts);
            if key.is_none() && limit.missing == "skip" {
                continue;
            }
            self.checked[index] += 1;
            let Some(key) = key else {
                if limit.shadow {
                    self.shadow_refused[index] += 1;
                } else {
                    refusal = refusal.or(Some((index, 0)));
                    wait = None;
                }
                continue;
            };
            self.keys[index].insert(key.clone());
            let count = i128::from(limit.count);
            let full = self.full[index].get(&key).copied().unwrap_or(i128::MIN).max(now * count);
            let capacity = i128::from(limit.burst) * limit.period_nanos;
            let owed = full - now * count;
            let left = (capacity - owed - limit.period_nanos).div_euclid(limit.period_nanos);
            if left >= 0 {
                charges.push((index, key, full + limit.period_nanos));
                if !limit.shadow {
                    least_left = Some(least_left.map_or(left, |least| least.min(left)));
                }
            } else if limit.shadow {
                self.shadow_refused[index] += 1;
            } else {
                refusal = refusal.or(Some((index, left + 1)));
                let late = owed + limit.period_nanos - capacity;
                let needed = (limit.burst > 0).then(|| (late + count - 1).div_euclid(count));
                wait = wait.zip(needed).map(|(a, b)| a.max(b));
            }
        }
        let decided = match refusal {
            None => {
                for (index, key, full) in charges {
                    self.full[index].insert(key, full);
                }
                Decided { t: second, limit: None, retry_nanos: None, remaining: least_left }
            }
            Some((index, left)) => {
                self.refused[index] += 1;
                let text = self.limits[index].key_text(facts);
                *self.refused_keys.entry((index, text)).or_default() += 1;
                let limit = Some(self.limits[index].name.clone());
                Decided { t: second, limit, retry_nanos: wait, remaining: Some(left) }
            }
        };
        self.decided.push(decided);
    }

    fn top_refused_keys(&self) -> Vec<(String, String, u64)> {
        let mut keys: Vec<_> = self.refused_keys.iter().collect();
        keys.sort_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
        let named = |((limit, key), refused): (&(usize, String), &u64)| {
            (self.limits[*limit].name.clone(), key.clone(), *refused)
        };
        keys.into_iter().take(10).map(named).collect()
    }
}

impl Limit {
    /// None if a part is missing and that is not counted.
    fn key_of(&self, facts: &Facts) -> Option<Vec<(String, String)>> {
        let part = |part: &Vec<&'static str>| match part
            .iter()
            .find_map(|fact| Some((fact, facts.get(fact)?)))
        {
            Some((fact, value)) => Some((fact.to_string(), value.clone())),
            None => (self.missing == "marker").then(Default::default),
        };
        self.key.iter().map(part).collect()
    }

    fn key_text(&self, facts: &Facts) -> String {
        if self.key.is_empty() {
            return "everything".to_owned();
        }
        let part = |part: &Vec<&'static str>| match part
            .iter()
            .find_map(|fact| Some((fact, facts.get(fact)?)))
        {
            Some((fact, value)) => format!("{fact}={value}"),
            None => format!("no {}", part.join("|")),
        };
        self.key.iter().map(part).collect::<Vec<_>>().join(" ")
    }
}

fn glob(pattern: &str, value: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == value,
        Some((start, rest)) => value.strip_prefix(start).is_some_and(|value| {
            (0..=value.len())
                .filter(|at| value.is_char_boundary(*at))
                .any(|at| glob(rest, &value[at..]))
        }),
    }
}

/// The second and the facts of a combined line without escaped quotes.
fn read(line: &str) -> Option<(u64, Facts)> {
    let pieces: Vec<&str> = line.split('"').collect();
    let [head, request, numbers, referer, _, agent, _, ..] = pieces[..] else { return None };
    let (client, date) = head.trim_end().strip_suffix(']')?.split_once(" [")?;
    let mut facts = Facts::new();
    let mut add = |name, value: &str| {
        if value != "-" && !value.is_empty() {
            facts.insert(name, value.to_owned());
        }
    };
    let client: Vec<&str> = client.split(' ').collect();
    add("ip", client[0]);
    add("user", client[2]);
    let words: Vec<&str> = request.split(' ').collect();
    if words.len() >= 3 && words[words.len() - 1].starts_with("HTTP/") {
        add("method", words[0]);
        add("path", &words[1..words.len() - 1].join(" "));
    }
    let (status, bytes) = numbers.trim().split_once(' ')?;
    add("status", status);
    add("bytes", bytes);
    add("referer", referer);
    add("user_agent", agent);
    Some((second_of(date)?, facts))
}

fn second_of(date: &str) -> Option<u64> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let fields: Vec<&str> = date.split(['/', ':', ' ']).collect();
    let [day, month, year, hour, minute, second, zone] = fields[..] else { return None };
    let number = |text: &str| text.parse::<i64>().ok();
    let month = MONTHS.iter().position(|name| *name == month)? as i64;
    let leap = |year: i64| (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    let year = number(year)?;
    let mut days: i64 = (1970..year).map(|year| 365 + i64::from(leap(year))).sum();
    let lengths = [31, 28 + i64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    days += lengths[..month as usize].iter().sum::<i64>() + number(day)? - 1;
    let local = ((days * 24 + number(hour)?) * 60 + number(minute)?) * 60 + number(second)?;
    let zone = number(zone)?;
    let east = (zone / 100 * 60 + zone % 100) * 60;
    u64::try_from(local - east).ok()
}

// ---- Policies ----

fn limit(name: &str, rate: &'static str, burst: u64) -> Limit {
    let (count, period) = rate.split_once('/').unwrap();
    let digits = period.trim_end_matches(|c: char| c.is_alphabetic());
    let unit: i128 = match &period[digits.len()..] {
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        "d" => 86_400_000_000_000,
        unit => panic!("{unit}"),
    };
    Limit {
        name: name.to_owned(),
        key: Vec::new(),
        when: Vec::new(),
        count: count.parse().unwrap(),
        period,
        period_nanos: unit * digits.parse().unwrap_or(1),
        burst,
        missing: "marker",
        shadow: false,
    }
}

impl Limit {
    fn key(mut self, parts: &[&'static str]) -> Limit {
        self.key = parts.iter().map(|part| part.split('|').collect()).collect();
        self
    }

    fn when(mut self, fact: &'static str, patterns: &[&'static str]) -> Limit {
        self.when.push((fact, patterns.to_vec()));
        self
    }
}

fn toml(limits: &[Limit]) -> String {
    let mut text = String::new();
    for limit in limits {
        let key: Vec<String> = limit.key.iter().map(|part| part.join("|")).collect();
        let when: Vec<String> =
            limit.when.iter().map(|(fact, any)| format!("{fact} = {any:?}")).collect();
        let mode = if limit.shadow { "shadow" } else { "enforce" };
        writeln!(
            text,
            "[[limit]]\nname = {:?}\nkey = {key:?}\nrate = \"{}/{}\"\nburst = {}\n\
             missing = {:?}\nmode = {mode:?}",
            limit.name, limit.count, limit.period, limit.burst, limit.missing
        )
        .unwrap();
        if !when.is_empty() {
            writeln!(text, "when = {{ {} }}", when.join(", ")).unwrap();
        }
    }
    text
}

/// Policies for a public data service: the log of erddap.
fn written_policies() -> Vec<Vec<Limit>> {
    vec![
        vec![limit("ip", "60/m", 60).key(&["ip"])],
        vec![
            limit("route", "10/m", 20).key(&["ip", "method"]),
            limit("tables", "1/s", 5).key(&["ip"]).when("path", &["/erddap/tabledap/*"]),
            limit("all", "2/s", 60),
        ],
        vec![
            limit("errors", "7/60s", 7).key(&["ip"]).when("status", &["4*", "5*"]),
            limit("posts", "1/h", 2).key(&["ip", "path"]).when("method", &["POST", "PUT", "HEAD"]),
            Limit { shadow: true, ..limit("watched", "1/s", 1).key(&["ip"]) },
            limit("all", "100/h", 1000).key(&[]),
        ],
        vec![
            Limit { missing: "skip", ..limit("user", "1/d", 1).key(&["user"]) },
            limit("fallback", "3/10s", 4).key(&["user|ip"]).when("path", &["*csv*", "*json*"]),
            Limit { missing: "refuse", ..limit("method", "1000/s", 1000).key(&["method"]) },
        ],
        vec![limit("slow", "1/3650d", 3).key(&["ip"]), limit("fast", "10000000000/s", 1)],
        vec![limit("closed", "1/s", 0).key(&["ip"]).when("method", &["HEAD"])],
    ]
}

struct Random(u64);

impl Random {
    fn pick<T: Clone>(&mut self, of: &[T]) -> T {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        of[((z ^ (z >> 31)) % of.len() as u64) as usize].clone()
    }
}

fn drawn_policy(random: &mut Random) -> Vec<Limit> {
    let limits = random.pick(&[1, 2, 3, 4, 5]);
    (0..limits)
        .map(|index| {
            let rate = random.pick(&[
                "1/s",
                "10/m",
                "7/60s",
                "100/h",
                "3/10s",
                "1/7d",
                "50/s",
                "13/7m",
                "999/11s",
                "1/3650d",
                "10000000000/s",
                "6/11h",
            ]);
            let burst = random.pick(&[0, 1, 2, 5, 7, 20, 60, 100, 1000]);
            let mut limit = limit(&format!("limit {index}"), rate, burst);
            limit = limit.key(random.pick(&[
                &[][..],
                &["ip"],
                &["ip"],
                &["method"],
                &["path"],
                &["ip", "method"],
                &["ip", "path"],
                &["status", "ip"],
                &["user|ip"],
                &["referer|ip", "status"],
                &["user"],
                &["user_agent"],
                &["method", "host|bytes"],
            ]));
            for (fact, patterns) in random.pick(&[
                &[][..],
                &[],
                &[],
                &[("method", &["GET"][..])],
                &[("method", &["GET", "HEAD"]), ("status", &["200"])],
                &[("path", &["/erddap/tabledap/*", "/blog/*"])],
                &[("path", &["*csv*", "*json*", "*.png"]), ("ip", &["1*", "*7*"])],
                &[("status", &["4*", "3*"])],
                &[("ip", &["148.87.179.6", "66.249.73.135"])],
            ]) {
                limit = limit.when(fact, patterns);
            }
            limit.missing = random.pick(&["marker", "marker", "skip", "refuse"]);
            limit.shadow = random.pick(&[false, false, false, true]);
            limit
        })
        .collect()
}

// ---- The comparison ----

fn scratch(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}

/// Runs a policy over a log both ways. Gives how many requests there were, and how many were refused.
fn compare(name: &str, log: &Path, limits: &[Limit]) -> (u64, u64) {
    let mut model = Model::new(limits);
    for line in fs::read_to_string(log).unwrap().lines().filter(|line| !line.trim().is_empty()) {
        model.line(line);
    }

    let (policy, decisions) = (scratch(&format!("{name}.toml")), scratch(&format!("{name}.jsonl")));
    fs::write(&policy, toml(limits)).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_tollgate"))
        .args(["replay", "--json", "--max-unreadable", "100%", "--policy"])
        .args([&policy, Path::new("--decisions"), &decisions, log])
        .output()
        .unwrap();
    let context = || format!("{}\n{}", log.display(), toml(limits));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}\n{}", context());

    let number = |value: &Value, field: &str| value[field].as_u64().unwrap();
    let text = fs::read_to_string(&decisions).unwrap();
    let decided: Vec<Decided> = text
        .lines()
        .map(|line| {
            let line: Value = serde_json::from_str(line).unwrap();
            assert_eq!(line["allowed"], line["limit"].is_null());
            assert_eq!(line["id"], Value::Null);
            assert_eq!(
                line["retry"] == "never",
                line["retry_after_ns"].is_null() && !line["limit"].is_null()
            );
            Decided {
                t: number(&line, "t"),
                limit: line["limit"].as_str().map(str::to_owned),
                retry_nanos: line["retry_after_ns"].as_u64().map(i128::from),
                remaining: line["remaining"].as_u64().map(i128::from),
            }
        })
        .collect();
    assert_eq!(decided.len(), model.decided.len(), "{}", context());
    for (index, (decided, expected)) in decided.iter().zip(&model.decided).enumerate() {
        assert_eq!(decided, expected, "request {index}, {}", context());
    }

    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    let refused: u64 = model.refused.iter().sum();
    let requests = model.decided.len() as u64;
    let counts = ["requests", "admitted", "refused", "unreadable_lines", "last"];
    assert_eq!(
        counts.map(|field| number(&summary, field)),
        [requests, requests - refused, refused, model.unreadable, model.latest.unwrap()],
        "{}",
        context()
    );
    assert_eq!(number(&summary, "first"), model.decided[0].t);
    let disorder = &summary["disorder"];
    let late = (number(disorder, "lines"), number(disorder, "furthest_ns") / 1_000_000_000);
    assert_eq!(late, model.late);
    for (index, limit) in limits.iter().enumerate() {
        let told = &summary["limits"][index];
        assert_eq!(told["name"], limit.name);
        let counts = ["checked", "refused", "shadow_refused", "keys", "overflows"];
        let keys = model.keys[index].len() as u64;
        let (checked, refused) = (model.checked[index], model.refused[index]);
        assert_eq!(
            counts.map(|field| number(told, field)),
            [checked, refused, model.shadow_refused[index], keys, 0],
            "{}, {}",
            limit.name,
            context()
        );
    }
    let top: Vec<(String, String, u64)> = summary["top_refused_keys"]
        .as_array()
        .unwrap()
        .iter()
        .map(|key| {
            let text = |field: &str| key[field].as_str().unwrap().to_owned();
            (text("limit"), text("key"), number(key, "refused"))
        })
        .collect();
    assert_eq!(top, model.top_refused_keys(), "{}", context());
    (requests, refused)
}

#[test]
fn the_example_log_is_decided_as_the_model_does() {
    let log = in_clone("examples/access.log");
    let policy = [
        limit("login", "10/m", 5).key(&["ip"]).when("method", &["POST"]).when("path", &["/login"]),
        limit("user", "50/s", 50).key(&["method", "user|ip"]).when("path", &["/api/*"]),
        Limit { shadow: true, ..limit("bots", "1/s", 1).key(&["user_agent"]) },
        limit("all", "60/s", 100),
    ];
    let (requests, refused) = compare("example", &log, &policy);
    assert!(requests > 500 && refused > 50, "{requests} {refused}");
}

#[test]
fn real_logs_are_decided_as_the_model_does() {
    let traces = std::env::var_os("TOLLGATE_TRACES").filter(|path| !path.is_empty());
    let Some(traces) = traces.map(PathBuf::from) else {
        println!("left out: TOLLGATE_TRACES does not say where the real logs are");
        return;
    };
    let clean = traces.join("erddap-clean.log");
    for (index, policy) in written_policies().iter().enumerate() {
        let (requests, refused) = compare(&format!("written-{index}"), &clean, policy);
        assert_eq!(requests, 10_479);
        assert!(refused > 0, "policy {index} refuses nothing");
    }
    let logs = ["erddap-clean.log", "erddap-raw.log", "apache-disordered.log"];
    let mut random = Random(7);
    let (mut all, mut some, mut none) = (0, 0, 0);
    for index in 0..24 {
        let log = traces.join(logs[index % logs.len()]);
        let policy = drawn_policy(&mut random);
        let (requests, refused) = compare(&format!("drawn-{index}"), &log, &policy);
        match refused {
            0 => none += 1,
            _ if refused == requests => all += 1,
            _ => some += 1,
        }
    }
    assert!(some >= 12, "most policies refuse some: {all} all, {some} some, {none} none");
}

#[test]
fn every_limit_that_refuses_for_a_missing_fact_has_checked_the_request() {
    let log = in_clone("examples/access.log");
    let refuse = |name| Limit { missing: "refuse", ..limit(name, "1/s", 1).key(&["user"]) };
    let (_, refused) = compare("refusing", &log, &[refuse("first"), refuse("second")]);
    assert!(refused > 100);
}
