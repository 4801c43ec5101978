//! A comparison as one HTML page: no script, nothing loaded, well-formed as XML too.

mod bars;
mod figures;
mod markup;
mod method;
mod plot;
#[cfg(test)]
mod sample;
mod scatter;
mod standing;
mod table;
mod timelines;
mod verdict;

use tollgate::compare::{Origin, Report};

use crate::text::{count, counted};
use bars::{Measure, Value};
use markup::Text;
use standing::Standing;

const STYLE: &str = include_str!("page/style.css");

/// The page. `command` is what was asked for, as it was typed.
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
            // It is said of the report's quota only.
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

/// The class of marks of a contender.
fn kind(origin: Origin) -> &'static str {
    match origin {
        Origin::Tollgate => "ours",
        Origin::Own => "own",
        Origin::Peer => "peer",
    }
}

/// What a name that is not of this crate carries.
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

    #[test]
    fn what_is_hostile_is_text() {
        if let Ok(to) = std::env::var("DUMP") {
            std::fs::write(to, page(&sample::report(), COMMAND)).unwrap();
        }
        let html = page(&sample::report(), COMMAND);
        let document = parse(&html);
        assert!(document.descendants().all(|node| !node.has_tag_name("script")));
    }
}
