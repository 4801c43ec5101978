//! The command `tollgate`: parses the arguments and runs a subcommand. One module per subcommand;
//! what they share (reading logs, output, exit codes) has modules of its own.
//!
//! Data goes to standard output, everything else to standard error. Exit codes: 0 done, 1 a
//! threshold that the user set was broken, 2 usage or policy error, 3 too many unreadable lines.

mod args;
mod check;
mod compare;
mod exit;
mod input;
mod output;
mod policy;
mod reading;
mod replay;
#[cfg_attr(unix, path = "command/same_file/unix.rs")]
#[cfg_attr(not(unix), path = "command/same_file/other.rs")]
mod same_file;
mod simulate;
mod suggest;

use std::process::ExitCode;

use args::{Args, Command};
use clap::Parser;

/// Runs the command with the arguments of the process and returns its exit code.
pub fn main() -> ExitCode {
    let done = match Args::parse().command {
        Command::Check(args) => check::run(&args),
        Command::Compare(args) => compare::run(&args),
        Command::Replay(args) => replay::run(&args),
        Command::Simulate(args) => simulate::run(&args),
        Command::Suggest(args) => suggest::run(&args),
    };
    exit::code(done)
}
