//! The content of a log line, independent of the log's format: [`Event`], or [`Unreadable`] with
//! the reason. Formats are in `format.rs`.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use tollgate::Timestamp;

/// What happened, according to one line of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event<'a> {
    /// When the event happened; for a request, when it began.
    pub at: Timestamp,
    /// The id of the request in the log.
    pub id: Option<Cow<'a, str>>,
    /// The kind of event.
    pub op: Op,
    /// Names and values of the facts. Facts that the line lacks are left out.
    pub facts: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    /// The cost in units.
    pub cost: u64,
    /// How long after `at` the request ended. `None` if that is unknown, or follows as an
    /// [`Op::Finish`].
    pub took: Option<Duration>,
}

impl Event<'_> {
    /// Converts the event into one that does not borrow from its line.
    pub fn into_owned(self) -> Event<'static> {
        let owned = |text: Cow<'_, str>| Cow::Owned(text.into_owned());
        let facts = self.facts.into_iter().map(|(name, value)| (owned(name), owned(value)));
        Event { id: self.id.map(owned), facts: facts.collect(), ..self }
    }
}

/// What an [`Event`] asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Op {
    /// A request to be admitted and charged.
    #[default]
    Admit,
    /// A question whether a request would be admitted. Nothing is charged.
    Peek,
    /// The end of the earliest admitted request with this id that has not ended. The request gives
    /// back what it holds: slots of concurrency limits, but nothing of a rate.
    Finish,
}

/// The reason why a line is no event.
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
