//! How it ends: what went wrong, and the exit code that says so.

use std::io::{self, Write};
use std::process::ExitCode;

use crate::simulate::ScenarioError;

/// Why it ended before it was done.
pub(crate) enum Failure {
    /// What was asked for cannot be done, or a policy is not right.
    Usage(String),
    /// Expectations of the user's that do not hold.
    Broken(Vec<String>),
    /// Too much of the logs could not be read.
    Unreadable(String),
    /// Nobody reads the output any more.
    Closed,
}

impl From<ScenarioError> for Failure {
    fn from(error: ScenarioError) -> Failure {
        Failure::Usage(error.to_string())
    }
}

impl Failure {
    /// A failure to write to `to`.
    pub(crate) fn writing(to: &str, error: &io::Error) -> Failure {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::Closed,
            _ => Failure::Usage(format!("cannot write {to}: {error}")),
        }
    }
}

/// Says what went wrong, and gives the exit code.
pub(crate) fn code(done: Result<(), Failure>) -> ExitCode {
    match done {
        // Whoever closed the pipe has what they wanted.
        Ok(()) | Err(Failure::Closed) => ExitCode::SUCCESS,
        Err(Failure::Broken(expectations)) => {
            expectations.iter().for_each(|broken| say(&format!("broken: {broken}")));
            ExitCode::from(1)
        }
        Err(Failure::Usage(what)) => {
            say(&format!("error: {what}"));
            ExitCode::from(2)
        }
        Err(Failure::Unreadable(what)) => {
            say(&format!("error: {what}"));
            ExitCode::from(3)
        }
    }
}

/// Writes a line to standard error. If nobody reads that, so be it.
pub(crate) fn say(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}
