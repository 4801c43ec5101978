//! The section of the page that says which limiter to use: the best at each thing, and the effect
//! of each on users.

use std::fmt::Write;

use super::markup::{Outside, and};
use super::standing::{Standing, fewest_keys};
use super::{badge, figures};
use crate::compare::Report;
use crate::text::{count, counted};

/// Costs that differ by less than this share count as the same.
const ALIKE: f64 = 0.1;

/// A saving from this share on is mentioned.
const CHEAPER: f64 = 0.25;

/// More equal contenders than this are counted, not named.
const NAMED: usize = 6;

pub(super) fn section(html: &mut String, report: &Report, standings: &[Standing]) {
    html.push_str(r#"<section id="verdict"><h2>Which one</h2>"#);
    let whole: Vec<&Standing> = standings.iter().filter(|standing| standing.is_whole()).collect();
    if whole.is_empty() {
        html.push_str(
            "<p>Nobody took part in everything: there is nothing to compare.</p></section>",
        );
        return;
    }
    html.push_str("<dl class=\"best\">");
    let mut fact = |term: &str, what: String| {
        let _ = write!(html, "<div><dt>{term}</dt><dd>{what}</dd></div>");
    };
    let exact = |standing: &&Standing| standing.over() == Some(0.0) && standing.wrongful == 0;
    let exact: Vec<&Standing> = whole.iter().copied().filter(exact).collect();
    if !exact.is_empty() {
        fact("Never over, nobody denied wrongly", names(&exact));
    }
    let over = best(&whole, |standing| standing.over(), 0.0);
    match over.value {
        ..=0.0 => fact("Never over the quota", over.names()),
        value => fact(
            "Closest to the quota",
            format!("{}: {} in its worst window", over.names(), figures::over(value)),
        ),
    }
    let wrongful = best(&whole, |standing| Some(standing.wrongful_share()), 0.0);
    let least = wrongful.winners.first().map_or(0, |standing| standing.wrongful);
    match least {
        0 => fact("Nobody denied wrongly", wrongful.names()),
        _ => fact(
            "Fewest denied wrongly",
            format!("{}: {}", wrongful.names(), share_of(&wrongful.winners)),
        ),
    }
    let exact: Vec<&Standing> =
        whole.iter().copied().filter(|standing| standing.waits_exactly()).collect();
    if !exact.is_empty() {
        fact("Tells the exact wait", names(&exact));
    }
    // Contenders that read their own clock have a speed too.
    let all: Vec<&Standing> = standings.iter().collect();
    let costs: [(&str, Cost, Unit); 3] = [
        ("Cheapest to ask", |standing| standing.allowed_ns(), figures::nanos),
        ("Cheapest to deny", |standing| standing.denied_ns(), figures::nanos),
        (
            "Smallest memory",
            |standing| standing.bytes(),
            |bytes| format!("{} a key", figures::bytes(bytes)),
        ),
    ];
    for (term, value, text) in costs {
        let cheapest = best(&all, value, ALIKE);
        if !cheapest.winners.is_empty() {
            let mut what = format!("{}: {}", cheapest.names(), text(cheapest.value));
            let own: Vec<&Standing> = all.iter().copied().filter(|one| !one.is_peer()).collect();
            let own = best(&own, value, ALIKE);
            if cheapest.winners.iter().all(|winner| winner.is_peer()) && !own.winners.is_empty() {
                let _ = write!(what, ", before {}: {}", own.names(), text(own.value));
            }
            fact(term, what);
        }
    }
    html.push_str("</dl>");
    let keys = match fewest_keys(report) {
        Some(keys) => format!("Speed and memory are those with {}.", counted(keys, "key", "keys")),
        None => "Speed and memory were not measured.".to_owned(),
    };
    let _ = write!(
        html,
        "<p>{keys} Everything else is of the worst that happened in {}.</p>",
        counted(report.scenarios.len() as u64, "scenario", "scenarios")
    );
    advice(html, standings);
    html.push_str("</section>");
}

/// The cost of a contender, if it was measured.
type Cost = fn(&Standing) -> Option<f64>;

/// A cost as text.
type Unit = fn(f64) -> String;

/// The contenders with the smallest value, and those within the margin of it.
struct Best<'a> {
    value: f64,
    winners: Vec<&'a Standing<'a>>,
}

impl Best<'_> {
    fn names(&self) -> String {
        names(&self.winners)
    }
}

fn best<'a>(
    among: &[&'a Standing<'a>],
    value: fn(&Standing) -> Option<f64>,
    alike: f64,
) -> Best<'a> {
    let values = || among.iter().filter_map(|standing| Some((*standing, value(standing)?)));
    let least = values().map(|(_, value)| value).fold(f64::INFINITY, f64::min);
    let as_good = values().filter(|(_, value)| *value <= least * (1.0 + alike));
    Best { value: least, winners: as_good.map(|(standing, _)| standing).collect() }
}

