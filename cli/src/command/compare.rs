//! `tollgate compare`: runs the comparison of `crate::compare` and prints its report, as text, as
//! JSON or as an HTML page. Reading a log as a scenario and the limiters of other crates are here
//! too.

mod log;
mod peers;

use std::ffi::OsString;
use std::fs::File;
use std::io::Write;
use std::path::Path;

use crate::compare::{Arrivals, Comparison, Pace, algorithms, scenarios};
use tollgate::Clock;

use crate::command::args;
use crate::command::exit::{Failure, say};
use crate::command::output::{Screen, comparison, page};
use crate::command::same_file::same_file;
use crate::text::{did_you_mean, listed};

pub(crate) fn run(args: &args::Compare) -> Result<(), Failure> {
    let mut notes = Vec::new();
    let mut scenarios = scenarios(args.quota, args.seed);
    if let Some(path) = &args.log {
        scenarios.push(log::read(path, args.quota, &mut notes)?);
    }
    choose(&mut scenarios, &args.scenario)?;
    let html = args.html.as_deref().map(|path| open(args, path)).transpose()?;

    let mut entries = algorithms();
    entries.extend(peers::entries());
    let mut comparison = Comparison::new(args.quota, args.seed).scenarios(scenarios);
    if args.speed || !(args.json || args.no_speed) {
        let clock = Clock::monotonic();
        comparison = comparison.pace(Pace { keys: args.keys.clone(), clock, heap: peers::heap() });
    }
    let mut report = peers::quietly(|| comparison.run(&entries));
    report.left_out = peers::left_out();
    report.notes = notes;

    if let Some((mut file, name)) = html {
        let page = page::page(&report, &command());
        file.write_all(page.as_bytes()).map_err(|error| Failure::writing(&name, &error))?;
        if !args.json {
            say(&format!("wrote {name}"));
        }
    }
    let mut screen = Screen::stdout();
    if args.json {
        screen.json(&report)?;
    } else {
        comparison::print(&report, &mut screen);
    }
    screen.finish()
}

/// The command line of this process, quoted so that a user can paste it into a shell.
fn command() -> String {
    let word = |word: OsString| {
        let word = word.to_string_lossy().into_owned();
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_./,=:".contains(c);
        if word.chars().all(plain) { word } else { format!("'{}'", word.replace('\'', r"'\''")) }
    };
    let words: Vec<String> = std::env::args_os().skip(1).map(word).collect();
    format!("tollgate {}", words.join(" "))
}

/// Keeps only the named scenarios, or all if `names` is empty.
fn choose(scenarios: &mut Vec<Arrivals>, names: &[String]) -> Result<(), Failure> {
    let known: Vec<&str> = scenarios.iter().map(|scenario| scenario.name.as_str()).collect();
    if let Some(unknown) = names.iter().find(|name| !known.contains(&name.as_str())) {
        let guess = did_you_mean(unknown, known.iter().copied())
            .unwrap_or_else(|| format!("there are {}", listed(&known)));
        return Err(Failure::Usage(format!("there is no scenario `{unknown}`: {guess}")));
    }
    scenarios.retain(|scenario| names.is_empty() || names.contains(&scenario.name));
    Ok(())
}

/// Opens the file for the page. Fails if it is the same file as the log.
fn open(args: &args::Compare, path: &Path) -> Result<(File, String), Failure> {
    if args.log.as_deref().is_some_and(|log| same_file(log, path)) {
        let what = "--html would write over the log, which is read; give it another file";
        return Err(Failure::Usage(what.to_owned()));
    }
    let name = path.display().to_string();
    match File::create(path) {
        Ok(file) => Ok((file, name)),
        Err(error) => Err(Failure::writing(&name, &error)),
    }
}
