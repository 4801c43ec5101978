//! `tollgate check`: loads a policy and prints its limits as a table.
//! The table itself is in `output/limits.rs`.

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
