//! `tollgate simulate`: runs a scenario, prints its report, and checks the user's expectations.
//! The simulation itself is in `crate::simulate`.

pub(crate) mod expect;

use std::fs::File;
use std::io::Write;
use std::path::Path;

use serde_json::Value;

use crate::command::args;
use crate::command::exit::Failure;
use crate::command::output::{Screen, simulation, svg};
use crate::command::same_file::same_file;
use crate::simulate::{Report, Scenario};

pub(crate) fn run(args: &args::Simulate) -> Result<(), Failure> {
    let mut scenario = Scenario::load(&args.scenario)?;
    if let Some(seed) = args.seed {
        scenario = scenario.seed(seed);
    }
    if !args.expect.is_empty() {
        let blank = json(&scenario.blank_report()?);
        args.expect.iter().try_for_each(|expectation| expectation.check_key(&blank))?;
    }
    let svg = args.svg.as_deref().map(|path| open(args, &scenario, path)).transpose()?;

    let report = scenario.run()?;

    if let Some((mut file, name)) = svg {
        let picture = svg::draw(&scenario, &report)?;
        file.write_all(picture.as_bytes()).map_err(|error| Failure::writing(&name, &error))?;
    }
    let value = json(&report);
    let mut screen = Screen::stdout();
    if args.json {
        screen.json(&report)?;
    } else {
        simulation::print(&scenario, &report, &mut screen);
    }
    screen.finish()?;
    let broken: Vec<String> =
        args.expect.iter().filter_map(|expectation| expectation.broken(&value)).collect();
    if broken.is_empty() { Ok(()) } else { Err(Failure::Broken(broken)) }
}

fn json(report: &Report) -> Value {
    serde_json::to_value(report).unwrap_or_default()
}

/// Opens the file for the picture. Fails if it is one of the files that are read.
fn open(
    args: &args::Simulate,
    scenario: &Scenario,
    path: &Path,
) -> Result<(File, String), Failure> {
    let read = [Some(args.scenario.as_path()), scenario.policy_path.as_deref()];
    if let Some(same) = read.into_iter().flatten().find(|read| same_file(read, path)) {
        let name = same.display();
        let what = format!("--svg would write over {name}, which is read; give it another file");
        return Err(Failure::Usage(what));
    }
    let name = path.display().to_string();
    match File::create(path) {
        Ok(file) => Ok((file, name)),
        Err(error) => Err(Failure::writing(&name, &error)),
    }
}
