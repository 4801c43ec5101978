//! Reads the groups of clients of a scenario: arrivals, facts, service times, crashes.

use std::ops::Range;
use std::time::Duration;

use toml::de::DeValue;

use super::fields::{Fields, Problems, Value, given};
use super::kinds::{
    CRASH, FACT_VALUE, FACT_VALUES, MOMENT, PICK, POSITIVE, RAMP_RATE, RATE, TEXT, TIME, WHOLE,
};
use super::{Arrivals, Crash, Fact, Group, Pick, Service, Values};
use crate::text::did_you_mean;

/// The groups of a scenario that lasts for `duration`.
pub(super) fn clients(
    top: &mut Fields<'_, '_>,
    duration: Duration,
    problems: &mut Problems<'_>,
) -> Vec<Group> {
    let of = "a group of clients";
    let groups = top.tables("clients", of, problems);
    if groups.is_empty() && top.value("clients").is_none() {
        let hint = "write `[[clients]]` above each group of them".to_owned();
        problems.report(0..0, "a scenario needs clients".to_owned(), Some(hint));
    }
    let mut clients: Vec<Group> = Vec::new();
    for mut fields in groups {
        let name_at = fields.span("name");
        let group = group(&mut fields, duration, problems);
        fields.finish(problems);
        let Some(group) = group else { continue };
        if clients.iter().any(|other| other.name == group.name) {
            let what = format!("clients `{}` are there twice", crate::text::cut(&group.name, 60));
            let hint = "give each group its own name".to_owned();
            problems.report(name_at, what, Some(hint));
        }
        clients.push(group);
    }
    clients
}

fn group(
    fields: &mut Fields<'_, '_>,
    duration: Duration,
    problems: &mut Problems<'_>,
) -> Option<Group> {
    let name = fields.need("name", &TEXT, problems);
    let arrivals = arrivals(fields, problems);
    let service = service(fields, problems);
    let start = fields.get("start", &MOMENT, problems).unwrap_or_default();
    let end = fields.get("end", &MOMENT, problems).unwrap_or(duration);
    if end > duration {
        let what = "the clients end after the scenario".to_owned();
        problems.report(fields.span("end"), what, None);
    } else if start >= end {
        let what = "the clients start no earlier than they end".to_owned();
        problems.report(fields.span("start"), what, None);
    }
    let most = fields.get("requests", &POSITIVE, problems).unwrap_or(u64::MAX);
    let patience = fields.get("patience", &TIME, problems);
    let crash = fields.get("crash", &CRASH, problems).unwrap_or(Crash::First(0));
    let facts = facts(fields, problems);
    Some(Group {
        name: name?,
        arrivals: arrivals?,
        start,
        end,
        most,
        facts,
        patience,
        service: service?,
        crash,
    })
}

