//! The subcommand `tollgate suggest`. The search for limits is in `crate::suggest`.

use crate::replay::Event;
use crate::suggest::{Observed, Suggestion, Target};

use crate::command::args;
use crate::command::exit::{Failure, say};
use crate::command::output::progress::Progress;
use crate::command::output::{Screen, suggestion};
use crate::command::reading::{self, Events};
use crate::text::{did_you_mean, listed};

pub(crate) fn run(args: &args::Suggest) -> Result<(), Failure> {
    let mut observed = Observed::of(args.by.iter().map(String::as_str))
        .map_err(|error| Failure::Usage(format!("--by: {error}")))?;
    let inputs = reading::open(&args.logs.paths)?;
    let progress = Progress::over(&inputs, false);
    let reading = reading::read(inputs, &args.logs, &progress, &mut observed)?;

    let suggestion = observed
        .suggest(Target { share: args.refuse, of: args.of })
        .map_err(|error| Failure::Usage(error.to_string()))?;
    say_missing(&observed, &suggestion)?;
    let mut screen = Screen::stdout();
    if args.json {
        let text = serde_json::to_string(&suggestion).map_err(|error| {
            Failure::Usage(format!("the suggestion cannot be written: {error}"))
        })?;
        screen.line(&text);
    } else {
        suggestion::print(&suggestion, &reading, &mut screen);
    }
    screen.finish()?;
    reading.judge(args.logs.max_unreadable)
}

impl Events for Observed {
    fn event(&mut self, event: &Event<'_>) -> Result<(), Failure> {
        Observed::event(self, event).map_err(|error| Failure::Usage(error.to_string()))
    }
}

/// Reports the facts that no request has. If no fact is left, there is nothing to suggest.
fn say_missing(observed: &Observed, suggestion: &Suggestion) -> Result<(), Failure> {
    if suggestion.requests == 0 {
        say("warning: there is no request, so no limit is suggested");
        return Ok(());
    }
    let has: Vec<&str> = observed.facts().collect();
    let missing = |fact: &String| {
        let hint = match did_you_mean(fact, has.iter().copied()) {
            Some(guess) => guess,
            None if has.is_empty() => "they have no facts at all".to_owned(),
            None => format!("they have {}", listed(&has)),
        };
        format!("no request has `{}`: {hint}", fact.escape_debug())
    };
    let missing: Vec<String> = suggestion.missing_facts.iter().map(missing).collect();
    if suggestion.facts.is_empty() {
        let hint = "name facts to limit by with --by";
        return Err(Failure::Usage(format!("{}\n  {hint}", missing.join("\n  "))));
    }
    missing.iter().for_each(|missing| say(&format!("warning: {missing}")));
    Ok(())
}
