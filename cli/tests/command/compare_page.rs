//! The page of `tollgate compare`: what is in it, and what a reader sees of it.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;

use crate::browser::{Browser, Scheme};
use crate::{Ended, command, scratch};
use roxmltree::{Document, Node, ParsingOptions};
use serde_json::Value;

/// A file name that a shell, an XML reader and a browser could each take for more than a name.
const HOSTILE: &str = "a&b<script>alert('1')<%2Fscript>\"\u{202e}.log";

/// A page, and the figures it shows.
struct Compared {
    path: PathBuf,
    html: String,
    report: Value,
}

/// Compares a log too, and measures speed if `args` ask for it. Each test has a folder of its own.
fn compare(test: &str, args: &[&str]) -> Compared {
    let folder = scratch(&format!("compare_page_{test}"));
    fs::create_dir_all(&folder).unwrap();
    let log = folder.join(HOSTILE);
    let line = |second: usize| {
        let client = second % 3;
        format!(
            "10.0.0.{client} - - [12/May/2024:00:00:{second:02} +0000] \"GET / HTTP/1.1\" 200 1\n"
        )
    };
    fs::write(&log, (0..60).map(line).collect::<String>() + "not a line\n").unwrap();
    let path = folder.join("page.html");
    let mut all = vec!["compare", "--quota", "10/s", "--json", "--log", log.to_str().unwrap()];
    all.extend(["--html", path.to_str().unwrap()]);
    all.extend(args);
    let report = Ended::from(command(&all).output().unwrap()).expect(0).json();
    let html = fs::read_to_string(&path).unwrap();
    Compared { path, html, report }
}

/// The page that most tests examine: some scenarios, and speed.
static PAGE: LazyLock<Compared> = LazyLock::new(|| {
    let scenarios = ["edges", "tokens", "two-windows", "log"];
    let scenarios = scenarios.iter().flat_map(|name| ["--scenario", name]);
    let speed = ["--speed", "--keys", "100", "--keys", "200"];
    compare("page", &scenarios.chain(speed).collect::<Vec<_>>())
});

fn parse(html: &str) -> Document<'_> {
    let options = ParsingOptions { allow_dtd: true, ..ParsingOptions::default() };
    Document::parse_with_options(html, options).unwrap()
}

fn list<'a>(value: &'a Value, name: &str) -> &'a Vec<Value> {
    value[name].as_array().unwrap_or_else(|| panic!("no list {name}"))
}

/// The marks that each plot must have, by the id of its title.
fn expected(report: &Value) -> BTreeMap<String, (&'static str, u64)> {
    let mut plots = BTreeMap::new();
    let able = |scenario: &Value| {
        let scores = list(scenario, "scores").iter();
        scores.filter(|score| score["unable"].is_null()).count() as u64
    };
    let told =
        list(report, "contenders").iter().filter(|contender| contender["takes_time"] == true);
    let told = told.count() as u64;
    for measure in ["excess", "wrongful"] {
        plots.insert(format!("{measure}-0-title"), ("mark-bar", told));
    }
    for (index, scenario) in list(report, "scenarios").iter().enumerate() {
        for (measure, figure) in [("excess", "excess"), ("wrongful", "wrongful_requests")] {
            // If no contender has a bar, a sentence says so instead.
            if list(scenario, "scores").iter().any(|score| score[figure].as_u64() > Some(0)) {
                plots
                    .insert(format!("{measure}-{}-title", index + 1), ("mark-bar", able(scenario)));
            }
        }
        for place in 0..able(scenario) {
            plots.insert(format!("time-{index}-{place}-title"), ("mark-line", 1));
        }
    }
    if let Some(rows) = report["speed"]["rows"].as_array() {
        let mut keys: Vec<u64> = rows.iter().map(|row| row["keys"].as_u64().unwrap()).collect();
        keys.sort_unstable();
        keys.dedup();
        for (index, keys) in keys.iter().enumerate() {
            let placed =
                rows.iter().filter(|row| row["keys"] == *keys && row["bytes_per_key"].is_number());
            let times = placed.flat_map(|row| [&row["allowed_ns"], &row["denied_ns"]]);
            let points = times.filter(|time| time.is_number()).count() as u64;
            if points > 0 {
                plots.insert(format!("cost-{index}-title"), ("mark-point", points));
            }
        }
    }
    plots
}

