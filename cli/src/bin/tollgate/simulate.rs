//! `tollgate simulate`.

pub(crate) mod expect;
mod plan;
pub(crate) mod record;
pub(crate) mod scenario;
pub(crate) mod summary;
mod world;

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::rc::Rc;

use serde_json::Value;

use crate::args;
use crate::exit::Failure;
use crate::output::{Screen, simulation, svg};
use crate::same_file::same_file;
use scenario::Scenario;
use summary::{Report, Summary, seconds};
use world::Limits;

pub(crate) fn run(args: &args::Simulate) -> Result<(), Failure> {
    let mut scenario = Scenario::load(&args.scenario)?;
    scenario.seed = args.seed.unwrap_or(scenario.seed);
    let scenario = Rc::new(scenario);
    if !args.expect.is_empty() {
        // A run without requests has all the keys, and takes no time.
        let blank = json(&report(&scenario, Vec::new())?);
        args.expect.iter().try_for_each(|expectation| expectation.check_key(&blank))?;
    }
    let svg = args.svg.as_deref().map(|path| open(args, &scenario, path)).transpose()?;

    let report = report(&scenario, plan::requests(&scenario)?)?;

    if let Some((mut file, name)) = svg {
        let picture = svg::draw(&scenario, &report)?;
        file.write_all(picture.as_bytes()).map_err(|error| Failure::writing(&name, &error))?;
    }
    let value = json(&report);
    let mut screen = Screen::stdout();
    if args.json {
        let text = serde_json::to_string(&report)
            .map_err(|error| Failure::Usage(format!("the report cannot be written: {error}")))?;
        screen.line(&text);
    } else {
        simulation::print(&scenario, &report, &mut screen);
    }
    screen.finish()?;
    let broken: Vec<String> =
        args.expect.iter().filter_map(|expectation| expectation.broken(&value)).collect();
    if broken.is_empty() { Ok(()) } else { Err(Failure::Broken(broken)) }
}

/// Runs the same requests twice: without the policy's limits and with them.
fn report(scenario: &Rc<Scenario>, requests: Vec<plan::Request>) -> Result<Report, Failure> {
    let requests = Rc::new(requests);
    let summary = |limits| {
        let record = world::run(scenario, &requests, limits)?;
        Ok::<_, Failure>(Summary::of(scenario, record))
    };
    Ok(Report {
        scenario: scenario.name.clone(),
        seed: scenario.seed,
        duration_s: seconds(scenario.end()),
        backend_limit: scenario.backend_limit,
        step_s: record::Steps::over(scenario.duration).width.as_secs_f64(),
        without: summary(Limits::Off)?,
        with: summary(Limits::AsWritten)?,
    })
}

fn json(report: &Report) -> Value {
    serde_json::to_value(report).unwrap_or_default()
}

/// Opens the file for the picture, which must not be one that is read.
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
