//! How the command ends: the failures of subcommands, and the exit code of each.
//! Also holds the function that writes messages to standard error.

use std::io::{self, Write};
use std::process::ExitCode;

use crate::simulate::ScenarioError;

/// Why a subcommand stopped before it was done.
pub(crate) enum Failure {
    /// The request cannot be carried out, or a policy is invalid.
    Usage(String),
    /// Expectations set by the user that do not hold.
    Broken(Vec<String>),
    /// More of the log lines were unreadable than the user allows.
    Unreadable(String),
    /// The reader of the output closed the pipe.
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

/// Writes the failure to standard error, and returns the exit code.
pub(crate) fn code(done: Result<(), Failure>) -> ExitCode {
    match done {
        // A reader that closes the pipe has all the output it wants, so this is no error.
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

/// Writes a line to standard error. Ignores errors, because there is nowhere to report them.
pub(crate) fn say(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}
