//! Plots what each contender admitted over time: a small plot each, all of a scenario on the same
//! scales.

use std::fmt::Write;

use crate::compare::{Scenario, Score};

use super::figures;
use super::markup::{Outside, Text, sentence};
use super::plot::{Anchor, Area, Plot, Px, Scale, ticks};
use super::standing::{self, Standing};
use super::{badge, kind};
use crate::text::{count, counted};

const SIZE: (f64, f64) = (320.0, 130.0);
const AREA: Area = Area { left: 44.0, right: 310.0, top: 8.0, bottom: 106.0 };

pub(super) fn section(html: &mut String, scenarios: &[Scenario], standings: &[Standing]) {
    html.push_str(r#"<section id="time"><h2>What is admitted over time</h2>"#);
    if scenarios.is_empty() {
        html.push_str("<p>No arrivals were compared.</p>");
    } else {
        html.push_str(concat!(
            r#"<p class="legend"><span class="key key-line">admitted</span>"#,
            r#"<span class="key key-over">over the quota</span>"#,
            r#"<span class="key key-offered">asked for</span>"#,
            r#"<span class="key key-quota">the quota</span></p>"#
        ));
    }
    for (index, scenario) in scenarios.iter().enumerate() {
        panels(html, index, scenario, standings);
    }
    html.push_str("</section>");
}

/// The scales and lines that all panels of a scenario share.
struct Panels<'a> {
    scenario: &'a Scenario,
    trail: Trail,
    offered: Vec<f64>,
    /// The quota of all keys together; `None` if it is far above everything.
    quota: Option<f64>,
    time: Scale,
    units: Scale,
    ticks: Vec<f64>,
}

