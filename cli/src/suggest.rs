//! Finds limits from observed use: for each fact of a log, the tightest limit that would have
//! refused no more than a given share of its requests or callers.
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
//! **What is suggested.** One limit per fact: `count` per period by GCRA, with a burst of the
//! count, for requests that have the fact. The count is the smallest that keeps to the target,
//! found by deciding the log's requests. A limit has one number only, so that a person can check
//! and change it.
//!
//! **Which period.** Ten seconds, a minute or, if timestamps are fine enough, a second: the period
//! whose limit lets the least through in its worst minute, that is, its burst and a minute of its
//! rate. This selects the minute for callers that come in bursts, as browsers do, and a shorter
//! period for callers that come evenly, as programs do, which a minute's burst would hardly limit.
//! A period is at least ten times as long as the step of the timestamps: a log of whole seconds
//! does not tell how the requests of one second were spread.
//!
//! **Several facts.** The limits of one policy refuse together, and often the same requests. So
//! each limit by itself may refuse the same part of what the target allows, in 64ths: the largest
//! part with which all of them together keep to the target. What is left then goes to one limit
//! after the other, in their order. Each limit alone keeps to the target too, so a limit can be
//! removed from the policy.
//!
//! **Confirmed.** In the end a [`Replay`](crate::replay::Replay) runs the policy over all requests,
//! and if it refuses too much, limits are loosened until it does not. The reported numbers are from
//! that replay.
//!
//! Requests are treated as in a replay: an event with a timestamp earlier than that of a previous
//! event counts at the latest timestamp so far. A million requests of three facts take about ten
//! seconds, since limits are tried together over all of them up to a few dozen times, and 40 MB.

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
    /// At most this share, rounded down to whole requests or callers. With 0 % nothing is refused.
    pub share: Share,
    /// Whether the share is of requests or of callers.
    pub of: Of,
}

/// What a share is a share of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Of {
    /// All requests: at most this share of them is refused, by any limit.
    #[default]
    Requests,
    /// The callers of each fact, that is, its different values: at most this share of them has any
    /// request refused, by any limit. With several facts this is a strict target, since a refused
    /// request counts for its callers of all facts.
    Callers,
}
