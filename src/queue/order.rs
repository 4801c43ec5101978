//! The waiters of one line, in order of arrival and by deadline.
//!
//! A plain data structure without locks or clocks: `line` decides when a waiter is inserted or
//! removed.

use std::collections::{BTreeSet, VecDeque};

use crate::sync::Arc;
use crate::time::Timestamp;

use super::Waits;

pub(super) struct InOrder {
    pub(super) waiter: Arc<dyn Waits>,
    pub(super) units: u64,
    pub(super) deadline: Timestamp,
}

#[derive(Default)]
pub(super) struct Order {
    tickets: u64,
    /// By ticket. A waiter that is removed before the head leaves a gap. The first place is never a
    /// gap.
    places: VecDeque<(u64, Option<InOrder>)>,
    gaps: usize,
    /// Waiters whose deadline is earlier than the deadline of a waiter before them. Empty if all
    /// callers wait equally long: the head then has the first deadline.
    sooner: BTreeSet<(Timestamp, u64)>,
    /// An upper bound of all deadlines.
    latest: Timestamp,
    /// The sum of the units of all waiters.
    units: u64,
}

/// Up to this many gaps are always kept.
const FEW: usize = 16;

impl Order {
    pub(super) fn len(&self) -> usize {
        self.places.len() - self.gaps
    }

    pub(super) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// The ticket of the next waiter to be pushed.
    pub(super) fn next_ticket(&self) -> u64 {
        self.tickets
    }

    pub(super) fn push(&mut self, waiting: InOrder) {
        self.units = self.units.saturating_add(waiting.units);
        if waiting.deadline < self.latest {
            self.sooner.insert((waiting.deadline, self.tickets));
        } else {
            self.latest = waiting.deadline;
        }
        self.places.push_back((self.tickets, Some(waiting)));
        self.tickets += 1;
    }

    pub(super) fn head(&self) -> Option<(u64, &InOrder)> {
        let (ticket, waiting) = self.places.front()?;
        Some((*ticket, waiting.as_ref()?))
    }

    pub(super) fn first_deadline(&self) -> Option<(Timestamp, u64)> {
        let (ticket, head) = self.head()?;
        let head = (head.deadline, ticket);
        Some(self.sooner.first().map_or(head, |sooner| head.min(*sooner)))
    }

    /// Removes the waiter with this ticket.
    pub(super) fn remove(&mut self, ticket: u64) -> Option<InOrder> {
        let is_head = self.places.front().is_some_and(|(head, _)| *head == ticket);
        let waiting = if is_head {
            self.places.pop_front()?.1?
        } else {
            let index = self.places.binary_search_by_key(&ticket, |(ticket, _)| *ticket).ok()?;
            let waiting = self.places.get_mut(index)?.1.take()?;
            self.gaps += 1;
            waiting
        };
        self.sooner.remove(&(waiting.deadline, ticket));
        self.units = self.units.saturating_sub(waiting.units);
        while let Some((_, None)) = self.places.front() {
            self.places.pop_front();
            self.gaps -= 1;
        }
        // Keeps `places` at about twice the number of waiters or less. The cost is amortized over
        // the removals that left the gaps.
        if self.gaps > FEW.max(self.len()) {
            self.places.retain(|(_, waiting)| waiting.is_some());
            self.gaps = 0;
        }
        if self.places.is_empty() {
            self.latest = Timestamp::ZERO;
        }
        Some(waiting)
    }

    /// The argument of [`QueueOwner::set_queued`](super::QueueOwner::set_queued): at least 1 while
    /// callers wait, else 0.
    pub(super) fn queued(&self) -> u64 {
        if self.places.is_empty() { 0 } else { self.units.max(1) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::{QueueOwner, Tried, Wake};

    struct Nobody;

    impl Waits for Nobody {
        fn try_at(&self, _: &dyn QueueOwner, _: Timestamp) -> Tried {
            Tried::Settled { wake: None, full_until: None }
        }
        fn refuse(&self, _: Timestamp) -> Option<Wake> {
            None
        }
        fn dismiss(&self) -> Option<Wake> {
            None
        }
        fn stand(&self, _: &Arc<dyn QueueOwner>, _: u64) -> bool {
            true
        }
        fn wake_unanswered(&self) -> Option<Wake> {
            None
        }
    }

    /// Compares `Order` with a naive list.
    #[test]
    fn it_keeps_the_order_whoever_leaves_and_stays_small() {
        let (mut order, mut naive) = (Order::default(), Vec::<(u64, u64, u64)>::new());
        let mut random = 1_u64;
        let mut next = |n: u64| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (random >> 33) % n
        };
        for step in 0..20_000 {
            // The head stays long, so that gaps form behind it.
            if next(2) == 0 || naive.len() < 2 {
                let (units, deadline) = (next(5), next(50));
                naive.push((order.next_ticket(), units, deadline));
                let deadline = Timestamp::from_nanos(deadline);
                order.push(InOrder { waiter: Arc::new(Nobody), units, deadline });
            } else {
                let index = if step % 1_000 == 0 { 0 } else { 1 + next(naive.len() as u64 - 1) };
                let (ticket, units, deadline) = naive.remove(index as usize);
                let left = order.remove(ticket).unwrap();
                assert_eq!((left.units, left.deadline.as_nanos()), (units, deadline));
                assert!(order.remove(ticket).is_none());
            }
            assert_eq!(order.len(), naive.len());
            assert_eq!(order.head().map(|(ticket, _)| ticket), naive.first().map(|first| first.0));
            let first = naive.iter().map(|(ticket, _, deadline)| (*deadline, *ticket)).min();
            let deadline = order.first_deadline().map(|(at, ticket)| (at.as_nanos(), ticket));
            assert_eq!(deadline, first);
            let units: u64 = naive.iter().map(|waiting| waiting.1).sum();
            assert_eq!(order.queued(), if naive.is_empty() { 0 } else { units.max(1) });
            assert!(order.places.len() <= 2 * naive.len() + FEW, "{} places", order.places.len());
        }
    }
}
