//! The text report of a comparison, 100 columns wide. The HTML report is in `page`.

use std::time::Duration;

use crate::compare::{About, Origin, Outcome, Report, Scenario, Score, SpeedRow, Waits};

use super::Screen;
use crate::text::{Align, count, counted, cut, duration, listed, percent, table, wrap};

/// Characters of a line.
const LINE: usize = 100;

/// Characters of a contender's name.
const NAME: usize = 19;

/// Characters of a scenario's name at the head of a column. The full names are listed below the
/// table.
const HEAD: usize = 5;

pub(crate) fn print(report: &Report, screen: &mut Screen) {
    let of = |origin| report.contenders.iter().filter(|c| c.origin == origin).count() as u64;
    let ours = counted(of(Origin::Tollgate), "algorithm", "algorithms");
    let peers = counted(of(Origin::Peer), "peer", "peers");
    let scenarios = counted(report.scenarios.len() as u64, "scenario", "scenarios");
    let title = screen.bold(&format!("{}: {ours} and {peers} on the same arrivals", report.quota));
    screen.line(&format!("{title}{}", screen.dim(&format!(", {scenarios}, seed {}", report.seed))));
    screen.line("");
    totals(report, screen);
    excesses(report, screen);
    scenario_list(report, screen);
    mistakes(report, screen);
    notes(report, screen);
}

/// One row per contender, over all scenarios.
fn totals(report: &Report, screen: &mut Screen) {
    let keys: Vec<u64> = by_keys(report);
    let mut heads = vec![
        String::new(),
        "admitted".to_owned(),
        "wrongly".to_owned(),
        "excess".to_owned(),
        "waits".to_owned(),
        "mistakes".to_owned(),
    ];
    if report.speed.is_some() {
        heads.push("ns yes".to_owned());
        heads.push("no".to_owned());
        heads.push("bytes".to_owned());
    }
    let columns = heads.len();
    let mut rows = vec![heads];
    for contender in &report.contenders {
        let scores = scores(report, contender);
        let mut row = vec![cut(&contender.name, NAME)];
        row.extend(judged(contender, &scores));
        if report.speed.is_some() {
            row.extend(cost(report, contender, &keys));
        }
        rows.push(row);
    }
    let mut align = vec![Align::Left];
    align.resize(columns, Align::Right);
    lines(&rows, &align, screen);
    let mut legend = String::from(
        "admitted: of what was asked for, the mean of the scenarios; wrongly: denied though the \
         window had room, of all denied; excess: units above the count in the worst window as long \
         as the period, of the count; waits: by how much the worst stated wait is off",
    );
    if let Some(few) = keys.first() {
        legend.push_str(&format!(
            "; ns: a decision that says yes, and no, {} keys; bytes: one of them; ?: not measured",
            count(*few)
        ));
    }
    for line in wrap(&legend, LINE - 2) {
        screen.line(&screen.dim(&format!("  {line}")));
    }
}

/// The numbers of keys that speed was measured with, ascending.
fn by_keys(report: &Report) -> Vec<u64> {
    let rows = report.speed.iter().flat_map(|speed| &speed.rows);
    let mut keys: Vec<u64> = rows.map(|row| row.keys).collect();
    keys.sort_unstable();
    keys.dedup();
    keys
}

fn scores<'a>(report: &'a Report, contender: &About) -> Vec<(&'a Score, u64)> {
    let of = |scenario: &'a Scenario| {
        let found = scenario.scores.iter().find(|score| score.contender == contender.name);
        found.filter(|score| score.unable.is_none()).map(|score| (score, scenario.count))
    };
    report.scenarios.iter().filter_map(of).collect()
}

