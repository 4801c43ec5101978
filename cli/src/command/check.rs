//! The subcommand `tollgate check`: prints the limits of a policy, or all its problems.

use crate::command::args;
use crate::command::exit::Failure;
use crate::command::output::{Screen, limits};
use crate::command::policy;

pub(crate) fn run(args: &args::Check) -> Result<(), Failure> {
    let policy = policy::load(&args.policy)?;
    let mut screen = Screen::stdout();
    limits::print(&policy, &mut screen);
    screen.finish()
}
