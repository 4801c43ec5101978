//! Renders a comparison as one HTML page, without scripts or external resources, well-formed as XML
//! too.

mod bars;
mod figures;
mod markup;
mod method;
mod mistakes;
mod plot;
#[cfg(test)]
mod sample;
mod scatter;
mod standing;
mod table;
mod timelines;
mod verdict;

use crate::compare::{Origin, Report};

use crate::text::{count, counted};
use bars::{Measure, Value};
use markup::Text;
use standing::Standing;

const STYLE: &str = include_str!("page/style.css");

/// The page. `command` is the command line that made it.
pub(crate) fn page(report: &Report, command: &str) -> String {
    let standings = standing::all(report);
    let quota = Text(&report.quota);
    let mut html = format!(
        concat!(
            r#"<!DOCTYPE html><html lang="en" xmlns="http://www.w3.org/1999/xhtml"><head><meta charset="utf-8"/>"#,
            r#"<meta name="viewport" content="width=device-width, initial-scale=1"/>"#,
            r#"<meta name="color-scheme" content="light dark"/>"#,
            "<title>Rate limiting algorithms at {quota}</title><style>{style}</style></head><body><header>",
            "<h1>Rate limiting algorithms at {quota}</h1><p>{who} on the same arrivals.</p>",
            r##"<nav aria-label="Sections"><a href="#verdict">Which one</a> <a href="#figures">Figures</a> "##,
            r##"<a href="#excess">Over the quota</a> <a href="#wrongful">Denied wrongly</a> "##,
            r##"<a href="#cost">Speed and memory</a> <a href="#time">Over time</a> <a href="#method">Method</a>"##,
            "</nav></header><main>"
        ),
        quota = quota,
        style = STYLE,
        who = who(&standings),
    );
    verdict::section(&mut html, report, &standings);
    table::section(&mut html, report, &standings);
    for measure in &MEASURES {
        bars::section(&mut html, report, &standings, measure);
    }
    scatter::section(&mut html, report, &standings);
    timelines::section(&mut html, &report.scenarios, &standings);
    mistakes::section(&mut html, report, &standings);
    method::section(&mut html, report, command, &standings);
    html.push_str("</main></body></html>\n");
    html
}

/// `9 algorithms, one of your own and 3 peers`.
fn who(standings: &[Standing]) -> String {
    let many =
        |origin| standings.iter().filter(|standing| standing.about.origin == origin).count() as u64;
    let parts = [
        (many(Origin::Tollgate), "algorithm", "algorithms"),
        (many(Origin::Own), "of your own", "of your own"),
        (many(Origin::Peer), "peer", "peers"),
    ];
    let parts: Vec<String> = parts
        .into_iter()
        .filter(|(many, ..)| *many > 0)
        .map(|(many, one, more)| counted(many, one, more))
        .collect();
    if parts.is_empty() { "Nobody".to_owned() } else { markup::and(&parts) }
}

const MEASURES: [Measure; 2] = [
    Measure {
        id: "excess",
        heading: "Over the quota",
        about: concat!(
            "How much more than the quota the worst window of a period holds. ",
            r#"<span class="key key-stated">what it says it keeps to, where it says so</span>"#
        ),
        nothing: "Nobody is over the quota",
        whole: "the worst of all",
        overall: |standing| {
            let (scenario, share) = standing.worst?;
            let number = figures::over(share);
            Some(Value { numbers: format!("{number}, in {}", scenario.name), number, share })
        },
        at: |scenario, score| {
            let share = standing::excess(scenario, score);
            let numbers = match &score.worst {
                Some(window) => format!(
                    "{} units in its worst {}, from {} on; the quota is {}",
                    count(window.admitted),
                    figures::seconds(scenario.period_s),
                    figures::seconds(window.from_s),
                    count(scenario.count)
                ),
                None => "nothing admitted".to_owned(),
            };
            Value { share, number: figures::over(share), numbers }
        },
        stated: |report, scenario, standing| {
            // The statement is about the quota of the report only.
            let same = scenario.quota == report.quota;
            let over = standing.about.bound.filter(|_| same)?.saturating_sub(scenario.count);
            Some(over as f64 / scenario.count.max(1) as f64)
        },
    },
    Measure {
        id: "wrongful",
        heading: "Denied wrongly",
        about: concat!(
            "The share of requests that are denied although the window that ends then has room. ",
            "It is the price of smoothing, and of keeping little."
        ),
        nothing: "Nobody is denied wrongly",
        whole: "all together",
        overall: |standing| {
            standing.over()?;
            Some(wrongful(standing.wrongful, standing.requests))
        },
        at: |scenario, score| wrongful(score.wrongful_requests, scenario.requests),
        stated: |_, _, _| None,
    },
];

fn wrongful(denied: u64, requests: u64) -> Value {
    Value {
        share: denied as f64 / requests.max(1) as f64,
        number: figures::share(denied, requests),
        numbers: format!(
            "{} of {} denied although there was room",
            count(denied),
            counted(requests, "request", "requests")
        ),
    }
}

