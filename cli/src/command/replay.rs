//! The subcommand `tollgate replay`. The replay itself is in `crate::replay`.

use crate::replay::{Event, Replay};

use crate::command::args;
use crate::command::exit::{Failure, say};
use crate::command::output::decisions::Decisions;
use crate::command::output::progress::Progress;
use crate::command::output::{Screen, report};
use crate::command::policy;
use crate::command::reading::{self, Events};
use crate::command::same_file::same_file;

/// The consumer of the events of all logs.
struct Run {
    replay: Replay,
    decisions: Decisions,
}

pub(crate) fn run(args: &args::Replay) -> Result<(), Failure> {
    let policy = policy::load(&args.policy)?;
    let limits_concurrency = policy.limits().iter().any(|limit| limit.cap().is_some());
    let replay = Replay::new(policy).map_err(|error| Failure::Usage(error.to_string()))?;
    let inputs = reading::open(&args.logs.paths)?;
    let decisions = open_decisions(args)?;

    let progress = Progress::over(&inputs, decisions.is_on_terminal());
    let mut run = Run { replay, decisions };
    let reading = reading::read(inputs, &args.logs, &progress, &mut run)?;
    run.decisions.finish()?;
    let summary = run.replay.summary();

    let mut screen = if !args.json && run.decisions.is_on_stdout() {
        Screen::stderr()
    } else {
        Screen::stdout()
    };
    if args.json {
        screen.line(&summary.to_string());
        reading.logs.iter().for_each(|log| say(log));
    } else {
        report::print(&summary, &reading, limits_concurrency, &mut screen);
    }
    screen.finish()?;
    reading.judge(args.logs.max_unreadable)
}

/// Opens the file for decisions, which must be none of the files that are read.
fn open_decisions(args: &args::Replay) -> Result<Decisions, Failure> {
    if let Some(decisions) = &args.decisions {
        let mut read = args.logs.paths.iter().chain([&args.policy]);
        if let Some(same) = read.find(|path| same_file(path, decisions)) {
            let name = same.display();
            return Err(Failure::Usage(format!(
                "--decisions would write over {name}, which is read; give it another file"
            )));
        }
    }
    Decisions::open(args.decisions.as_deref())
}

impl Events for Run {
    fn event(&mut self, event: &Event<'_>) -> Result<(), Failure> {
        match self.replay.event(event) {
            Some(decision) => self.decisions.write(&decision),
            None => Ok(()),
        }
    }

    fn unreadable(&mut self) {
        self.replay.unreadable();
    }
}
