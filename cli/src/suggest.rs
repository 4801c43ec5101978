//! Limits from observed use: for each fact of a log the tightest limit with which no more than a
//! given share of its requests, or of its callers, would have been refused.
//!
//! ```
//! use tollgate_cli::replay::Format;
//! use tollgate_cli::suggest::{Observed, Of, Target};
//!
//! let mut observed = Observed::of(["user"])?;
//! for second in 0..100 {
//!     // One request a second, and once five more at once.
//!     for _ in 0..if second == 50 { 6 } else { 1 } {
//!         let line = format!(r#"{{"t": {second}, "facts": {{"user": 7}}}}"#);
//!         observed.event(&Format::Jsonl.event(line.as_bytes())?.expect("it is not blank"))?;
//!     }
//! }
//! let nobody = Target { share: "0%".parse()?, of: Of::Requests };
//! let suggestion = observed.suggest(nobody)?;
//! assert_eq!(suggestion.refused, 0);
//! let limit = suggestion.facts[0].limit.as_ref().unwrap();
//! assert_eq!(limit.quota.to_string(), "10/10s");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! **What is suggested.** One limit a fact: `count` per period by GCRA, with a burst of the count,
//! for requests that have the fact. The count is the smallest that keeps to the target, found by
//! deciding the log's requests; one number a fact is what a person can check and change.
//!
//! **Which period.** Of ten seconds and a minute, and of a second if stamps are fine enough, the
//! one whose limit lets the least through in its worst minute: its burst, and a minute of its rate.
//! That is the minute for callers that come in bursts, as browsers do, and the shorter one for
//! those that come evenly, as programs do, whom a minute's burst would hardly limit. A period is at
//! least ten times as long as the step of the stamps: in a log of whole seconds nothing tells how
//! the requests of one second were spread.
//!
//! **Several facts.** Limits of one policy refuse together, and often the same requests. So each
//! may by itself refuse the same part of what the target allows, in 64ths: the largest part with
//! which all of them together keep to it. What is left then goes to one after the other, in their
//! order. Each limit alone keeps to the target too, so one can be taken out of the policy.
//!
//! **Confirmed.** In the end the policy is run over all requests by a
//! [`Replay`](crate::replay::Replay), and should that refuse more, limits are loosened until it does
//! not. Its numbers are those that are told.
//!
//! Requests are taken as a replay takes them: one that is stamped earlier than an event before it
//! counts at the latest stamp there was. A million requests of three facts take some ten seconds,
//! since limits are tried together over all of them up to a few dozen times, and 40 MB.

mod dial;
mod grouped;
mod observed;
mod plan;
mod suggestion;
mod together;
mod windows;

use serde::Serialize;

use tollgate::policy::Share;

pub use observed::{MAX_BYTES, Observed, Unobserved};
pub use suggestion::{Fact, Suggested, Suggestion};
pub use windows::{WINDOWS, Window};

/// How much of what was observed may be refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// At most this share, rounded down to whole requests or callers. 0 %: nobody.
    pub share: Share,
    /// Of what.
    pub of: Of,
}

/// What a share is of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Of {
    /// Of all requests: so many are refused, by whichever limit.
    #[default]
    Requests,
    /// Of the callers of each fact, its different values: so many have any request refused, by
    /// whichever limit. With several facts that is a lot to ask, since a request that is refused
    /// counts for the callers of all of them.
    Callers,
}
