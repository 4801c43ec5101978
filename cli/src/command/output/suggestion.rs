//! Prints a suggestion as a policy file, with the figures behind it in comments.

use std::time::Duration;

use crate::suggest::{Fact, Of, Suggested, Suggestion};

use super::Screen;
use crate::command::reading::Reading;
use crate::text::{Align, count, counted, cut, duration, lines, moment, percent, table, wrap};

/// Characters of a line.
const LINE: usize = 80;

/// Characters of a name.
const NAME: usize = 48;

/// The window whose busiest caller is named where no limit names a window.
const MINUTE: Duration = Duration::from_secs(60);

pub(crate) fn print(suggestion: &Suggestion, reading: &Reading, screen: &mut Screen) {
    heading(suggestion, screen);
    source(suggestion, reading, screen);
    outcome(suggestion, screen);
    for fact in &suggestion.facts {
        screen.line("");
        observed(fact, screen);
        match &fact.limit {
            Some(suggested) => {
                effect(fact, suggested, suggestion, screen);
                limit(fact, suggested, screen);
            }
            None => comment("No quota keeps to the target: requests cost too much.", screen),
        }
    }
}

fn heading(suggestion: &Suggestion, screen: &mut Screen) {
    let share = suggestion.target.share;
    let target = match suggestion.target.of {
        Of::Requests => format!("no more than {share} of the requests"),
        Of::Callers => format!("no more than {share} of the callers of each fact"),
    };
    comment(&format!("Limits from observed use: the tightest that refuse {target}."), screen);
    comment("", screen);
}

/// What was read.
fn source(suggestion: &Suggestion, reading: &Reading, screen: &mut Screen) {
    let unreadable = (reading.unreadable_lines > 0).then(|| {
        let share = percent(reading.unreadable_lines, reading.lines);
        let (part, all) = (count(reading.unreadable_lines), lines(reading.lines));
        format!("{part} of {all} ({share}) could not be read")
    });
    let span = suggestion.first.zip(suggestion.last).map(|(first, last)| {
        const FORMAT: &str = "%-d %b %Y %H:%M:%S UTC";
        let took = duration(last.since(first), 2);
        format!("{} to {}, {took}", moment(first, FORMAT), moment(last, FORMAT))
    });
    let disorder = (suggestion.disorder.lines > 0).then(|| {
        let late = counted(suggestion.disorder.lines, "event is", "events are");
        format!("{late} stamped earlier than one before, and taken at the latest")
    });
    let all = reading.logs.iter().chain(&reading.cut_short).cloned();
    for line in all.chain(unreadable).chain(span).chain(disorder) {
        comment(&format!("  {}", cut(&line, LINE - 4)), screen);
    }
    comment("", screen);
}

/// What all limits refuse together.
fn outcome(suggestion: &Suggestion, screen: &mut Screen) {
    const WHAT: &str = "A limit admits its count at once and then one by one as its rate has it, \
        so up to twice the count in a period: it may stand below a busiest window and refuse \
        nobody. Its period is the one that lets the least through in a worst minute.";
    if suggestion.facts.is_empty() {
        comment("There is no request to limit.", screen);
        return;
    }
    let requests = counted(suggestion.requests, "request", "requests");
    let share = percent(suggestion.refused, suggestion.requests);
    let refused = count(suggestion.refused);
    comment(&format!("A replay of this file over {requests} refuses {refused} ({share})."), screen);
    comment("", screen);
    comment(WHAT, screen);
}

/// How busy the callers are.
fn observed(fact: &Fact, screen: &mut Screen) {
    let title = format!("---- {} ", cut(&fact.fact, NAME));
    comment(&format!("{title:-<width$}", width = LINE - 2), screen);
    comment("", screen);
    let callers = counted(fact.callers, "caller", "callers");
    let requests = counted(fact.requests, "request", "requests");
    comment(&format!("{callers}, {requests}. The most that each takes in any"), screen);
    comment("", screen);
    let mut rows: Vec<Vec<String>> =
        ["", "p50", "p90", "p99", "max"].iter().map(|name| vec![(*name).to_owned()]).collect();
    for window in &fact.windows {
        let numbers = [window.p50, window.p90, window.p99, window.max].map(count);
        let cells = [duration(window.length, 1)].into_iter().chain(numbers);
        rows.iter_mut().zip(cells).for_each(|(row, cell)| row.push(format!(" {cell}")));
    }
    let align: Vec<Align> =
        [Align::Left].into_iter().chain(fact.windows.iter().map(|_| Align::Right)).collect();
    for line in table(&rows, &align) {
        comment(&format!("  {line}"), screen);
    }
    comment("", screen);
}

/// What a limit refuses, and to which callers.
fn effect(fact: &Fact, suggested: &Suggested, suggestion: &Suggestion, screen: &mut Screen) {
    let period = suggested.quota.period();
    let window = |length| fact.windows.iter().find(|window| window.length == length);
    if let Some(window) = window(period).or_else(|| window(MINUTE)) {
        let length = duration(window.length, 1);
        let (peak, max) = (cut(&window.peak, NAME), count(window.max));
        comment(&format!("Busiest in {length}: {peak} with {max}."), screen);
    }
    let requests = counted(suggested.refused, "request", "requests");
    let share = percent(suggested.refused, suggestion.requests);
    comment(&format!("{} refuses {requests} ({share}).", suggested.quota), screen);
    let (part, all) = (count(fact.refused_callers), counted(fact.callers, "caller", "callers"));
    let share = percent(fact.refused_callers, fact.callers);
    let by = if suggestion.facts.len() > 1 { " by any limit" } else { "" };
    let have = if fact.refused_callers == 1 { "has" } else { "have" };
    comment(&format!("{part} of {all} ({share}) {have} a request refused{by}."), screen);
}

/// The limit as text of a policy file.
fn limit(fact: &Fact, suggested: &Suggested, screen: &mut Screen) {
    let name = toml::Value::from(fact.fact.as_str());
    screen.line("[[limit]]");
    screen.line(&format!("name    = {name}"));
    screen.line(&format!("key     = [{name}]"));
    screen.line(&format!("rate    = \"{}\"", suggested.quota));
    screen.line("missing = \"skip\"");
    if let Some(max_keys) = suggested.max_keys {
        screen.line(&format!("max_keys = {max_keys}"));
    }
}

fn comment(text: &str, screen: &mut Screen) {
    if text.is_empty() {
        screen.line(&screen.dim("#"));
    }
    for line in wrap(text, LINE - 2) {
        screen.line(&screen.dim(&format!("# {line}")));
    }
}
