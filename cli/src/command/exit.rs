//! Errors that end the command, and the exit code of each.

use std::io::{self, Write};
use std::process::ExitCode;

use crate::simulate::ScenarioError;

/// Why the command ended before it was done.
pub(crate) enum Failure {
    /// The arguments cannot be followed, or a policy is invalid.
    Usage(String),
    /// Expectations of the user do not hold.
    Broken(Vec<String>),
    /// Too much of the logs could not be read.
    Unreadable(String),
    /// The reader of the output has closed it.
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

/// Prints what went wrong, and returns the exit code.
pub(crate) fn code(done: Result<(), Failure>) -> ExitCode {
    match done {
        // The reader closed the pipe because it has what it wanted.
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

/// Writes a line to standard error. Errors are ignored: there is no other place to report them.
pub(crate) fn say(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}