/// The CSS class of a contender's marks.
fn kind(origin: Origin) -> &'static str {
    match origin {
        Origin::Tollgate => "ours",
        Origin::Own => "own",
        Origin::Peer => "peer",
    }
}

/// The mark after a name that is not of this crate.
fn badge(origin: Origin) -> &'static str {
    match origin {
        Origin::Tollgate => "",
        Origin::Own => r#" <span class="badge">yours</span>"#,
        Origin::Peer => r#" <span class="badge">peer</span>"#,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use roxmltree::{Document, ParsingOptions};

    const COMMAND: &str = "tollgate compare --log '<b>&.log'";

    fn parse(html: &str) -> Document<'_> {
        let options = ParsingOptions { allow_dtd: true, ..ParsingOptions::default() };
        Document::parse_with_options(html, options).unwrap()
    }

    fn count_of(document: &Document, class: &str) -> usize {
        let classes = |node: &roxmltree::Node| node.attribute("class").unwrap_or("").to_owned();
        document
            .descendants()
            .filter(|node| classes(node).split(' ').any(|one| one == class))
            .count()
    }

    fn texts(html: &str) -> String {
        parse(html)
            .descendants()
            .filter(|node| node.is_text())
            .filter_map(|node| node.text())
            .collect()
    }

    #[test]
    fn what_is_hostile_is_text() {
        let html = page(&sample::report(), COMMAND);
        let document = parse(&html);
        assert!(!document.descendants().any(|node| node.has_tag_name("script")));
        // In each place where a report holds foreign text.
        let shown = sample::HOSTILE.replace('\0', "\u{fffd}");
        for place in ["verdict", "figures", "excess", "cost", "time", "mistakes", "method"] {
            let mut sections =
                document.descendants().filter(|node| node.attribute("id") == Some(place));
            let section = sections.next().unwrap();
            let mut holding = section.descendants().filter_map(|node| node.text());
            assert!(holding.any(|text| text.contains(&shown)), "{place}");
        }
        assert!(texts(&html).contains(COMMAND));
    }

    #[test]
    fn who_took_no_part_has_no_marks_and_is_named() {
        let html = page(&sample::report(), COMMAND);
        let document = parse(&html);
        // Five contenders take the time; one of them cannot do tokens, and its bytes are not known.
        assert_eq!(count_of(&document, "mark-line"), 5 + 5 + 4);
        assert_eq!(count_of(&document, "mark-bar"), 2 * (5 + 5 + 5 + 4));
        assert_eq!(count_of(&document, "mark-point"), 2 * (4 * 2 + 1));
        let texts = texts(&html);
        for said in [
            "Took no part: governor (it takes no cost).",
            "Not in the plots, since its time or its bytes could not be measured: governor",
            "ratelimit took no part: ",
            "\u{2020} Took part in some scenarios only",
            "* Reading its own clock is part of its time.",
        ] {
            assert!(texts.contains(said), "{said}");
        }
    }

    #[test]
    fn the_verdict_follows_the_report() {
        let fact = |report: &Report, term: &str| {
            let html = page(report, COMMAND);
            let document = parse(&html);
            let fact = document.descendants().find(|node| {
                node.has_tag_name(("http://www.w3.org/1999/xhtml", "dt"))
                    && node.text() == Some(term)
            })?;
            let what = fact.next_sibling_element()?;
            Some(
                what.descendants()
                    .filter(|node| node.is_text())
                    .filter_map(|node| node.text())
                    .collect::<String>(),
            )
        };
        let mut report = sample::report();
        assert_eq!(fact(&report, "Never over the quota").unwrap(), "sliding log");
        assert_eq!(fact(&report, "Nobody denied wrongly").unwrap(), "GCRA and sliding log");
        assert_eq!(fact(&report, "Smallest memory").unwrap(), "GCRA: 24\u{a0}B a key");
        for scenario in &mut report.scenarios {
            scenario.scores[2].excess = 7;
            scenario.scores[0].wrongful_requests = 1;
            scenario.scores[2].wrongful_requests = 1;
        }
        report.speed = None;
        assert_eq!(fact(&report, "Never over the quota"), None);
        assert_eq!(
            fact(&report, "Closest to the quota").unwrap(),
            "sliding log: +7.0\u{a0}% in its worst window"
        );
        assert_eq!(fact(&report, "Nobody denied wrongly"), None);
        assert!(
            fact(&report, "Fewest denied wrongly")
                .unwrap()
                .starts_with("GCRA and sliding log: under 0.1")
        );
        assert_eq!(fact(&report, "Smallest memory"), None);
    }

    #[test]
    fn nothing_measured_is_said_and_no_plot_is_empty() {
        let mut report = sample::report();
        report.speed = None;
        let html = page(&report, COMMAND);
        assert!(texts(&html).contains("Speed and memory were not measured."));
        assert_eq!(count_of(&parse(&html), "scatter"), 0);
        report.scenarios.clear();
        report.contenders.clear();
        let html = page(&report, COMMAND);
        assert!(!html.contains("<svg"));
        for said in [
            "there is nothing to compare",
            "No arrivals were compared",
            "Nobody took part in anything",
        ] {
            assert!(texts(&html).contains(said), "{said}");
        }
    }
}
