//! Who stands in a line: in the order of coming, and by deadline.

use std::collections::{BTreeSet, VecDeque};

use crate::sync::Arc;
use crate::time::Timestamp;

use super::Waits;

pub(super) struct Waiting {
    pub(super) waiter: Arc<dyn Waits>,
    pub(super) units: u64,
    pub(super) deadline: Timestamp,
}

#[derive(Default)]
pub(super) struct Order {
    tickets: u64,
    /// By ticket. Who left before the head leaves a gap; the first is none.
    places: VecDeque<(u64, Option<Waiting>)>,
    gaps: usize,
    deadlines: BTreeSet<(Timestamp, u64)>,
    /// Units of all who wait.
    units: u64,
}

/// Gaps that are always left alone: fewer than that cost nothing.
const FEW: usize = 16;

impl Order {
    pub(super) fn len(&self) -> usize {
        self.places.len() - self.gaps
    }

    /// The ticket of whoever comes next.
    pub(super) fn next_ticket(&self) -> u64 {
        self.tickets
    }

    pub(super) fn push(&mut self, waiting: Waiting) {
        self.units = self.units.saturating_add(waiting.units);
        self.deadlines.insert((waiting.deadline, self.tickets));
        self.places.push_back((self.tickets, Some(waiting)));
        self.tickets += 1;
    }

    pub(super) fn head(&self) -> Option<(u64, &Waiting)> {
        let (ticket, waiting) = self.places.front()?;
        Some((*ticket, waiting.as_ref()?))
    }

    pub(super) fn first_deadline(&self) -> Option<(Timestamp, u64)> {
        self.deadlines.first().copied()
    }

    /// Takes out whoever has `ticket`.
    pub(super) fn remove(&mut self, ticket: u64) -> Option<Waiting> {
        let index = self.places.binary_search_by_key(&ticket, |(ticket, _)| *ticket).ok()?;
        let waiting = self.places.get_mut(index)?.1.take()?;
        self.deadlines.remove(&(waiting.deadline, ticket));
        self.units = self.units.saturating_sub(waiting.units);
        self.gaps += 1;
        while let Some((_, None)) = self.places.front() {
            self.places.pop_front();
            self.gaps -= 1;
        }
        // So a line is not longer than twice those who wait, and a removal seldom costs more.
        if self.gaps > FEW.max(self.len()) {
            self.places.retain(|(_, waiting)| waiting.is_some());
            self.gaps = 0;
        }
        Some(waiting)
    }

    /// What those who do not queue are told: 0 if nobody does.
    pub(super) fn queued(&self) -> u64 {
        if self.places.is_empty() { 0 } else { self.units.max(1) }
    }
}
