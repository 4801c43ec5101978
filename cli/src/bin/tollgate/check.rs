//! `tollgate check`.

use crate::args;
use crate::exit::Failure;
use crate::output::{Screen, limits};
use crate::policy;

pub(crate) fn run(args: &args::Check) -> Result<(), Failure> {
    let policy = policy::load(&args.policy)?;
    let mut screen = Screen::stdout();
    limits::print(&policy, &mut screen);
    screen.finish()
}
