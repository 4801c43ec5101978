//! The totals of a contender over all scenarios. `verdict` and the table compare them.

use crate::compare::{About, Origin, Outcome, Report, Scenario, Score, SpeedRow, Waits};

pub(super) struct Standing<'a> {
    pub(super) about: &'a About,
    /// The scenario in which it went furthest above the quota, and by which share of it.
    pub(super) worst: Option<(&'a Scenario, f64)>,
    /// For each scenario, in their order, the share by which it went above the quota at most.
    pub(super) overs: Vec<f64>,
    /// Requests, in the scenarios that it took part in.
    pub(super) requests: u64,
    /// Of these, the requests that it denied although there was room.
    pub(super) wrongful: u64,
    pub(super) waits: Option<Waits>,
    /// The scenarios in which it took no part, and why.
    pub(super) unable: Vec<(&'a Scenario, &'a str)>,
    /// Measured with the most keys.
    pub(super) speed: Option<&'a SpeedRow>,
    /// Numbers of the mistakes that it shows.
    pub(super) mistakes: Vec<u32>,
}

impl<'a> Standing<'a> {
    fn of(about: &'a About, report: &'a Report) -> Standing<'a> {
        let scores: Vec<(&Scenario, &Score)> = report
            .scenarios
            .iter()
            .filter_map(|scenario| Some((scenario, score(scenario, about)?)))
            .collect();
        let unable = scores
            .iter()
            .filter_map(|(scenario, score)| Some((*scenario, score.unable.as_deref()?)));
        let took_part = || scores.iter().filter(|(_, score)| score.unable.is_none());
        let shown = report.checks.iter().zip(&about.mistakes);
        Standing {
            about,
            worst: took_part()
                .map(|(scenario, score)| (*scenario, excess(scenario, score)))
                .reduce(|worst, next| if next.1 > worst.1 { next } else { worst }),
            overs: took_part().map(|(scenario, score)| excess(scenario, score)).collect(),
            requests: took_part().map(|(scenario, _)| scenario.requests).sum(),
            wrongful: took_part().map(|(_, score)| score.wrongful_requests).sum(),
            waits: took_part().filter_map(|(_, score)| score.waits.clone()).reduce(together),
            unable: unable.collect(),
            speed: fewest_keys(report).and_then(|keys| speed(report, about, keys)),
            mistakes: shown
                .filter(|(_, outcome)| matches!(outcome, Outcome::Shows(_)))
                .map(|(check, _)| check.row)
                .collect(),
        }
    }

    pub(super) fn name(&self) -> &'a str {
        &self.about.name
    }

    pub(super) fn is_peer(&self) -> bool {
        self.about.origin == Origin::Peer
    }

    /// Whether it took part in every scenario: only then can its totals be compared.
    pub(super) fn is_whole(&self) -> bool {
        self.worst.is_some() && self.unable.is_empty()
    }

    /// The most it went above the quota, as a share of it.
    pub(super) fn over(&self) -> Option<f64> {
        self.worst.map(|(_, over)| over)
    }

    /// The mean of the scenarios' worst windows.
    pub(super) fn mean_over(&self) -> Option<f64> {
        let mean = self.overs.iter().sum::<f64>() / self.overs.len() as f64;
        (!self.overs.is_empty()).then_some(mean)
    }

    pub(super) fn wrongful_share(&self) -> f64 {
        self.wrongful as f64 / self.requests.max(1) as f64
    }

    pub(super) fn waits_exactly(&self) -> bool {
        self.waits.as_ref().is_some_and(|waits| waits.exact == waits.sampled)
    }

    pub(super) fn allowed_ns(&self) -> Option<f64> {
        self.speed.and_then(|row| row.allowed_ns)
    }

    pub(super) fn denied_ns(&self) -> Option<f64> {
        self.speed.and_then(|row| row.denied_ns)
    }

    pub(super) fn bytes(&self) -> Option<f64> {
        self.speed.and_then(|row| row.bytes_per_key)
    }
}

/// All standings: Tollgate's algorithms, the user's own, then peers.
pub(super) fn all(report: &Report) -> Vec<Standing<'_>> {
    let mut standings: Vec<Standing> =
        report.contenders.iter().map(|about| Standing::of(about, report)).collect();
    standings.sort_by_key(|standing| match standing.about.origin {
        Origin::Tollgate => 0,
        Origin::Own => 1,
        Origin::Peer => 2,
    });
    standings
}

pub(super) fn score<'a>(scenario: &'a Scenario, about: &About) -> Option<&'a Score> {
    scenario.scores.iter().find(|score| score.contender == about.name)
}

/// The excess of its worst window, as a share of the quota.
pub(super) fn excess(scenario: &Scenario, score: &Score) -> f64 {
    score.excess as f64 / scenario.count.max(1) as f64
}

/// The fewest keys that speed was measured with: there each key has its full history.
pub(super) fn fewest_keys(report: &Report) -> Option<u64> {
    report.speed.as_ref()?.rows.iter().map(|row| row.keys).min()
}

pub(super) fn speed<'a>(report: &'a Report, about: &About, keys: u64) -> Option<&'a SpeedRow> {
    let rows = &report.speed.as_ref()?.rows;
    rows.iter().find(|row| row.contender == about.name && row.keys == keys)
}

fn together(one: Waits, other: Waits) -> Waits {
    Waits {
        sampled: one.sampled + other.sampled,
        stated: one.stated + other.stated,
        exact: one.exact + other.exact,
        early_ns: one.early_ns.max(other.early_ns),
        late_ns: one.late_ns.max(other.late_ns),
        wrong: one.wrong + other.wrong,
    }
}
