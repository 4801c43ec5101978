//! From the text of a scenario to what it means.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tollgate::{Policy, Timestamp};
use toml::de::{DeTable, DeValue};

use super::fields::{Fields, Kind, Problems};
use super::policies::{Change, stages};
use super::{Arrivals, Crash, Fact, Group, Pick, Scenario, Service, Values, units};
use crate::exit::Failure;
use crate::text::did_you_mean;

/// Keys of a scenario that are those of a policy.
const POLICY: [&str; 3] = ["facts", "limit", "override"];

const TEXT: Kind<String> = Kind {
    is: "text",
    example: "\"dashboards\"",
    read: |value| value.as_str().filter(|text| !text.is_empty()).map(str::to_owned),
};
const WHOLE: Kind<u64> = Kind { is: "a whole number from 0", example: "100", read: whole };
const SEED: Kind<u64> = Kind { example: "1", ..WHOLE };
const POSITIVE: Kind<u64> = Kind {
    is: "a whole number from 1",
    example: "159",
    read: |value| whole(value).filter(|number| *number > 0),
};
const MOMENT: Kind<Duration> = Kind {
    is: "a length of time from the start",
    example: "\"600s\"",
    read: |value| units::duration(value.as_str()?),
};
const TIME: Kind<Duration> = Kind {
    is: "a length of time",
    example: "\"60s\"",
    read: |value| units::duration(value.as_str()?).filter(|time| !time.is_zero()),
};
const RATE: Kind<f64> = Kind {
    is: "a rate above 0",
    example: "\"50/s\"",
    read: |value| units::rate(value.as_str()?).filter(|rate| *rate > 0.0),
};
const RAMP_RATE: Kind<f64> =
    Kind { is: "a rate", example: "\"0/s\"", read: |value| units::rate(value.as_str()?) };
const CRASH: Kind<Crash> = Kind {
    is: "how many crash, or which share of them",
    example: "\"5%\"",
    read: |value| match value {
        DeValue::String(text) => units::share(text).map(Crash::Share),
        other => whole(other).map(Crash::First),
    },
};
const PICK: Kind<Pick> = Kind {
    is: "\"random\" or \"in-turn\"",
    example: "\"in-turn\"",
    read: |value| match value.as_str()? {
        "random" => Some(Pick::Random),
        "in-turn" => Some(Pick::InTurn),
        _ => None,
    },
};
const FACT_VALUE: Kind<String> =
    Kind { is: "text or a whole number", example: "\"42\"", read: fact_value };
const FACT_VALUES: Kind<Vec<String>> = Kind {
    is: "a list of text or whole numbers",
    example: "[\"eu\", \"us\"]",
    read: |value| {
        let values = value.as_array()?.iter().map(|item| fact_value(item.get_ref()));
        values.collect::<Option<Vec<String>>>().filter(|values| !values.is_empty())
    },
};
const CHANGED: Kind<toml::Value> = Kind {
    is: "text or a whole number",
    example: "50",
    read: |value| match value {
        DeValue::String(text) => Some(toml::Value::from(text.as_ref())),
        other => whole(other).and_then(|number| i64::try_from(number).ok()).map(Into::into),
    },
};

fn whole(value: &DeValue<'_>) -> Option<u64> {
    let DeValue::Integer(number) = value else { return None };
    u64::from_str_radix(number.as_str(), number.radix()).ok()
}

fn fact_value(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) if !text.is_empty() => Some(text.to_string()),
        DeValue::Integer(number) => {
            i64::from_str_radix(number.as_str(), number.radix()).ok().map(|n| n.to_string())
        }
        _ => None,
    }
}

