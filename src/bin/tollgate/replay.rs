//! `tollgate replay`.

use std::io;
use std::path::Path;

use tollgate::replay::{Arrivals, Event, Line, Log, Replay, Summary, Took};

use crate::args;
use crate::exit::{Failure, say};
use crate::input::Input;
use crate::output::decisions::Decisions;
use crate::output::progress::Progress;
use crate::output::{Screen, report};
use crate::policy;
use crate::same_file::same_file;

/// As many unreadable lines are shown.
const EXAMPLES: usize = 3;

/// What reading the logs came to.
#[derive(Default)]
pub(crate) struct Reading {
    /// The logs, each with its format and lines that are not blank.
    pub(crate) logs: Vec<String>,
    /// What the last field of the lines was taken for.
    pub(crate) duration: Option<Took>,
    /// Whether the policy limits how many requests there are at once.
    pub(crate) limits_concurrency: bool,
    /// Lines that are not blank.
    pub(crate) lines: u64,
    /// The first lines that could not be read, and why.
    pub(crate) unreadable: Vec<String>,
    /// Logs that could not be read to their end, and why.
    pub(crate) cut_short: Vec<String>,
}

/// What the events of all logs go through.
struct Run {
    arrivals: Arrivals,
    replay: Replay,
    decisions: Decisions,
}

pub(crate) fn run(args: &args::Replay) -> Result<(), Failure> {
    let policy = policy::load(&args.policy)?;
    let limits_concurrency = policy.limits().iter().any(|limit| limit.cap().is_some());
    let replay = Replay::new(policy).map_err(|error| Failure::Usage(error.to_string()))?;
    let inputs = open_logs(args)?;
    let decisions = Decisions::open(args.decisions.as_deref())?;

    let mut progress = Progress::over(&inputs, decisions.is_on_terminal());
    let mut reading = Reading { duration: args.duration, limits_concurrency, ..Reading::default() };
    let mut run = Run { replay, decisions, arrivals: Arrivals::new() };
    for input in inputs {
        reading.log(input, args.format, &mut run, &mut progress)?;
    }
    let (summary, decisions) = run.finish()?;
    progress.finish();

    let mut screen =
        if !args.json && decisions.is_on_stdout() { Screen::stderr() } else { Screen::stdout() };
    if args.json {
        screen.line(&summary.to_string());
        reading.logs.iter().for_each(|log| say(log));
    } else {
        report::print(&summary, &reading, &mut screen);
    }
    screen.finish()?;
    reading.judge(&summary, args.max_unreadable)
}

/// Opens all logs, and makes sure that none of them would be written over.
fn open_logs(args: &args::Replay) -> Result<Vec<Input>, Failure> {
    let is_stdin = |path: &&std::path::PathBuf| path.as_path() == Path::new("-");
    if args.logs.iter().filter(is_stdin).count() > 1 {
        return Err(Failure::Usage("standard input (`-`) can be read only once".to_owned()));
    }
    if let Some(decisions) = &args.decisions {
        let mut read = args.logs.iter().chain([&args.policy]);
        if let Some(same) = read.find(|path| same_file(path, decisions)) {
            let name = same.display();
            return Err(Failure::Usage(format!(
                "--decisions would write over {name}, which is read; give it another file"
            )));
        }
    }
    args.logs.iter().map(|path| Input::open(path)).collect()
}

impl Run {
    /// In the order of the log, until one tells how long it took; then in that of their beginnings.
    fn event(&mut self, event: Event<'_>) -> Result<(), Failure> {
        if event.took.is_none() && self.arrivals.is_empty() {
            return self.decide(&event);
        }
        self.arrivals.push(event);
        while let Some(event) = self.arrivals.pop_full() {
            self.decide(&event)?;
        }
        Ok(())
    }

    fn decide(&mut self, event: &Event<'_>) -> Result<(), Failure> {
        match self.replay.event(event) {
            Some(decision) => self.decisions.write(&decision),
            None => Ok(()),
        }
    }

    /// Decides what was held back.
    fn finish(mut self) -> Result<(Summary, Decisions), Failure> {
        for event in std::mem::take(&mut self.arrivals).into_rest() {
            self.decide(&event)?;
        }
        self.decisions.finish()?;
        Ok((self.replay.summary(), self.decisions))
    }
}

impl Reading {
    /// Replays one log. If it cannot be read to its end, what was read counts.
    fn log(
        &mut self,
        input: Input,
        format: args::Auto,
        run: &mut Run,
        progress: &mut Progress,
    ) -> Result<(), Failure> {
        let name = input.name.clone();
        let text = match input.text(|source| progress.watch(source)) {
            Ok(text) => text,
            Err(error) => {
                self.cut_short(&name, 0, &error);
                return Ok(());
            }
        };
        let mut log = Log::new(text, format);
        if let Some(took) = self.duration {
            log = log.took(took);
        }
        let mut lines = 0_u64;
        loop {
            match log.next_line() {
                Ok(Some(Line { event: Ok(event), .. })) => run.event(event)?,
                Ok(Some(Line { number, event: Err(why), .. })) => {
                    run.replay.unreadable();
                    if self.unreadable.len() < EXAMPLES {
                        self.unreadable.push(format!("{name}:{number} {why}"));
                    }
                }
                Ok(None) => break,
                Err(error) => {
                    self.cut_short(&name, lines, &error);
                    break;
                }
            }
            lines += 1;
        }
        self.lines += lines;
        let format = log.format().map_or("unknown".to_owned(), |format| format.to_string());
        self.logs.push(format!("{name}: {format} format, {}", crate::text::lines(lines)));
        Ok(())
    }

    fn cut_short(&mut self, name: &str, lines: u64, error: &io::Error) {
        let lines = crate::text::lines(lines);
        self.cut_short.push(format!("{name} could not be read after {lines}: {error}"));
    }

    /// Whether enough could be read for the answer to mean something.
    fn judge(&self, summary: &Summary, max: args::Percent) -> Result<(), Failure> {
        if !self.cut_short.is_empty() {
            return Err(Failure::Unreadable(self.cut_short.join("\n  ")));
        }
        if !max.is_exceeded_by(summary.unreadable_lines, self.lines) {
            return Ok(());
        }
        let share = crate::text::percent(summary.unreadable_lines, self.lines);
        Err(Failure::Unreadable(format!(
            "{} of {} ({share}) could not be read, and at most {max} may be so\n  {}\n  \
             If the format is another, give --format; if these lines may be left out, give \
             --max-unreadable",
            crate::text::count(summary.unreadable_lines),
            crate::text::lines(self.lines),
            self.unreadable.join("\n  "),
        )))
    }
}
