//! The table of mistakes that limiters have shipped, and of the contenders that make them.

use std::fmt::Write;

use crate::compare::{Outcome, Report};

use super::badge;
use super::markup::Outside;
use super::standing::Standing;
use crate::text::count;

pub(super) fn section(html: &mut String, report: &Report, standings: &[Standing]) {
    if report.checks.is_empty() {
        return;
    }
    let _ = write!(
        html,
        r#"<section id="mistakes"><h2>Known mistakes</h2><p>{} mistakes that limiters have shipped were looked for. Those that were found:</p>"#,
        count(report.checks.len() as u64)
    );
    let mut found = String::new();
    for (index, check) in report.checks.iter().enumerate() {
        let seen: Vec<String> = standings
            .iter()
            .filter_map(|standing| match standing.about.mistakes.get(index)? {
                Outcome::Shows(seen) => Some(format!(
                    "<li>{}{}: {}</li>",
                    Outside(standing.name()),
                    badge(standing.about.origin),
                    Outside(seen)
                )),
                Outcome::Right | Outcome::DoesNotApply(_) => None,
            })
            .collect();
        if !seen.is_empty() {
            let _ = write!(
                found,
                r#"<dt id="mistake-{row}">{row}. {}</dt><dd><ul>{}</ul></dd>"#,
                Outside(&check.what),
                seen.concat(),
                row = check.row
            );
        }
    }
    if found.is_empty() {
        html.push_str("<p>None.</p>");
    } else {
        let _ = write!(html, r#"<dl class="mistakes">{found}</dl>"#);
    }
    html.push_str("</section>");
}
