//! An event of a log ([`Event`]), and the reason why a line has none ([`Unreadable`]). The formats
//! that lines are parsed from are in `format`, `json_lines` and `access_log`.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use tollgate::Timestamp;

/// An event, as one line of a log describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event<'a> {
    /// When it happened; for a request, when it began.
    pub at: Timestamp,
    /// The id of the request in the log.
    pub id: Option<Cow<'a, str>>,
    /// What the event asks for.
    pub op: Op,
    /// Names and values of the facts. Facts that the log does not have are left out.
    pub facts: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    /// Units that the request costs.
    pub cost: u64,
    /// How long after `at` the request ended. None if the log does not say, or says so with an
    /// [`Op::Finish`].
    pub took: Option<Duration>,
}

impl Event<'_> {
    /// The same event with copies of the texts, so that it outlives its line.
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
    /// Nothing; it reports an end. The earliest admitted request of this id that has not ended
    /// ends, and gives back what it holds. Units of a rate are not given back.
    Finish,
}

/// Why a line has no event.
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
