//! Suggestion of limits from observed use: for each fact of a log, the tightest limit that would
//! have refused no more than a given share of the requests, or of the callers.
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
//! **What is suggested.** One limit per fact, for requests that have the fact: `count` per period
//! by GCRA, with a burst of the count. The count is the smallest that keeps to the target, found by
//! deciding the log's requests. A person can check and change one number per fact.
//!
//! **Which period.** The candidates are a minute, ten seconds and, if stamps are fine enough, a
//! second. The period is chosen whose limit lets the least through in its worst minute, which is
//! its burst and a minute of its rate. For callers that come in bursts, as browsers do, that is the
//! minute. For callers that come evenly, as programs do, it is a shorter period, since the burst of
//! a minute would hardly limit them. A period is at least ten times the step of the stamps: a log
//! of whole seconds does not say how the requests of one second were spread.
//!
//! **Several facts.** The limits of a policy refuse together, and often the same requests. So each
//! limit may by itself refuse the same part of what the target allows, in 64ths: the largest part
//! with which all limits together keep to the target. What remains then goes to one limit after the
//! other, in their order. Each limit alone also keeps to the target, so any of them can be removed
//! from the policy.
//!
//! **Confirmed.** At the end a [`Replay`](crate::replay::Replay) runs the policy over all requests.
//! If it refuses more than the target allows, limits are loosened until it does not. The numbers of
//! the suggestion are the replay's.
//!
//! Requests are taken as a replay takes them: one stamped earlier than an event before it counts at
//! the latest stamp so far. A million requests of three facts take some ten seconds and 40 MB,
//! since the limits are tried together over all requests up to a few dozen times.

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

/// How much of the observed use may be refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// The share, rounded down to whole requests or callers. With 0 %, nothing is refused.
    pub share: Share,
    /// What the share counts.
    pub of: Of,
}

/// What the share of a [`Target`] counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Of {
    /// All requests: a request counts if any limit refuses it.
    #[default]
    Requests,
    /// The callers of each fact, which are its different values: a caller counts if any limit
    /// refuses any of its requests. With several facts this is a strict target, since a refused
    /// request counts for the callers of all its facts.
    Callers,
}