/// Reads `text`, the scenario `name`; a policy's path counts from `folder`.
pub(super) fn scenario(name: &str, text: &str, folder: &Path) -> Result<Scenario, Failure> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut problems = Problems::of(text);
    let tree = match DeTable::parse(text) {
        Ok(tree) => tree,
        Err(error) => {
            let what = format!("this is no TOML: {}", error.message());
            problems.report(error.span().unwrap_or_default(), what, None);
            return Err(wrong(&problems.blocks(name)));
        }
    };
    let mut top = Fields::new("a scenario", 0..0, tree.get_ref());
    let seed = top.get("seed", &SEED, &mut problems);
    let duration = top.need("duration", &TIME, &mut problems);
    let backend_limit = backend(&mut top, &mut problems);
    let end = duration.unwrap_or(Duration::MAX);
    let clients = clients(&mut top, end, &mut problems);
    let changes = changes(&mut top, end, &mut problems);

    let mut blocks = Vec::new();
    let policy = match policy(name, text, folder, &mut top, &mut problems) {
        Ok(policy) => policy,
        Err(more) => {
            blocks = more;
            None
        }
    };
    top.finish(&mut problems);
    let stages = policy.map_or_else(Vec::new, |policy| stages(&policy, changes, &mut problems));
    blocks.extend(problems.blocks(name));
    match duration {
        Some(duration) if blocks.is_empty() => Ok(Scenario {
            name: name.to_owned(),
            seed: seed.unwrap_or(1),
            duration,
            backend_limit,
            clients,
            stages,
        }),
        _ => Err(wrong(&blocks)),
    }
}

fn wrong(blocks: &[String]) -> Failure {
    let things = match blocks.len() {
        1 => "1 thing is".to_owned(),
        many => format!("{many} things are"),
    };
    let lines: Vec<String> = blocks.iter().map(|block| format!("  {block}")).collect();
    Failure::Usage(format!("{things} wrong with the scenario\n{}", lines.join("\n")))
}

/// The text of the policy, which is in a file of its own or in the scenario.
fn policy(
    name: &str,
    text: &str,
    folder: &Path,
    top: &mut Fields<'_, '_>,
    problems: &mut Problems<'_>,
) -> Result<Option<String>, Vec<String>> {
    let path = top.get("policy", &TEXT, problems);
    // All of them are asked for, so that none is unknown.
    let inline = POLICY.into_iter().filter(|key| top.value(key).is_some()).min();
    let (name, text) = match (path, inline) {
        (Some(_), Some(key)) => {
            let what = format!("the policy is in a file, and `{key}` is here too");
            let hint = "leave one of them out".to_owned();
            problems.report(top.span(key), what, Some(hint));
            return Ok(None);
        }
        (Some(path), None) => {
            let path = folder.join(path);
            let name = path.display().to_string();
            match std::fs::read_to_string(&path) {
                Ok(text) => (name, text),
                Err(error) => {
                    let what = format!("cannot read the policy {name}: {error}");
                    problems.report(top.span("policy"), what, None);
                    return Ok(None);
                }
            }
        }
        (None, Some(_)) => (name.to_owned(), alone(text)),
        (None, None) => {
            // A path that is no text was reported.
            if top.value("policy").is_none() {
                let hint = "give `policy = \"FILE\"`, or `[[limit]]` here".to_owned();
                problems.report(0..0, "a scenario needs a policy".to_owned(), Some(hint));
            }
            return Ok(None);
        }
    };
    match Policy::from_toml(&text) {
        Ok(_) => Ok(Some(text)),
        Err(error) => {
            Err(error.problems().iter().map(|problem| format!("{name}:{problem}")).collect())
        }
    }
}

/// The path of the scenario's policy, if it is in a file of its own.
pub(super) fn policy_file(scenario: &Path) -> Option<PathBuf> {
    let text = std::fs::read_to_string(scenario).ok()?;
    let tree = DeTable::parse(&text).ok()?;
    let policy = tree.get_ref().get("policy")?.get_ref().as_str()?;
    Some(scenario.parent()?.join(policy))
}

