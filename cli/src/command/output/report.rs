//! The text report of a replay, 80 columns wide.

use crate::replay::{Columns, Summary, Timeline, Took};
use tollgate::Mode;

use super::chart::bars;
use super::{Screen, limits};
use crate::command::reading::Reading;
use crate::text::{
    Align, count, counted, cut, duration, is_date, lines, moment, percent, table, wrap,
};

/// Characters of a line.
const LINE: usize = 80;

/// Characters of a chart.
const CHART: usize = 56;

/// Characters of a limit's name beside a chart. The rest of the line is for a count.
const NAME: usize = 14;

/// How many keys have a chart.
const KEYS: usize = 5;

/// `limits_concurrency`: whether the policy limits how many requests run at a time.
pub(crate) fn print(
    summary: &Summary,
    reading: &Reading,
    limits_concurrency: bool,
    screen: &mut Screen,
) {
    totals(summary, reading, screen);
    limit_table(summary, screen);
    if let Some(columns) = summary.columns(CHART) {
        limit_chart(summary, &columns, screen);
        key_chart(summary, &columns, screen);
    }
    notes(summary, reading, limits_concurrency, screen);
}

fn totals(summary: &Summary, reading: &Reading, screen: &mut Screen) {
    for log in &reading.logs {
        screen.line(&screen.dim(log));
    }
    if let (Some(first), Some(last)) = (summary.first, summary.last) {
        const FORMAT: &str = "%-d %b %Y %H:%M:%S UTC";
        let took = duration(last.since(first), 2);
        let span = format!("{} to {}, {took}", moment(first, FORMAT), moment(last, FORMAT));
        screen.line(&screen.dim(&span));
    }
    screen.line("");
    let share = |part| percent(part, summary.requests);
    let rows = [
        vec![count(summary.requests), "requests".to_owned()],
        vec![count(summary.admitted), "admitted".to_owned(), share(summary.admitted)],
        vec![count(summary.refused), "refused".to_owned(), share(summary.refused)],
    ];
    for line in table(&rows, &[Align::Right, Align::Left, Align::Right]) {
        screen.line(&format!("  {}", screen.bold(&line)));
    }
}

fn limit_table(summary: &Summary, screen: &mut Screen) {
    if summary.limits.is_empty() {
        return;
    }
    let heads = ["limit", "checked", "refused", "share", "keys", ""];
    let mut rows = vec![heads.map(str::to_owned).to_vec()];
    for limit in &summary.limits {
        let (refused, note) = match limit.mode {
            Mode::Enforce => (limit.refused, String::new()),
            Mode::Shadow => (limit.shadow_refused, "shadow: would have refused".to_owned()),
            Mode::Off => (0, limits::mode(Mode::Off).to_owned()),
        };
        let note = match limit.checked {
            0 if limit.mode != Mode::Off => "never applied".to_owned(),
            _ => note,
        };
        rows.push(vec![
            cut(&limit.name, 24),
            count(limit.checked),
            count(refused),
            percent(refused, limit.checked),
            count(limit.keys),
            note,
        ]);
    }
    let right = Align::Right;
    let align = [Align::Left, right, right, right, right, Align::Left];
    screen.line("");
    for (index, line) in table(&rows, &align).iter().enumerate() {
        screen.line(&format!("  {}", if index == 0 { screen.dim(line) } else { line.clone() }));
    }
}

fn limit_chart(summary: &Summary, columns: &Columns, screen: &mut Screen) {
    let refusing: Vec<_> = summary
        .limits
        .iter()
        .filter(|limit| limit.over_time.total() > 0 && limit.mode != Mode::Off)
        .collect();
    if refusing.is_empty() {
        return;
    }
    screen.line("");
    let width = duration(columns.width(), 2);
    let title = screen.bold("Refused over time");
    screen.line(&format!(
        "{title}{}",
        screen.dim(&format!(", one column is {width}; right: the most in one"))
    ));
    for limit in refusing {
        let (bars, most) = row(&limit.over_time, columns);
        let name = cut(&limit.name, NAME);
        screen.line(&format!("  {name:<NAME$} {bars} {}", screen.dim(&count(most))));
    }
    axis(columns, 3 + NAME, screen);
}

fn key_chart(summary: &Summary, columns: &Columns, screen: &mut Screen) {
    if summary.top_refused_keys.is_empty() {
        return;
    }
    screen.line("");
    screen.line(&screen.bold("Keys refused most"));
    for key in summary.top_refused_keys.iter().take(KEYS) {
        let (bars, most) = row(&key.over_time, columns);
        let refused = count(key.refused);
        let name = cut(&key.limit, NAME);
        // Aligned so that it ends where the charts end.
        let room = CHART.saturating_sub(refused.len() + 1);
        let what = cut(&key.key, room);
        screen.line(&format!("  {name:<NAME$} {what:<room$} {refused}"));
        screen.line(&format!("  {:NAME$} {bars} {}", "", screen.dim(&count(most))));
    }
    axis(columns, 3 + NAME, screen);
}

/// A timeline as bars, and the highest count of a bar.
fn row(timeline: &Timeline, columns: &Columns) -> (String, u64) {
    let counts = timeline.by_column(columns);
    let most = counts.iter().copied().max().unwrap_or(0);
    let bars = bars(&counts, most, stretch(columns));
    (format!("{bars:<CHART$}"), most)
}

/// The width of one column in characters.
fn stretch(columns: &Columns) -> usize {
    (CHART / columns.count().max(1)).max(1)
}

