//! Sorting of requests by the time at which they began, for logs of servers that write a line when
//! a request ends. How long a request took is read in `took.rs` and `json_lines.rs`.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::event::Event;
use tollgate::Timestamp;

/// The memory for events that are held back: enough for over a hundred thousand lines of an access
/// log.
const MAX_HELD_BYTES: usize = 128 << 20;

/// The overhead of an allocation in bytes, besides its contents.
const ALLOCATION_BYTES: usize = 16;

/// Returns events in the order of their stamps, and events with equal stamps in the order of their
/// insertion.
///
/// A log whose lines have the duration of requests is in the order in which requests end.
/// `Arrivals` holds its events back until they take 128 MiB, and returns them in the order in which
/// requests began. The order is exact unless a request lasts longer than the span of the lines in
/// that memory. Such a request comes out too late, and [`Disorder`](super::Disorder) counts it.
///
/// ```
/// use std::time::Duration;
/// use tollgate_cli::replay::{Arrivals, Format};
///
/// let mut arrivals = Arrivals::new();
/// for line in [r#"{"t": 2, "took": 1}"#, r#"{"t": 1, "took": 9}"#] {
///     arrivals.push(Format::Jsonl.event(line.as_bytes())?.expect("it is not blank"));
/// }
/// let took: Vec<_> = arrivals.into_rest().filter_map(|event| event.took).collect();
/// assert_eq!(took, [Duration::from_secs(9), Duration::from_secs(1)]);
/// # Ok::<(), tollgate_cli::replay::Unreadable>(())
/// ```
#[derive(Debug)]
pub struct Arrivals {
    /// By the stamp, and by the number of events pushed before.
    held: BTreeMap<(Timestamp, u64), Event<'static>>,
    bytes: usize,
    most_bytes: usize,
    pushed: u64,
}

impl Arrivals {
    /// Creates an empty buffer.
    pub fn new() -> Arrivals {
        Arrivals::holding(MAX_HELD_BYTES)
    }

    fn holding(most_bytes: usize) -> Arrivals {
        Arrivals { held: BTreeMap::new(), bytes: 0, most_bytes, pushed: 0 }
    }

    /// Whether no event is held back.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Holds an event back.
    pub fn push(&mut self, event: Event<'_>) {
        self.bytes += size(&event);
        self.held.insert((event.at, self.pushed), event.into_owned());
        self.pushed += 1;
    }

    /// Removes the earliest event if the events held back take too much memory. Call this until it
    /// returns `None`.
    pub fn pop_full(&mut self) -> Option<Event<'static>> {
        if self.bytes <= self.most_bytes {
            return None;
        }
        let (_, event) = self.held.pop_first()?;
        self.bytes -= size(&event);
        Some(event)
    }

    /// Returns all events held back, in order. Call this at the end of the log.
    pub fn into_rest(self) -> impl Iterator<Item = Event<'static>> {
        self.held.into_values()
    }
}

/// The approximate size of an event in bytes.
fn size(event: &Event<'_>) -> usize {
    let text = |text: &Cow<'_, str>| size_of::<Cow<'_, str>>() + text.len() + ALLOCATION_BYTES;
    let facts = event.facts.iter().map(|(name, value)| text(name) + text(value));
    size_of::<Event<'_>>()
        + 2 * ALLOCATION_BYTES
        + event.id.as_ref().map_or(0, text)
        + facts.sum::<usize>()
}

impl Default for Arrivals {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replay::Op;

    fn event(at: u64, id: &'static str) -> Event<'static> {
        let at = Timestamp::from_secs(at);
        Event { at, id: Some(id.into()), op: Op::Admit, facts: vec![], cost: 1, took: None }
    }

    fn ids(events: impl Iterator<Item = Event<'static>>) -> String {
        events.filter_map(|event| event.id).collect::<Vec<_>>().concat()
    }

    #[test]
    fn events_come_out_by_stamp_and_equal_ones_as_they_came() {
        let mut arrivals = Arrivals::new();
        for (at, id) in [(3, "d"), (1, "a"), (3, "e"), (2, "b"), (3, "f"), (2, "c")] {
            arrivals.push(event(at, id));
        }
        assert_eq!(arrivals.pop_full(), None);
        assert_eq!(ids(arrivals.into_rest()), "abcdef");
    }

    #[test]
    fn the_memory_has_a_bound() {
        let mut arrivals = Arrivals::holding(2 * size(&event(0, "a")));
        let mut out = Vec::new();
        for (at, id) in [(3, "d"), (2, "c"), (4, "e"), (1, "a"), (5, "f")] {
            arrivals.push(event(at, id));
            out.extend(std::iter::from_fn(|| arrivals.pop_full()));
            assert!(arrivals.held.len() <= 2);
        }
        // The buffer holds two events. It has given out `c` before `a` arrives.
        assert_eq!(ids(out.into_iter()) + &ids(arrivals.into_rest()), "cadef");
    }
}