fn classes<'a>(node: Node<'a, '_>) -> impl Iterator<Item = &'a str> {
    node.attribute("class").unwrap_or("").split(' ')
}

fn texts(node: Node<'_, '_>) -> String {
    node.descendants().filter(Node::is_text).filter_map(|node| node.text()).collect()
}

fn section<'a>(document: &'a Document, id: &str) -> Node<'a, 'a> {
    document.descendants().find(|node| node.attribute("id") == Some(id)).unwrap()
}

// ---- without a browser ----

#[test]
fn each_plot_has_its_marks() {
    let Compared { html, report, .. } = &*PAGE;
    let document = parse(html);
    let mut drawn = BTreeMap::new();
    for svg in document
        .descendants()
        .filter(|node| node.has_tag_name(("http://www.w3.org/2000/svg", "svg")))
    {
        let marks =
            svg.descendants().filter(|node| classes(*node).any(|class| class.starts_with("mark-")));
        let marks: Vec<Node> = marks.collect();
        let kind = classes(marks[0]).next().unwrap();
        assert!(marks.iter().all(|mark| classes(*mark).next() == Some(kind)), "one kind in a plot");
        for mark in &marks {
            let title = mark.first_element_child().expect("a mark has a title");
            assert!(title.has_tag_name("title") && texts(title).len() > 10);
        }
        drawn.insert(
            svg.attribute("aria-labelledby").unwrap().to_owned(),
            (kind, marks.len() as u64),
        );
    }
    assert_eq!(drawn, expected(report).into_iter().collect());
    let kinds = |wanted| drawn.values().filter(|(kind, _)| *kind == wanted).count();
    assert!(kinds("mark-line") >= 40 && kinds("mark-bar") >= 5, "{drawn:?}");
    assert_eq!(kinds("mark-point"), 2);
}

#[test]
fn a_line_tells_the_numbers_of_its_contender() {
    let Compared { html, report, .. } = &*PAGE;
    let titles: Vec<String> = {
        let document = parse(html);
        let lines =
            document.descendants().filter(|node| node.attribute("class") == Some("mark-line"));
        lines.map(texts).collect()
    };
    let mut lines = 0;
    for scenario in list(report, "scenarios") {
        for score in list(scenario, "scores").iter().filter(|score| score["unable"].is_null()) {
            let begin = format!(
                "{}, {}: ",
                score["contender"].as_str().unwrap(),
                scenario["name"].as_str().unwrap()
            );
            let title = titles
                .iter()
                .find(|title| title.starts_with(&begin))
                .unwrap_or_else(|| panic!("no line {begin}"));
            let digits = title.replace(',', "");
            assert!(
                digits.contains(&format!(
                    "{} of {} units admitted",
                    score["admitted"], scenario["units"]
                )),
                "{title}"
            );
            assert!(digits.contains(&format!("{} request", score["wrongful_requests"])), "{title}");
            lines += 1;
        }
    }
    assert_eq!(lines, titles.len());
}

#[test]
fn it_stands_alone() {
    let document = parse(&PAGE.html);
    let ids: Vec<&str> = document.descendants().filter_map(|node| node.attribute("id")).collect();
    let mut unique = ids.clone();
    unique.sort_unstable();
    unique.dedup();
    assert_eq!(ids.len(), unique.len(), "ids are unique");
    for node in document.descendants().filter(Node::is_element) {
        let tag = node.tag_name().name();
        let loads = [
            "script", "link", "img", "image", "iframe", "object", "embed", "base", "use", "video",
            "audio", "form",
        ];
        assert!(!loads.contains(&tag), "{tag}");
        for attribute in node.attributes() {
            let (name, value) = (attribute.name(), attribute.value());
            assert!(!name.starts_with("on"), "{tag} {name}");
            assert!(!["src", "srcset", "style", "action", "data"].contains(&name), "{tag} {name}");
            if name == "href" {
                let target =
                    value.strip_prefix('#').unwrap_or_else(|| panic!("{tag} goes to {value}"));
                assert!(ids.contains(&target), "there is no {target}");
            }
            if ["aria-labelledby", "aria-describedby"].contains(&name) {
                assert!(ids.contains(&value), "there is no {value}");
            }
        }
        if tag == "style" {
            let style = texts(node);
            assert!(
                !style.contains("url(") && !style.contains("@import"),
                "the style loads something"
            );
        }
    }
}