/// Marks under a chart, with the times at which their columns begin.
fn axis(columns: &Columns, indent: usize, screen: &mut Screen) {
    const MOST: usize = 4;
    let last = columns.count().saturating_sub(1);
    let day = |column| moment(columns.start(column), "%F");
    let format = match columns.width().as_secs() {
        0 => "%H:%M:%S%.3f",
        1..60 if day(0) == day(last) => "%H:%M:%S",
        1..60 => "%-d %b %H:%M:%S",
        60..86_400 if day(0) == day(last) => "%H:%M",
        60..86_400 => "%-d %b %H:%M",
        _ => "%-d %b %Y",
    };
    let mark = |column| format!("╵{} ", moment(columns.start(column), format));
    let widest = mark(0).chars().count().max(mark(last).chars().count());
    let step = columns.count().div_ceil(MOST).max(widest.div_ceil(stretch(columns)));
    let mut line = String::new();
    for column in (0..columns.count()).step_by(step) {
        let gap = (column * stretch(columns)).saturating_sub(line.chars().count());
        line.extend(std::iter::repeat_n(' ', gap));
        line.push_str(&mark(column));
    }
    if is_date(columns.start(0)) {
        line.push_str("UTC");
    }
    screen.line(&screen.dim(&format!("{:indent$}{line}", "")));
}

fn notes(summary: &Summary, reading: &Reading, limits_concurrency: bool, screen: &mut Screen) {
    let notes: Vec<String> = cut_short(reading)
        .chain(unreadable(summary, reading))
        .chain(disorder(summary))
        .chain(no_requests(summary))
        .chain(in_flight(summary, reading, limits_concurrency))
        .chain(overflows(summary))
        .chain(absences(summary))
        .collect();
    if notes.is_empty() {
        return;
    }
    screen.line("");
    screen.line(&screen.bold("Notes"));
    for note in notes {
        let lines = wrap(&note, LINE - 4);
        screen.line(&format!("  • {}", lines.join("\n    ")));
    }
}

fn cut_short(reading: &Reading) -> impl Iterator<Item = String> {
    reading.cut_short.iter().map(|what| format!("{what}. What was read counts."))
}

fn unreadable(summary: &Summary, reading: &Reading) -> Option<String> {
    let share = percent(summary.unreadable_lines, reading.lines);
    let all = lines(reading.lines);
    let unreadable = count(summary.unreadable_lines);
    let mut note = format!("{unreadable} of {all} ({share}) could not be read. The first:");
    for example in &reading.unreadable {
        note.push_str("\n  ");
        note.push_str(&cut(example, LINE - 6));
    }
    (summary.unreadable_lines > 0).then_some(note)
}

fn disorder(summary: &Summary) -> Option<String> {
    let late = counted(summary.disorder.lines, "event is", "events are");
    let furthest = duration(summary.disorder.furthest, 2);
    let note = format!(
        "{late} stamped earlier than one before, by up to {furthest}, and counted as if at the \
         latest time there was."
    );
    (summary.disorder.lines > 0).then_some(note)
}

fn no_requests(summary: &Summary) -> Option<String> {
    let peeks = counted(summary.peeks, "peek", "peeks");
    let finishes = counted(summary.finishes, "finish", "finishes");
    let note = format!("{peeks} and {finishes} are events, but no requests.");
    (summary.peeks + summary.finishes > 0).then_some(note)
}

fn in_flight(summary: &Summary, reading: &Reading, limits_concurrency: bool) -> Option<String> {
    let Some(most) = summary.peak_in_flight else {
        const NOT_TOLD: &str = "The policy limits how many requests there are at once, but nothing \
            told when they end, so each took no time. If access log lines end in how long the \
            request took, give --duration; event lines have `took` or `finish`.";
        let asks = limits_concurrency && summary.requests > 0;
        return asks.then(|| NOT_TOLD.to_owned());
    };
    let most = counted(most, "request was", "requests were");
    let mut note = format!("At most {most} in flight at once.");
    let together = match reading.duration {
        None => "",
        Some(Took::RequestTime) => " Those stamped alike, as in whole seconds, end together.",
        Some(_) => " Those stamped alike, as in whole seconds, begin together.",
    };
    note.push_str(together);
    if summary.unfinished > 0 {
        let never = counted(summary.unfinished, "was", "were");
        note.push_str(&format!(" {never} admitted and never finished."));
    }
    if summary.unknown_finishes > 0 {
        let of_nothing = counted(summary.unknown_finishes, "finish", "finishes");
        note.push_str(&format!(" {of_nothing} ended nothing: refused, unknown or ended before."));
    }
    Some(note)
}

fn overflows(summary: &Summary) -> impl Iterator<Item = String> {
    summary.limits.iter().filter(|limit| limit.overflows > 0).map(|limit| {
        let requests = counted(limit.overflows, "request", "requests");
        format!("{requests} found no room for their key in {}; raise its max_keys.", limit.name)
    })
}

/// One note per fact, with the effect of its absence on each limit.
fn absences(summary: &Summary) -> impl Iterator<Item = String> {
    summary.missing_facts.chunk_by(|a, b| a.fact == b.fact).map(|absences| {
        let effects: Vec<String> = absences
            .iter()
            .map(|absence| format!("{} {}", absence.limit, absence.effect))
            .collect();
        let fact = absences.first().map_or("", |absence| &absence.fact);
        format!("No request has `{fact}`: {}.", effects.join(", "))
    })
}
