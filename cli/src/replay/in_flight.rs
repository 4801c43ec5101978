//! The admitted requests whose end the log tells, from their admission to their end.

use std::collections::{BTreeMap, HashMap, VecDeque};

use super::FixedHasher;
use super::event::Event;
use tollgate::Permit;
use tollgate::Timestamp;

/// If this many admitted requests have an id and none of them was finished, the ids are taken not
/// to mark the end of requests.
const MAX_UNTOLD: u64 = 1 << 18;

/// Keeps the permits of requests until the requests end.
///
/// A request that ends as it begins is in flight for that moment. A request with neither `took` nor
/// an id is never in flight, since nothing can tell its end.
pub(super) struct InFlight {
    /// By the end, then by the number of requests admitted before.
    by_end: BTreeMap<(Timestamp, u64), Box<Permit>>,
    /// The permits that a finish may end, the earliest first. An id without permits has no entry.
    by_id: HashMap<String, VecDeque<Box<Permit>>, FixedHasher>,
    admitted: u64,
    unfinished: u64,
    peak: u64,
    /// Whether any request had `took`; `finish`: whether a finish ended any request.
    took: bool,
    finish: bool,
    /// Set once `most_untold` ids went without a finish: ids do not mark ends.
    ids_mean_nothing: bool,
    most_untold: u64,
}

impl InFlight {
    pub(super) fn new() -> InFlight {
        InFlight::telling_within(MAX_UNTOLD)
    }

    fn telling_within(most_untold: u64) -> InFlight {
        InFlight {
            by_end: BTreeMap::new(),
            by_id: HashMap::default(),
            admitted: 0,
            unfinished: 0,
            peak: 0,
            took: false,
            finish: false,
            ids_mean_nothing: false,
            most_untold,
        }
    }

    /// Starts an admitted request at `now`.
    pub(super) fn begin(&mut self, permit: Permit, event: &Event<'_>, now: Timestamp) {
        if let Some(took) = event.took {
            // An event that comes late ends no later than the log says.
            let end = now.max(event.at + took);
            self.by_end.insert((end, self.admitted), Box::new(permit));
            self.took = true;
        } else if let Some(id) = event.id.as_ref().filter(|_| !self.ids_mean_nothing) {
            let same = self.by_id.entry(id.to_string()).or_default();
            same.push_back(Box::new(permit));
            self.unfinished += 1;
        }
        self.admitted += 1;
        if self.unfinished > self.most_untold && !self.finish {
            self.ids_mean_nothing = true;
            self.unfinished = 0;
            self.by_id = HashMap::default();
        }
        self.peak = self.peak.max(self.by_end.len() as u64 + self.unfinished);
    }

    /// The first permit whose request ended at `now` or before, and when it ended.
    pub(super) fn end(&mut self, now: Timestamp) -> Option<(Timestamp, Box<Permit>)> {
        let first = self.by_end.first_entry().filter(|first| first.key().0 <= now)?;
        let end = first.key().0;
        Some((end, first.remove()))
    }

    /// The permit of the earliest unfinished request of this id.
    pub(super) fn finish(&mut self, id: &str) -> Option<Box<Permit>> {
        let same = self.by_id.get_mut(id)?;
        let earliest = same.pop_front()?;
        if same.is_empty() {
            self.by_id.remove(id);
        }
        self.unfinished -= 1;
        self.finish = true;
        Some(earliest)
    }

    /// The most requests in flight at a time, if anything told when a request ended.
    pub(super) fn peak(&self) -> Option<u64> {
        (self.took || self.finish).then_some(self.peak)
    }

    /// How many requests are unfinished, if any was ever finished.
    pub(super) fn unfinished(&self) -> u64 {
        if self.finish { self.unfinished } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replay::Format;
    use tollgate::{Enforcer, Limit, Policy, Quota, VirtualClock};

    const MOST: u64 = 10;
    const NO_FACTS: &[(&str, &str)] = &[];

    /// Starts a request for each line. What remains identifies each permit: 9, 8, 7…
    fn begun(lines: &[&str]) -> InFlight {
        let policy = Policy::new().limit(Limit::new("all", Quota::per_second(1).burst(10)));
        let clock = VirtualClock::new().clock();
        let enforcer = Enforcer::builder(policy).clock(clock).build().unwrap();
        let mut in_flight = InFlight::telling_within(MOST);
        for line in lines {
            let event = Format::Jsonl.event(line.as_bytes()).unwrap().unwrap();
            in_flight.begin(enforcer.admit(NO_FACTS, 1).unwrap(), &event, event.at);
        }
        in_flight
    }

    #[test]
    fn the_first_end_comes_first_and_of_equal_ones_the_first_admitted() {
        let mut in_flight = begun(&[
            r#"{"t": 0, "took": 9}"#,
            r#"{"t": 1, "took": 3}"#,
            r#"{"t": 2, "took": 2}"#,
            r#"{"t": 3, "took": 0}"#,
        ]);
        let mut ended_by = |second| {
            let now = Timestamp::from_secs(second);
            let next = || in_flight.end(now);
            std::iter::from_fn(next)
                .map(|(end, permit)| (end.as_nanos() / 1_000_000_000, permit.allowed().remaining()))
                .collect::<Vec<_>>()
        };
        assert_eq!(ended_by(2), []);
        assert_eq!(ended_by(8), [(3, 6), (4, 8), (4, 7)]);
        assert_eq!(ended_by(9), [(9, 9)]);
    }

    #[test]
    fn ids_that_are_never_finished_have_a_bound() {
        let finish = |in_flight: &mut InFlight, id: &str| in_flight.finish(id).is_some();
        for (finished, kept) in [(true, 2 * MOST), (false, 0)] {
            let mut in_flight = begun(&[r#"{"t": 0, "id": "first"}"#]);
            assert!(!finished || finish(&mut in_flight, "first"));
            let enforcer = Enforcer::builder(Policy::new()).build().unwrap();
            for id in 0..2 * MOST {
                let line = format!(r#"{{"t": 0, "id": {id}}}"#);
                let event = Format::Jsonl.event(line.as_bytes()).unwrap().unwrap();
                in_flight.begin(enforcer.admit(NO_FACTS, 1).unwrap(), &event, event.at);
                assert!(finished || in_flight.unfinished <= MOST);
            }
            assert_eq!(in_flight.unfinished, kept);
            assert_eq!(in_flight.by_id.len() as u64, kept);
            assert_eq!(finish(&mut in_flight, "0"), finished);
        }
    }

    #[test]
    fn a_finish_gives_the_earliest_permit_of_its_id() {
        let mut in_flight =
            begun(&[r#"{"t": 0, "id": "a"}"#, r#"{"t": 0, "id": "b"}"#, r#"{"t": 0, "id": "a"}"#]);
        let mut finish = |id| in_flight.finish(id).map(|permit| permit.allowed().remaining());
        assert_eq!(
            ["a", "a", "a", "b", "b"].map(&mut finish),
            [Some(9), Some(7), None, Some(8), None]
        );
        assert!(in_flight.by_id.is_empty(), "ids are forgotten");
    }
}