fn panels(html: &mut String, index: usize, scenario: &Scenario, standings: &[Standing]) {
    let drawn: Vec<(&Standing, &Score)> = standings
        .iter()
        .filter_map(|standing| Some((standing, standing::score(scenario, standing.about)?)))
        .filter(|(_, score)| score.unable.is_none())
        .collect();
    let _ = write!(
        html,
        r#"<h3 id="time-{index}">{}</h3><p>{} {} of {} for {}, {}.</p>"#,
        Outside(&scenario.name),
        Outside(&sentence(&scenario.what)),
        counted(scenario.requests, "request", "requests"),
        counted(scenario.keys, "key", "keys"),
        figures::seconds(scenario.duration_s),
        Outside(&scenario.quota),
    );
    if drawn.is_empty() {
        html.push_str("<p>Nobody took part.</p>");
        return;
    }
    let panels = Panels::new(scenario, &drawn);
    let _ = write!(html, "<p>{}</p>", panels.caption());
    for peers in [false, true] {
        let group =
            drawn.iter().enumerate().filter(|(_, (standing, _))| standing.is_peer() == peers);
        let mut group = group.peekable();
        if group.peek().is_none() {
            continue;
        }
        if peers {
            html.push_str("<h4>Peers</h4>");
        }
        html.push_str(r#"<div class="panels">"#);
        for (place, (standing, score)) in group {
            let id = format!("time-{index}-{place}");
            let _ = write!(
                html,
                r#"<figure class="panel"><figcaption><b>{}</b>{} <span>{}</span></figcaption>{}</figure>"#,
                Outside(standing.name()),
                badge(standing.about.origin),
                summary(scenario, score),
                panels.panel(&id, standing, score),
            );
        }
        html.push_str("</div>");
    }
    let unable: Vec<String> = standings
        .iter()
        .flat_map(|standing| standing.unable.iter().map(move |unable| (standing, unable)))
        .filter(|(_, (at, _))| at.name == scenario.name)
        .map(|(standing, (_, why))| format!("{} ({})", Outside(standing.name()), Outside(why)))
        .collect();
    if !unable.is_empty() {
        let _ = write!(html, r#"<p class="left-out">Took no part: {}.</p>"#, unable.join("; "));
    }
}

/// `1,234 of 2,000 admitted; at most +98 %; 12 wrongly denied`.
fn summary(scenario: &Scenario, score: &Score) -> String {
    let worst = match standing::excess(scenario, score) {
        ..=0.0 => "never over".to_owned(),
        share => format!("worst {}", figures::over(share)),
    };
    let wrongly = match score.wrongful_requests {
        0 => "none wrongly denied".to_owned(),
        wrongful => format!("{} wrongly denied", figures::share(wrongful, scenario.requests)),
    };
    let admitted = figures::share(score.admitted, scenario.units);
    format!("{admitted} admitted, {worst}, {wrongly}")
}

impl<'a> Panels<'a> {
    fn new(scenario: &'a Scenario, drawn: &[(&Standing, &Score)]) -> Panels<'a> {
        let trail = Trail::of(scenario);
        let highest = |steps: &[f64]| steps.iter().copied().fold(0.0, f64::max);
        let admitted = drawn
            .iter()
            .map(|(_, score)| highest(&trail.over(&score.admitted_by_step)))
            .fold(0.0, f64::max);
        let offered = trail.over(&scenario.offered);
        let quota = scenario.count as f64 * scenario.keys.max(1) as f64;
        let quota = (quota <= 2.0 * admitted.max(highest(&offered))).then_some(quota);
        let end = admitted.max(quota.unwrap_or(0.0)).max(f64::MIN_POSITIVE) * 1.06;
        Panels {
            scenario,
            trail,
            offered,
            quota,
            time: Scale::linear((0.0, scenario.duration_s), (AREA.left, AREA.right)),
            units: Scale::linear((0.0, end), (AREA.bottom, AREA.top)),
            ticks: ticks(end, 3),
        }
    }

    fn caption(&self) -> String {
        let period = figures::seconds(self.scenario.period_s);
        let step = figures::about(self.scenario.step_s);
        let what = match (self.trail.steps, self.trail.averages) {
            (1, true) => format!("Units in {period}, averaged over {step}"),
            (_, true) => format!("Units in the {period} that end then, to a step of {step}"),
            (_, false) => format!("Units in the {period} that end then, every {step}"),
        };
        let all = if self.scenario.keys == 1 { "" } else { ", of all keys together" };
        let quota = match self.quota {
            None => "; the quota of all keys together is far above".to_owned(),
            Some(_) => String::new(),
        };
        format!("{what}{all}{quota}.")
    }

    fn panel(&self, id: &str, standing: &Standing, score: &Score) -> String {
        let admitted = self.trail.over(&score.admitted_by_step);
        let mut plot = Plot::new(SIZE, AREA);
        for tick in &self.ticks {
            let y = self.units.at(*tick);
            plot.line("grid", (AREA.left, y), (AREA.right, y));
            plot.text("tick", Anchor::End, (AREA.left - 5.0, y + 4.0), &figures::tick(*tick));
        }
        for (second, anchor) in [(0.0, Anchor::Start), (self.scenario.duration_s, Anchor::End)] {
            let at = (self.time.at(second), AREA.bottom + 15.0);
            plot.text("tick", anchor, at, &figures::seconds(second));
        }
        plot.add(format_args!(r#"<path class="offered" d="{}"/>"#, self.fill(&self.offered, 0.0)));
        if let Some(quota) = self.quota {
            let y = self.units.at(quota);
            if self.scenario.keys == 1 {
                plot.add(format_args!(
                    r#"<path class="over" d="{}"/>"#,
                    self.fill(&admitted, quota)
                ));
            }
            plot.line("quota", (AREA.left, y), (AREA.right, y));
        }
        let worst = match &score.worst {
            Some(window) => format!(
                "; most in {}: {} of a key from {} on, its quota is {}",
                figures::seconds(self.scenario.period_s),
                count(window.admitted),
                figures::seconds(window.from_s),
                count(self.scenario.count),
            ),
            None => String::new(),
        };
        let numbers = format!(
            "{}, {}: {} of {} units admitted{worst}; {} denied although there was room",
            standing.name(),
            self.scenario.name,
            count(score.admitted),
            count(self.scenario.units),
            counted(score.wrongful_requests, "request", "requests"),
        );
        plot.add(format_args!(
            r#"<path class="mark-line" d="{}"><title>{}</title></path>"#,
            self.stairs(&admitted),
            Text(&numbers)
        ));
        let title = format!("{}: admitted over time, {}", standing.name(), self.scenario.name);
        plot.finish(id, kind(standing.about.origin), &title, &numbers)
    }

    /// A line that is level within each step.
    fn stairs(&self, steps: &[f64]) -> String {
        let mut path = String::new();
        for (index, (first, last)) in levels(steps).into_iter().enumerate() {
            let y = Px(self.units.at(steps[first]));
            let _ = match index {
                0 => write!(path, "M{} {y}", Px(self.begin(first))),
                _ => write!(path, "V{y}"),
            };
            let _ = write!(path, "H{}", Px(self.begin(last + 1)));
        }
        path
    }

    /// The area between the steps and a floor, where the steps are above the floor.
    fn fill(&self, steps: &[f64], floor: f64) -> String {
        let base = Px(self.units.at(floor));
        let mut path = String::new();
        let mut above = false;
        for (first, last) in levels(steps) {
            let is_above = steps[first] > floor;
            let _ = match (above, is_above) {
                (false, true) => write!(path, "M{} {base}", Px(self.begin(first))),
                (true, false) => write!(path, "V{base}Z"),
                _ => Ok(()),
            };
            if is_above {
                let y = Px(self.units.at(steps[first]));
                let _ = write!(path, "V{y}H{}", Px(self.begin(last + 1)));
            }
            above = is_above;
        }
        if above {
            let _ = write!(path, "V{base}Z");
        }
        path
    }

    /// Where a step begins.
    fn begin(&self, step: usize) -> f64 {
        self.time.at(step as f64 * self.scenario.step_s)
    }
}

/// Runs of equal values: the first and the last index of each.
fn levels(steps: &[f64]) -> Vec<(usize, usize)> {
    let mut begin = 0;
    let runs = steps.chunk_by(|one, next| one == next).map(|run| {
        let first = begin;
        begin += run.len();
        (first, begin - 1)
    });
    runs.collect()
}

/// How to convert steps to amounts per period, for comparison with the quota.
struct Trail {
    /// The number of steps that are summed.
    steps: usize,
    /// The factor from the sum to an amount per period.
    factor: f64,
    /// Whether the summed steps are not exactly one period.
    averages: bool,
}

impl Trail {
    fn of(scenario: &Scenario) -> Trail {
        let in_period = scenario.period_s / scenario.step_s;
        if !(in_period.is_finite() && in_period > 0.0) {
            return Trail { steps: 1, factor: 1.0, averages: true };
        }
        let steps = in_period.round().max(1.0);
        let averages = (in_period - steps).abs() > 1e-6 * steps;
        Trail { steps: steps as usize, factor: in_period / steps, averages }
    }

    fn over(&self, steps: &[u64]) -> Vec<f64> {
        let mut sum = 0;
        steps
            .iter()
            .enumerate()
            .map(|(index, units)| {
                sum += units;
                if let Some(left) = index.checked_sub(self.steps) {
                    sum -= steps[left];
                }
                sum as f64 * self.factor
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trail_is_what_a_period_holds() {
        let trail = Trail { steps: 2, factor: 1.0, averages: false };
        assert_eq!(trail.over(&[1, 2, 0, 4]), [1.0, 3.0, 2.0, 4.0]);
        let average = Trail { steps: 1, factor: 0.5, averages: true };
        assert_eq!(average.over(&[4, 2]), [2.0, 1.0]);
    }

    #[test]
    fn equal_steps_are_one_level() {
        assert_eq!(levels(&[1.0, 1.0, 2.0, 1.0]), [(0, 1), (2, 2), (3, 3)]);
        assert_eq!(levels(&[]), []);
    }
}
