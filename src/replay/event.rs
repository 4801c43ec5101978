//! What a line of a log says: [`Event`], or why it says nothing: [`Unreadable`].

use std::borrow::Cow;
use std::fmt;

use crate::time::Timestamp;

/// What happened, as one line of a log tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event<'a> {
    /// When.
    pub at: Timestamp,
    /// What the log calls it.
    pub id: Option<Cow<'a, str>>,
    /// What was asked for.
    pub op: Op,
    /// Names and values. A fact that the log does not have is not there.
    pub facts: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    /// Units it costs.
    pub cost: u64,
}

/// What an [`Event`] asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Op {
    /// To be admitted, and charged.
    #[default]
    Admit,
    /// Whether it would be admitted. Nothing is charged.
    Peek,
    /// Nothing: an admitted request ends, and gives back what it holds. Of a rate that is nothing.
    Finish,
}

/// Why a line is no event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable(Cow<'static, str>);

impl Unreadable {
    pub(super) fn because(reason: impl Into<Cow<'static, str>>) -> Unreadable {
        Unreadable(reason.into())
    }
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unreadable {}