#[test]
fn what_comes_from_outside_is_text() {
    let document = parse(&PAGE.html);
    assert!(!document.descendants().any(|node| node.has_tag_name("script")));
    let shown = |wanted: &str| {
        let holding = document.descendants().filter(Node::is_element);
        holding
            .filter(|node| {
                node.children()
                    .any(|child| child.is_text() && child.text().unwrap().contains(wanted))
            })
            .count()
    };
    // What the scenario is (twice), the note of the line that cannot be read, the command.
    let name = "<script>alert(";
    assert!(shown(name) >= 4, "{}", shown(name));
}

#[test]
fn the_same_seed_gives_the_same_page_and_says_what_it_left_out() {
    let seeded = |seed: &str| compare("seed", &["--scenario", "poisson", "--seed", seed]).html;
    let page = seeded("7");
    assert_eq!(page, seeded("7"));
    assert_ne!(page, seeded("8"));
    let document = parse(&page);
    let cost = section(&document, "cost");
    assert!(texts(cost).contains("Speed and memory were not measured"));
    assert!(!cost.descendants().any(|node| node.has_tag_name("svg")), "an empty plot");
    if cfg!(not(feature = "peers")) {
        assert!(
            texts(section(&document, "figures"))
                .contains("governor took no part: compiled without")
        );
    }
}

// ---- in a browser ----

#[test]
fn a_reader_sees_every_mark_and_reads_every_word() {
    let Some(browser) = Browser::find() else {
        println!(
            "left out: no page was looked at, for want of a Chromium on the path or in TOLLGATE_CHROMIUM"
        );
        return;
    };
    let Compared { path, report, .. } = &*PAGE;
    let expected = expected(report);
    let mut grounds = Vec::new();
    for (scheme, width) in
        [(Scheme::Light, 360), (Scheme::Light, 1400), (Scheme::Dark, 360), (Scheme::Dark, 1400)]
    {
        let seen = browser.probe(path, scheme, width);
        let at = format!("{scheme:?}, {width} wide");
        assert_eq!(seen["width"], width, "{at}");
        assert!(seen["needed"].as_u64() <= Some(width.into()), "{at}: has to be scrolled sideways");
        assert_eq!(seen["dark"], matches!(scheme, Scheme::Dark), "{at}");
        assert_eq!(seen["requests"], Value::Array(vec![]), "{at}: loads something");
        assert!(seen["texts"].as_u64() > Some(100), "{at}: {}", seen["texts"]);
        assert_eq!(seen["pale"], Value::Array(vec![]), "{at}: contrast below 4.5");
        let mut plots = BTreeMap::new();
        for plot in list(&seen, "plots") {
            let id = plot["id"].as_str().unwrap();
            for fault in ["faint", "clipped", "covered"] {
                assert_eq!(plot[fault], Value::Array(vec![]), "{at}: {fault} in {id}");
            }
            let marks: Vec<(&String, &Value)> = plot["marks"].as_object().unwrap().iter().collect();
            assert_eq!(marks.len(), 1, "{at}: one kind of marks in {id}");
            plots.insert(id.to_owned(), (marks[0].0.clone(), marks[0].1.as_u64().unwrap()));
        }
        let expected =
            expected.iter().map(|(id, (kind, marks))| (id.clone(), ((*kind).to_owned(), *marks)));
        assert_eq!(plots, expected.collect(), "{at}");
        grounds.push(seen["ground"].clone());
    }
    assert_eq!(grounds[0], grounds[1]);
    assert_eq!(grounds[2], grounds[3]);
    assert_ne!(grounds[0], grounds[2], "dark is not light");
}