fn judged(contender: &About, scores: &[(&Score, u64)]) -> Vec<String> {
    if !contender.takes_time {
        return vec![String::new(); 5];
    }
    let (mut admitted, mut asked, mut wrongful, mut denied) = (0.0, 0.0, 0, 0);
    for (score, _) in scores {
        // Each scenario has the same weight, whatever its units are.
        admitted += share(score.admitted, score.admitted + score.denied);
        asked += 1.0;
        wrongful += score.wrongful_requests;
        denied += score.denied_requests;
    }
    let worst = scores.iter().map(|(score, of)| share(score.excess, *of)).fold(0.0, f64::max);
    vec![
        format!("{:.1} %", if asked > 0.0 { admitted * 100.0 / asked } else { 0.0 }),
        if wrongful == 0 { "-".to_owned() } else { percent(wrongful, denied) },
        excess(worst),
        waits(scores),
        shown(contender),
    ]
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// `99 %`; a share that is not zero is never shown as zero.
fn excess(share: f64) -> String {
    match share * 100.0 {
        0.0 => "-".to_owned(),
        percent if percent < 1.0 => "< 1 %".to_owned(),
        percent => format!("{percent:.0} %"),
    }
}

/// How far off the worst stated wait is.
fn waits(scores: &[(&Score, u64)]) -> String {
    let waits = || scores.iter().filter_map(|(score, _)| score.waits.as_ref());
    let sum = |of: fn(&Waits) -> u64| waits().map(of).sum::<u64>();
    let most = |of: fn(&Waits) -> u64| waits().map(of).max().unwrap_or(0);
    let (stated, exact, wrong) = (sum(|w| w.stated), sum(|w| w.exact), sum(|w| w.wrong));
    let (early, late) = (most(|w| w.early_ns), most(|w| w.late_ns));
    let time = |nanos| duration(Duration::from_nanos(nanos), 1);
    match (sum(|w| w.sampled), stated) {
        (0, _) => "-".to_owned(),
        (_, 0) => "not stated".to_owned(),
        _ if exact == stated => "exact".to_owned(),
        _ if wrong > 0 => "in vain".to_owned(),
        _ if early > 0 => format!("{} early", time(early)),
        _ => format!("{} late", time(late)),
    }
}

/// How many of the mistakes it shows.
fn shown(contender: &About) -> String {
    let shown = |outcome: &&Outcome| matches!(outcome, Outcome::Shows(_));
    match contender.mistakes.iter().filter(shown).count() {
        0 => "-".to_owned(),
        mistakes => mistakes.to_string(),
    }
}

/// Measured with the fewest keys: there each key has its full history.
fn cost(report: &Report, contender: &About, keys: &[u64]) -> Vec<String> {
    let row = |keys: Option<&u64>| {
        let rows = report.speed.iter().flat_map(|speed| &speed.rows);
        let mut rows = rows.filter(|row| row.contender == contender.name);
        rows.find(|row| Some(&row.keys) == keys)
    };
    let number = |row: Option<&SpeedRow>, of: fn(&SpeedRow) -> Option<f64>| {
        row.and_then(of).map_or_else(|| "?".to_owned(), |number| count(number.round() as u64))
    };
    let row = row(keys.first());
    vec![
        number(row, |row| row.allowed_ns),
        number(row, |row| row.denied_ns),
        number(row, |row| row.bytes_per_key),
    ]
}

/// The worst excess of each contender in each scenario.
fn excesses(report: &Report, screen: &mut Screen) {
    let timed: Vec<&About> = report.contenders.iter().filter(|c| c.takes_time).collect();
    if timed.is_empty() || report.scenarios.is_empty() {
        return;
    }
    let mut rows = vec![vec![String::new()]];
    let head = |name: &str| name.chars().take(HEAD).collect::<String>();
    rows[0].extend(report.scenarios.iter().map(|scenario| head(&scenario.name)));
    for (place, contender) in timed.iter().enumerate() {
        let mut row = vec![cut(&contender.name, NAME)];
        row.extend(report.scenarios.iter().map(|scenario| match scenario.scores.get(place) {
            Some(score) if score.unable.is_none() => {
                excess(share(score.excess, scenario.count)).replace(' ', "")
            }
            _ => "n/a".to_owned(),
        }));
        rows.push(row);
    }
    screen.line("");
    screen.line(&screen.bold("Worst excess in each scenario"));
    let mut align = vec![Align::Left];
    align.resize(report.scenarios.len() + 1, Align::Right);
    lines(&rows, &align, screen);
}

fn scenario_list(report: &Report, screen: &mut Screen) {
    screen.line("");
    screen.line(&screen.bold("The scenarios"));
    let row = |scenario: &Scenario| {
        vec![scenario.name.clone(), count(scenario.requests), scenario.what.clone()]
    };
    let rows: Vec<_> = report.scenarios.iter().map(row).collect();
    for line in table(&rows, &[Align::Left, Align::Right, Align::Left]) {
        screen.line(&format!("  {}", cut(&line, LINE - 2)));
    }
}

/// What was seen of each mistake, and the contenders that made it.
fn mistakes(report: &Report, screen: &mut Screen) {
    screen.line("");
    screen.line(&screen.bold("Mistakes that limiters have shipped"));
    for (index, check) in report.checks.iter().enumerate() {
        let mut by: Vec<(&str, &str)> = Vec::new();
        for contender in &report.contenders {
            if let Some(Outcome::Shows(seen)) = contender.mistakes.get(index) {
                by.push((&contender.name, seen));
            }
        }
        let head = format!("  {:>2} {}", check.row, check.what);
        if by.is_empty() {
            screen.line(&format!("{head}: {}", screen.dim("nobody")));
            continue;
        }
        screen.line(&head);
        for (name, seen) in by {
            screen.line(&format!("     {}", cut(&format!("{name}: {seen}"), LINE - 5)));
        }
    }
}

fn notes(report: &Report, screen: &mut Screen) {
    let names: Vec<&str> = report.left_out.iter().map(|left| left.name.as_str()).collect();
    let why = report.left_out.first().map_or("", |left| &left.why);
    let left_out = (!names.is_empty()).then(|| format!("Left out: {}, {why}.", listed(&names)));
    let notes: Vec<&String> = report.notes.iter().chain(&left_out).collect();
    if notes.is_empty() {
        return;
    }
    screen.line("");
    screen.line(&screen.bold("Notes"));
    for note in notes {
        let lines = wrap(note, LINE - 4);
        screen.line(&format!("  • {}", lines.join("\n    ")));
    }
}

/// A table whose first row is its head.
fn lines(rows: &[Vec<String>], align: &[Align], screen: &mut Screen) {
    for (index, line) in table(rows, align).iter().enumerate() {
        screen.line(&format!("  {}", if index == 0 { screen.dim(line) } else { line.clone() }));
    }
}
