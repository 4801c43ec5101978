//! The section of the page about how the figures were measured.

use std::fmt::Write;

use crate::compare::Report;

use super::markup::{Outside, sentence};
use super::standing::Standing;
use super::{badge, figures};
use crate::text::{count, counted};

pub(super) fn section(html: &mut String, report: &Report, command: &str, standings: &[Standing]) {
    html.push_str(r#"<section id="method"><h2>How it was measured</h2><dl class="method">"#);
    let mut fact = |term: &str, what: String| {
        let _ = write!(html, "<dt>{term}</dt><dd>{what}</dd>");
    };
    fact("Command", format!("<code>{}</code>", Outside(command)));
    fact("Quota", Outside(&report.quota).to_string());
    fact("Seed", report.seed.to_string());
    fact("Over the quota", concat!(
        "each key is held against the exact log of what it was admitted: the window of a period, wherever it begins, ",
        "that holds most of it, against the count of the quota; on average is the mean of the scenarios' worst").to_owned());
    fact("Denied wrongly", concat!(
        "a request that was denied although the window that ends at it had room for it, by what the same limiter ",
        "had admitted before").to_owned());
    fact("Stated waits", "of a sample of those denied, against the least wait after which the same request is allowed".to_owned());
    fact(
        "Speed and memory",
        match &report.speed {
            Some(speed) => format!(
                "medians of {} in which the contenders took turns, of the system's monotonic clock; the time is passed in, or set on a clock of the contender's; keys are numbers in random order; Tollgate hashes them with SipHash, the others as they do unless told otherwise",
                counted(speed.rounds, "round", "rounds")
            ),
            None => {
                "not measured; without them the page is the same for the same seed, to the byte"
                    .to_owned()
            }
        },
    );
    html.push_str("</dl>");
    if !report.notes.is_empty() {
        html.push_str("<ul>");
        for note in &report.notes {
            let _ = write!(html, "<li>{}</li>", Outside(&sentence(note)));
        }
        html.push_str("</ul>");
    }
    contenders(html, standings);
    scenarios(html, report);
    html.push_str("</section>");
}

fn contenders(html: &mut String, standings: &[Standing]) {
    html.push_str(concat!(
        r#"<div class="wide" role="region" tabindex="0" aria-label="Contenders"><table class="words">"#,
        r#"<caption><span>Contenders</span></caption><thead><tr><th scope="col">Name</th><th scope="col">What it is</th>"#,
        r#"<th scope="col">Says it admits at most</th></tr></thead><tbody>"#
    ));
    for standing in standings {
        let bound = standing
            .about
            .bound
            .map_or_else(|| "–".to_owned(), |bound| format!("{} a period", count(bound)));
        let _ = write!(
            html,
            r#"<tr><th scope="row">{}{}</th><td>{}</td><td>{bound}</td></tr>"#,
            Outside(standing.name()),
            badge(standing.about.origin),
            Outside(&sentence(&standing.about.what))
        );
    }
    html.push_str("</tbody></table></div>");
}

fn scenarios(html: &mut String, report: &Report) {
    if report.scenarios.is_empty() {
        return;
    }
    html.push_str(concat!(
        r#"<div class="wide" role="region" tabindex="0" aria-label="Scenarios"><table class="words">"#,
        r#"<caption><span>Scenarios</span></caption><thead><tr><th scope="col">Name</th><th scope="col">What arrives</th>"#,
        r#"<th scope="col">Quota</th><th scope="col">Requests</th><th scope="col">Units</th><th scope="col">Keys</th>"#,
        r#"<th scope="col">Time</th></tr></thead><tbody>"#
    ));
    for (index, scenario) in report.scenarios.iter().enumerate() {
        let _ = write!(
            html,
            concat!(
                r##"<tr><th scope="row"><a href="#time-{}">{}</a></th><td>{}</td><td>{}</td><td>{}</td><td>{}</td>"##,
                "<td>{}</td><td>{}</td></tr>"
            ),
            index,
            Outside(&scenario.name),
            Outside(&sentence(&scenario.what)),
            Outside(&scenario.quota),
            count(scenario.requests),
            count(scenario.units),
            count(scenario.keys),
            figures::seconds(scenario.duration_s)
        );
    }
    html.push_str("</tbody></table></div>");
}