/// Reads a table of one kind.
type Read<'a, 't, T> = fn(&mut Fields<'a, 't>, &mut Problems<'_>) -> Option<T>;

/// Reads a table `key` whose `kind` says which other keys it has.
fn by_kind<'a, 't, T>(
    fields: &mut Fields<'a, 't>,
    (key, of): (&'static str, &'static str),
    kinds: &[(&'static str, Read<'a, 't, T>)],
    example: &'static str,
    problems: &mut Problems<'_>,
) -> Option<T> {
    let Some(value) = fields.value(key) else {
        fields.lacks(key, example, problems);
        return None;
    };
    let mut fields = Fields::of_table(of, value, problems)?;
    let names: Vec<&str> = kinds.iter().map(|(name, _)| *name).collect();
    let one_of = format!("`kind` is one of {}", crate::text::listed(&names));
    let Some(kind) = fields.value("kind") else {
        problems.report(value.span(), format!("{of} needs a `kind`"), Some(one_of));
        return None;
    };
    let wanted = kind.get_ref().as_str().unwrap_or_default();
    let Some((_, read)) = kinds.iter().find(|(name, _)| *name == wanted) else {
        let what = format!("the `kind` of {of} cannot be {}", given(kind.get_ref()));
        let hint = did_you_mean(wanted, names.iter().copied()).unwrap_or(one_of);
        problems.report(kind.span(), what, Some(hint));
        return None;
    };
    let read = read(&mut fields, problems);
    fields.finish(problems);
    read
}

fn arrivals(fields: &mut Fields<'_, '_>, problems: &mut Problems<'_>) -> Option<Arrivals> {
    by_kind(
        fields,
        ("arrivals", "`arrivals`"),
        &[
            ("constant", |fields, problems| {
                Some(Arrivals::Constant { rate: fields.need("rate", &RATE, problems)? })
            }),
            ("poisson", |fields, problems| {
                Some(Arrivals::Poisson { rate: fields.need("rate", &RATE, problems)? })
            }),
            ("bursts", |fields, problems| {
                let size = fields.need("size", &POSITIVE, problems);
                let every = fields.need("every", &TIME, problems);
                Some(Arrivals::Bursts { size: size?, every: every? })
            }),
            ("ramp", |fields, problems| {
                let from = fields.need("from", &RAMP_RATE, problems);
                let to = fields.need("to", &RAMP_RATE, problems);
                Some(Arrivals::Ramp { from: from?, to: to? })
            }),
        ],
        "{ kind = \"bursts\", size = 159, every = \"60s\" }",
        problems,
    )
}

fn service(fields: &mut Fields<'_, '_>, problems: &mut Problems<'_>) -> Option<Service> {
    by_kind(
        fields,
        ("service", "`service`"),
        &[
            ("constant", |fields, problems| {
                Some(Service::Constant { time: fields.need("time", &MOMENT, problems)? })
            }),
            ("exponential", |fields, problems| {
                Some(Service::Exponential { mean: fields.need("mean", &TIME, problems)? })
            }),
            ("lognormal", |fields, problems| {
                let median = fields.need("median", &TIME, problems);
                let p99 = fields.need("p99", &TIME, problems);
                let (median, p99) = (median?, p99?);
                if p99 < median {
                    let what = "the p99 is below the median".to_owned();
                    problems.report(fields.span("p99"), what, None);
                }
                Some(Service::Lognormal { median, p99 })
            }),
        ],
        "{ kind = \"lognormal\", median = \"8s\", p99 = \"60s\" }",
        problems,
    )
}

fn facts(fields: &mut Fields<'_, '_>, problems: &mut Problems<'_>) -> Vec<(String, Fact)> {
    let Some(value) = fields.value("facts") else { return Vec::new() };
    let DeValue::Table(table) = value.get_ref() else {
        let what = format!("`facts` are a table, not {}", given(value.get_ref()));
        let hint = "as in `facts = { user = \"42\" }`".to_owned();
        problems.report(value.span(), what, Some(hint));
        return Vec::new();
    };
    let mut facts = Vec::new();
    for (name, value) in table.iter() {
        let fact = fact(value, problems);
        facts.extend(fact.map(|fact| (name.get_ref().to_string(), fact)));
    }
    facts
}

fn fact(value: &Value<'_>, problems: &mut Problems<'_>) -> Option<Fact> {
    match value.get_ref() {
        DeValue::Array(_) => listed(value.get_ref(), value.span(), problems),
        DeValue::Table(table) => {
            let mut fields = Fields::new("a fact that varies", value.span(), table);
            let fact = varying(&mut fields, problems);
            fields.finish(problems);
            fact
        }
        other => {
            let text = (FACT_VALUE.read)(other);
            if text.is_none() {
                let what = format!(
                    "a fact is text, a whole number, or a list or table of those, not {}",
                    given(other)
                );
                problems.report(value.span(), what, None);
            }
            text.map(Fact::Fixed)
        }
    }
}

fn listed(value: &DeValue<'_>, at: Range<usize>, problems: &mut Problems<'_>) -> Option<Fact> {
    let values = (FACT_VALUES.read)(value);
    if values.is_none() {
        problems.report(at, format!("the values of a fact are {}", FACT_VALUES.is), None);
    }
    Some(Fact::One { of: Values::Listed(values?), pick: Pick::Random })
}

fn varying(fields: &mut Fields<'_, '_>, problems: &mut Problems<'_>) -> Option<Fact> {
    let pick = fields.get("pick", &PICK, problems).unwrap_or(Pick::Random);
    if fields.value("of").is_some() {
        let of = Values::Listed(fields.get("of", &FACT_VALUES, problems)?);
        return Some(Fact::One { of, pick });
    }
    let from = fields.need("from", &WHOLE, problems);
    let to = fields.need("to", &WHOLE, problems);
    let (from, to) = (from?, to?);
    if from > to {
        problems.report(fields.span("to"), "`to` is below `from`".to_owned(), None);
        return None;
    }
    Some(Fact::One { of: Values::Numbers { from, to }, pick })
}
