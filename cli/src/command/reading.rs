//! Reads logs one after the other, and passes their events to a subcommand.

use std::io;
use std::path::{Path, PathBuf};

use crate::replay::{Arrivals, Event, Line, Log, Took};

use crate::command::args;
use crate::command::exit::Failure;
use crate::command::input::Input;
use crate::command::output::progress::Progress;
use crate::text::{count, lines, percent};

/// How many unreadable lines are shown.
const EXAMPLES: usize = 3;

/// A consumer of the events of logs.
pub(crate) trait Events {
    /// Takes the next event: in the order of the log or, if the log tells how long requests took,
    /// in the order in which they began.
    fn event(&mut self, event: &Event<'_>) -> Result<(), Failure>;

    /// Takes note of a line that could not be read.
    fn unreadable(&mut self) {}
}

/// The result of reading the logs.
#[derive(Default)]
pub(crate) struct Reading {
    /// The logs, each with its format and the number of lines that are not blank.
    pub(crate) logs: Vec<String>,
    /// What the last field of the lines was taken for.
    pub(crate) duration: Option<Took>,
    /// Lines that are not blank.
    pub(crate) lines: u64,
    /// Of these, the lines that could not be read.
    pub(crate) unreadable_lines: u64,
    /// The first of them, and why.
    pub(crate) unreadable: Vec<String>,
    /// Logs that could not be read to their end, and why.
    pub(crate) cut_short: Vec<String>,
}

/// Opens all logs.
pub(crate) fn open(paths: &[PathBuf]) -> Result<Vec<Input>, Failure> {
    let is_stdin = |path: &&PathBuf| path.as_path() == Path::new("-");
    if paths.iter().filter(is_stdin).count() > 1 {
        return Err(Failure::Usage("standard input (`-`) can be read only once".to_owned()));
    }
    paths.iter().map(|path| Input::open(path)).collect()
}

/// Reads `inputs` to their ends.
pub(crate) fn read(
    inputs: Vec<Input>,
    args: &args::Logs,
    progress: &Progress,
    events: &mut impl Events,
) -> Result<Reading, Failure> {
    let mut reading = Reading { duration: args.duration, ..Reading::default() };
    let mut ordered = Ordered { arrivals: Arrivals::new(), events };
    for input in inputs {
        reading.log(input, args.format, &mut ordered, progress)?;
    }
    ordered.finish()?;
    progress.finish();
    Ok(reading)
}

/// Passes events on in the order of the log until one tells how long it took; from then on in the
/// order of their beginnings.
struct Ordered<'e, E> {
    arrivals: Arrivals,
    events: &'e mut E,
}

impl<E: Events> Ordered<'_, E> {
    fn event(&mut self, event: Event<'_>) -> Result<(), Failure> {
        if event.took.is_none() && self.arrivals.is_empty() {
            return self.events.event(&event);
        }
        self.arrivals.push(event);
        while let Some(event) = self.arrivals.pop_full() {
            self.events.event(&event)?;
        }
        Ok(())
    }

    /// Passes on the events that were held back.
    fn finish(self) -> Result<(), Failure> {
        self.arrivals.into_rest().try_for_each(|event| self.events.event(&event))
    }
}

impl Reading {
    /// Reads one log. If it cannot be read to its end, the lines before count.
    fn log(
        &mut self,
        input: Input,
        format: args::Auto,
        to: &mut Ordered<'_, impl Events>,
        progress: &Progress,
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
        let mut read = 0_u64;
        loop {
            match log.next_line() {
                Ok(Some(Line { event: Ok(event), .. })) => to.event(event)?,
                Ok(Some(Line { number, event: Err(why), .. })) => {
                    to.events.unreadable();
                    self.unreadable_lines += 1;
                    if self.unreadable.len() < EXAMPLES {
                        self.unreadable.push(format!("{name}:{number} {why}"));
                    }
                }
                Ok(None) => break,
                Err(error) => {
                    self.cut_short(&name, read, &error);
                    break;
                }
            }
            read += 1;
        }
        self.lines += read;
        let format = log.format().map_or("unknown".to_owned(), |format| format.to_string());
        self.logs.push(format!("{name}: {format} format, {}", lines(read)));
        Ok(())
    }

    fn cut_short(&mut self, name: &str, read: u64, error: &io::Error) {
        let read = lines(read);
        self.cut_short.push(format!("{name} could not be read after {read}: {error}"));
    }

    /// Whether enough lines could be read for a meaningful answer.
    pub(crate) fn judge(&self, max: args::Percent) -> Result<(), Failure> {
        if !self.cut_short.is_empty() {
            return Err(Failure::Unreadable(self.cut_short.join("\n  ")));
        }
        if !max.is_exceeded_by(self.unreadable_lines, self.lines) {
            return Ok(());
        }
        let share = percent(self.unreadable_lines, self.lines);
        Err(Failure::Unreadable(format!(
            "{} of {} ({share}) could not be read, and at most {max} may be so\n  {}\n  \
             If the format is another, give --format; if these lines may be left out, give \
             --max-unreadable",
            count(self.unreadable_lines),
            lines(self.lines),
            self.unreadable.join("\n  "),
        )))
    }
}
