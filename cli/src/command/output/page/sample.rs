//! A sample report for tests. It has everything that a report can hold, with hostile text wherever
//! foreign text can be.

use crate::compare::{
    About, Check, LeftOut, Origin, Outcome, Report, Scenario, Score, Speed, SpeedRow, Waits, Window,
};

/// Text that must never appear as markup.
pub(super) const HOSTILE: &str = "</svg></title><script>alert('1')</script>&\"\u{202e}\0";

const STEPS: usize = 120;

pub(super) fn report() -> Report {
    let contenders = vec![
        about("GCRA", Origin::Tollgate, Some(200)),
        about("fixed window", Origin::Tollgate, Some(200)),
        about("sliding log", Origin::Tollgate, Some(100)),
        about(HOSTILE, Origin::Own, None),
        about("governor", Origin::Peer, None),
        About { takes_time: false, mistakes: vec![], ..about("rate-net", Origin::Peer, None) },
    ];
    let scenarios = vec![
        scenario("bursts", 1, &contenders, None),
        scenario("log", 40, &contenders, None),
        scenario("tokens", 1, &contenders, Some("governor")),
    ];
    let speed = Speed {
        rounds: 5,
        rows: [1_000, 1_000_000].into_iter().flat_map(|keys| rows(&contenders, keys)).collect(),
    };
    Report {
        quota: "100/s".to_owned(),
        count: 100,
        period_s: 1.0,
        seed: 7,
        contenders,
        scenarios,
        checks: vec![
            Check { row: 2, what: "at 150 M units/s it admits 11 % more".to_owned() },
            Check { row: 10, what: "each refill truncates".to_owned() },
        ],
        speed: Some(speed),
        left_out: vec![LeftOut { name: "ratelimit".to_owned(), why: HOSTILE.to_owned() }],
        notes: vec![HOSTILE.to_owned()],
    }
}

fn about(name: &str, origin: Origin, bound: Option<u64>) -> About {
    let mistakes = match origin {
        Origin::Tollgate => vec![Outcome::Right, Outcome::Right],
        Origin::Own => vec![
            Outcome::DoesNotApply("it takes no cost".to_owned()),
            Outcome::Shows(HOSTILE.to_owned()),
        ],
        Origin::Peer => vec![Outcome::Shows("1,111 (1,000)".to_owned()), Outcome::Right],
    };
    About {
        name: name.to_owned(),
        origin,
        what: format!("what {name} is"),
        takes_time: true,
        bound,
        mistakes,
    }
}

fn scenario(name: &str, keys: u64, contenders: &[About], unable: Option<&str>) -> Scenario {
    let offered: Vec<u64> =
        (0..STEPS).map(|step| if step % 20 < 4 { 60 * keys } else { 4 }).collect();
    let scores = contenders
        .iter()
        .enumerate()
        .filter(|(_, about)| about.takes_time)
        .map(|(index, about)| score(about, index as u64, &offered, unable == Some(&about.name)))
        .collect();
    Scenario {
        name: name.to_owned(),
        what: format!("{HOSTILE} in {name}"),
        quota: "100/s".to_owned(),
        count: 100,
        period_s: 1.0,
        requests: offered.iter().sum(),
        units: offered.iter().sum(),
        keys,
        duration_s: 12.0,
        step_s: 0.1,
        offered,
        scores,
    }
}

fn score(about: &About, index: u64, offered: &[u64], unable: bool) -> Score {
    if unable {
        return Score {
            contender: about.name.clone(),
            admitted: 0,
            denied: 0,
            worst: None,
            excess: 0,
            denied_requests: 0,
            wrongful_requests: 0,
            wrongful: 0,
            waits: None,
            admitted_by_step: vec![],
            unable: Some("it takes no cost".to_owned()),
        };
    }
    let admitted_by_step: Vec<u64> =
        offered.iter().map(|units| units - units * (index % 3 + 1) / 4).collect();
    let admitted = admitted_by_step.iter().sum();
    let excess = [98, 100, 0, 31, 98][index as usize % 5];
    let wrongful = [0, 3, 0, 180, 40][index as usize % 5];
    Score {
        contender: about.name.clone(),
        admitted,
        denied: offered.iter().sum::<u64>() - admitted,
        worst: Some(Window { from_s: 3.95, admitted: 100 + excess }),
        excess,
        denied_requests: wrongful + 10,
        wrongful_requests: wrongful,
        wrongful,
        waits: Some(Waits {
            sampled: 10,
            stated: 10 - index,
            exact: if index < 3 { 10 } else { 1 },
            early_ns: 0,
            late_ns: index.saturating_sub(2) * 1_000_000,
            wrong: 0,
        }),
        admitted_by_step,
        unable: None,
    }
}

fn rows(contenders: &[About], keys: u64) -> Vec<SpeedRow> {
    let row = |(index, about): (usize, &About)| SpeedRow {
        contender: about.name.clone(),
        keys,
        reads_clock: !about.takes_time,
        allowed_ns: Some(18.0 + 7.0 * index as f64 + keys as f64 / 1e4),
        denied_ns: about.takes_time.then_some(5.0 + 3.0 * index as f64),
        bytes_per_key: (about.name != "governor").then_some(24.0 * 3f64.powi(index as i32)),
    };
    contenders.iter().enumerate().map(row).collect()
}