/// This crate's and the user's own contenders come first; peers are marked.
fn names(standings: &[&Standing]) -> String {
    let mut names: Vec<String> = standings
        .iter()
        .take(NAMED)
        .map(|standing| {
            format!("<b>{}</b>{}", Outside(standing.name()), badge(standing.about.origin))
        })
        .collect();
    if standings.len() > NAMED {
        names.push(format!("{} more", count((standings.len() - NAMED) as u64)));
    }
    and(&names)
}

fn share_of(standings: &[&Standing]) -> String {
    standings.first().map_or_else(String::new, |standing| {
        let share = figures::share(standing.wrongful, standing.requests);
        format!("{share} of {}", counted(standing.requests, "request", "requests"))
    })
}

/// One line per algorithm that is not a peer.
fn advice(html: &mut String, standings: &[Standing]) {
    let ours: Vec<&Standing> = standings
        .iter()
        .filter(|standing| !standing.is_peer() && standing.over().is_some())
        .collect();
    if ours.is_empty() {
        return;
    }
    html.push_str(concat!(
        r#"<div class="wide" role="region" tabindex="0" aria-label="When to use which">"#,
        r#"<table class="advice"><caption><span>When to use which</span></caption><thead><tr><th scope="col">Algorithm</th>"#,
        r#"<th scope="col">Use it when</th><th scope="col">Your users</th><th scope="col">You pay</th></tr></thead><tbody>"#
    ));
    for standing in &ours {
        let _ = write!(
            html,
            r#"<tr><th scope="row">{}{}</th><td data-head="Use it when">{}</td><td data-head="Your users">{}</td><td data-head="You pay">{}</td></tr>"#,
            Outside(standing.name()),
            badge(standing.about.origin),
            use_when(standing, &ours),
            users(standing),
            price(standing)
        );
    }
    html.push_str("</tbody></table></div>");
}

fn use_when(standing: &Standing, ours: &[&Standing]) -> String {
    let over = standing.over().unwrap_or(0.0);
    let when = match (over > 0.0, standing.wrongful > 0) {
        (false, false) => "the quota must hold in every window, to the last request".to_owned(),
        (false, true) => {
            "the quota must hold in every window, and a denial too many does no harm".to_owned()
        }
        (true, false) => format!(
            "what you protect can take {}, and nobody may be denied in vain",
            more(standing)
        ),
        (true, true) => format!("what you protect can take {}", more(standing)),
    };
    let better: Vec<&Standing> =
        ours.iter().copied().filter(|other| is_better(other, standing)).collect();
    if better.is_empty() {
        when
    } else {
        format!(
            "{when}; but {}: never further over, denying no more wrongly, cheaper",
            names(&better)
        )
    }
}

/// Whether one contender is at least as right as another in everything, and cheaper by more than
/// noise.
fn is_better(one: &Standing, other: &Standing) -> bool {
    let costs = |standing: &Standing| {
        Some([standing.allowed_ns()?, standing.denied_ns()?, standing.bytes()?])
    };
    let (Some(costs_one), Some(costs_other)) = (costs(one), costs(other)) else { return false };
    let pairs = || costs_one.iter().zip(&costs_other);
    let no_dearer = pairs().all(|(one, other)| *one <= other * (1.0 + ALIKE));
    let cheaper = pairs().any(|(one, other)| one * (1.0 + CHEAPER) < *other);
    let as_right = one.overs.iter().zip(&other.overs).all(|(one, other)| one <= other)
        && one.wrongful <= other.wrongful
        && one.waits_exactly() >= other.waits_exactly();
    one.is_whole() && other.is_whole() && as_right && no_dearer && cheaper
}

/// How much more than the quota a user has to be ready for.
fn more(standing: &Standing) -> String {
    let text = |share: Option<f64>| figures::over(share.unwrap_or(0.0)).replace('+', "");
    let (most, mean) = (text(standing.over()), text(standing.mean_over()));
    format!("{most} more than the quota in a window ({mean} on average)")
}

fn users(standing: &Standing) -> String {
    let denied = match standing.wrongful {
        0 => "nobody is denied while there is room".to_owned(),
        wrongful => format!(
            "{} of requests are denied though there is room",
            figures::share(wrongful, standing.requests)
        ),
    };
    let Some(waits) = &standing.waits else { return denied };
    let told = if standing.waits_exactly() {
        "the wait they are told is exact".to_owned()
    } else if waits.stated == 0 {
        "they are told no wait".to_owned()
    } else {
        format!("the wait they are told is off ({})", figures::waits(waits))
    };
    format!("{denied}; {told}")
}

fn price(standing: &Standing) -> String {
    let parts = [
        standing.allowed_ns().map(|nanos| format!("{} to allow", figures::nanos(nanos))),
        standing.denied_ns().map(|nanos| format!("{} to deny", figures::nanos(nanos))),
        standing.bytes().map(|bytes| format!("{} a key", figures::bytes(bytes))),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    if parts.is_empty() { "not measured".to_owned() } else { parts.join(",<br/> ") }
}
