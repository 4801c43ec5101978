//! What a line of a log says: [`Event`], or why it says nothing: [`Unreadable`].

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use tollgate::Timestamp;

/// What happened, as one line of a log tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event<'a> {
    /// When it happened; of a request, when it began.
    pub at: Timestamp,
    /// What the log calls it.
    pub id: Option<Cow<'a, str>>,
    /// What was asked for.
    pub op: Op,
    /// Names and values. A fact that the log does not have is not there.
    pub facts: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    /// Units it costs.
    pub cost: u64,
    /// How long after `at` it ended. None if the log does not tell, or tells by an [`Op::Finish`].
    pub took: Option<Duration>,
}

impl Event<'_> {
    /// The same event, apart from the line that told of it.
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
    /// To be admitted, and charged.
    #[default]
    Admit,
    /// Whether it would be admitted. Nothing is charged.
    Peek,
    /// Nothing: the earliest admitted request of this id that has not ended ends, and gives back
    /// what it holds. Of a rate that is nothing.
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