/// `text` with spaces in place of all that is no policy, so that everything stands where it stood.
fn alone(text: &str) -> String {
    let Ok(tree) = DeTable::parse(text) else { return String::new() };
    let mut parts: Vec<(usize, bool)> = Vec::new();
    for (key, value) in tree.get_ref().iter() {
        let kept = POLICY.contains(&key.get_ref().as_ref());
        parts.push((line_start(text, key.span().start), kept));
        for item in value.get_ref().as_array().into_iter().flat_map(|items| items.iter()) {
            if item.get_ref().is_table() {
                parts.push((line_start(text, item.span().start), kept));
            }
        }
    }
    parts.sort_unstable();
    let mut kept = String::with_capacity(text.len());
    for (at, c) in text.char_indices() {
        let part = parts.partition_point(|(start, _)| *start <= at);
        let keep = part.checked_sub(1).and_then(|part| parts.get(part)).is_some_and(|part| part.1);
        match c {
            '\n' => kept.push('\n'),
            c if keep => kept.push(c),
            // Columns are counted in characters.
            _ => kept.push(' '),
        }
    }
    kept
}

fn line_start(text: &str, at: usize) -> usize {
    text.get(..at).and_then(|before| before.rfind('\n')).map_or(0, |newline| newline + 1)
}

fn backend(top: &mut Fields<'_, '_>, problems: &mut Problems<'_>) -> Option<u64> {
    let value = top.value("backend")?;
    let mut fields = Fields::of_table("the back end", value, problems)?;
    let limit = fields.need("limit", &WHOLE, problems);
    fields.finish(problems);
    limit
}

fn clients(
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

/// A table `key` whose `kind` says which other keys it has.
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
    let given = kind.get_ref().as_str().unwrap_or_default();
    let Some((_, read)) = kinds.iter().find(|(name, _)| *name == given) else {
        let what = format!("the `kind` of {of} cannot be {}", super::fields::given(kind.get_ref()));
        let hint = did_you_mean(given, names.iter().copied()).unwrap_or(one_of);
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
        let what = format!("`facts` are a table, not {}", super::fields::given(value.get_ref()));
        let hint = "as in `facts = { user = \"42\" }`".to_owned();
        problems.report(value.span(), what, Some(hint));
        return Vec::new();
    };
    let mut facts = Vec::new();
    for (name, value) in table.iter() {
        let fact = match value.get_ref() {
            DeValue::Array(_) => listed(value.get_ref(), value.span(), problems),
            DeValue::Table(table) => {
                let mut fields = Fields::new("a fact that varies", value.span(), table);
                let fact = varying(&mut fields, problems);
                fields.finish(problems);
                fact
            }
            other => match (FACT_VALUE.read)(other) {
                Some(text) => Some(Fact::Fixed(text)),
                None => {
                    let what = format!(
                        "a fact is text, a whole number, or a list or table of those, not {}",
                        super::fields::given(other)
                    );
                    problems.report(value.span(), what, None);
                    None
                }
            },
        };
        facts.extend(fact.map(|fact| (name.get_ref().to_string(), fact)));
    }
    facts
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

fn changes(
    top: &mut Fields<'_, '_>,
    duration: Duration,
    problems: &mut Problems<'_>,
) -> Vec<Change> {
    let mut changes = Vec::new();
    for mut fields in top.tables("change", "a change", problems) {
        let before = problems.len();
        let at = fields.need("at", &MOMENT, problems);
        let limit = fields.need("limit", &TEXT, problems);
        if at.is_some_and(|at| at >= duration) {
            let what = "this change comes after the scenario".to_owned();
            problems.report(fields.span("at"), what, None);
        }
        let mut set = Vec::new();
        for key in ["mode", "concurrent", "rate", "burst", "share"] {
            set.extend(fields.get(key, &CHANGED, problems).map(|value| (key, value)));
        }
        if set.is_empty() && problems.len() == before {
            let hint = "give `mode`, `concurrent`, `rate`, `burst` or `share`".to_owned();
            problems.report(
                fields.at.clone(),
                "this change changes nothing".to_owned(),
                Some(hint),
            );
        }
        let (span, limit_span) = (fields.at.clone(), fields.span("limit"));
        fields.finish(problems);
        if let (Some(at), Some(limit)) = (at, limit) {
            let at = Timestamp::ZERO + at;
            changes.push(Change { at, limit, span, limit_span, set });
        }
    }
    changes
}
