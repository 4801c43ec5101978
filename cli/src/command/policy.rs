//! Reads policies from files.

use std::path::Path;

use tollgate::Policy;

use crate::command::exit::Failure;

/// Reads a policy.
///
/// # Errors
/// All problems of the policy.
pub(crate) fn load(path: &Path) -> Result<Policy, Failure> {
    let name = path.display();
    let text = crate::command::input::text("policy", path)?;
    Policy::from_toml(&text).map_err(|error| {
        let problems = error.problems();
        let things = if problems.len() == 1 {
            "1 thing is"
        } else {
            &format!("{} things are", problems.len())
        };
        let lines: Vec<String> =
            problems.iter().map(|problem| format!("  {name}:{problem}")).collect();
        Failure::Usage(format!("{things} wrong with the policy\n{}", lines.join("\n")))
    })
}
