//! Reads the requests of an access log as a scenario of a comparison.

use std::collections::HashMap;
use std::path::Path;

use crate::compare::{Arrival, Arrivals};
use crate::replay::{Line, Log, Op};
use tollgate::Quota;

use crate::command::exit::Failure;
use crate::command::input::Input;
use crate::text::{count, lines};

/// The fact that identifies a client.
const KEY: &str = "ip";

/// Reads a whole log, in the order of its timestamps.
pub(crate) fn read(
    path: &Path,
    quota: Quota,
    notes: &mut Vec<String>,
) -> Result<Arrivals, Failure> {
    let input = Input::open(path)?;
    let name = input.name.clone();
    let failed = |error| Failure::Usage(format!("cannot read the log {name}: {error}"));
    let mut log = Log::new(input.text(|source| source).map_err(failed)?, None);
    let mut keys: HashMap<String, u64> = HashMap::new();
    let (mut list, mut unreadable) = (Vec::new(), 0);
    while let Some(Line { event, .. }) = log.next_line().map_err(failed)? {
        let Ok(event) = event else {
            unreadable += 1;
            continue;
        };
        let key = event.facts.iter().find(|(fact, _)| fact == KEY).map(|(_, value)| value);
        if let (Some(key), Op::Admit) = (key, event.op) {
            let next = keys.len() as u64;
            let key = *keys.entry(key.to_string()).or_insert(next);
            list.push(Arrival { at: event.at, key, cost: event.cost });
        }
    }
    if list.is_empty() {
        return Err(Failure::Usage(format!("{name} has no request with a client address")));
    }
    if unreadable > 0 {
        let all = lines(list.len() as u64 + unreadable);
        notes.push(format!("{} of {all} of {name} could not be read.", count(unreadable)));
    }
    let what = format!("the requests of {}, by client address", file_name(path));
    Ok(Arrivals::new("log", what, quota, list))
}

fn file_name(path: &Path) -> String {
    path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}
