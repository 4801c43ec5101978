//! `tollgate replay`.

use std::io;
use std::path::Path;

use tollgate::replay::{Line, Log, Replay, Summary};

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
    /// Lines that are not blank.
    pub(crate) lines: u64,
    /// The first lines that could not be read, and why.
    pub(crate) unreadable: Vec<String>,
    /// Logs that could not be read to their end, and why.
    pub(crate) cut_short: Vec<String>,
}

pub(crate) fn run(args: &args::Replay) -> Result<(), Failure> {
    let policy = policy::load(&args.policy)?;
    let mut replay = Replay::new(policy).map_err(|error| Failure::Usage(error.to_string()))?;
    let inputs = open_logs(args)?;
    let mut decisions = Decisions::open(args.decisions.as_deref())?;

    let mut progress = Progress::over(&inputs, decisions.is_on_terminal());
    let mut reading = Reading::default();
    for input in inputs {
        reading.log(input, args.format, &mut replay, &mut decisions, &mut progress)?;
    }
    progress.finish();
    decisions.finish()?;

    let summary = replay.summary();
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

impl Reading {
    /// Replays one log. If it cannot be read to its end, what was read counts.
    fn log(
        &mut self,
        input: Input,
        format: args::Auto,
        replay: &mut Replay,
        decisions: &mut Decisions,
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
        let mut lines = 0_u64;
        loop {
            match log.next_line() {
                Ok(Some(Line { event: Ok(event), .. })) => {
                    if let Some(decision) = replay.event(&event) {
                        decisions.write(&decision)?;
                    }
                }
                Ok(Some(Line { number, event: Err(why), .. })) => {
                    replay.unreadable();
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
