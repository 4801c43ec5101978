//! [`SlotParticipant`]: slots of one semaphore, as a participant of a transaction.
//!
//! It wraps the operations of `slots` with the semaphore and the time. [`SlotParticipants`] are the
//! slots of one request on the fast path, [`HeldSlots`] slots that were taken.

use std::mem::ManuallyDrop;

use crate::concurrency_limiter::Semaphore;
use crate::decision::{Allowed, Denied};
use crate::slots::{Claim, Held, SlotSnapshot};
use crate::sync::Arc;
use crate::time::Timestamp;

use super::asked::Asked;

/// Up to this many concurrency limits of one request are decided without allocating, and on the
/// fast path.
pub(super) const SLOTS: usize = 2;

/// A snapshot of the slots of one semaphore.
pub(crate) struct SlotParticipant {
    /// The place of the limit among all limits of the request.
    pub(super) place: u32,
    now: Timestamp,
    pub(super) semaphore: Arc<Semaphore>,
    pub(super) look: SlotSnapshot,
    /// The slots that were taken, if any.
    pub(super) held: Option<Held>,
}

/// The slots of one request, filled from the front. Most requests have none, and dropping an empty
/// list is one comparison at the caller.
#[derive(Default)]
pub(super) struct SlotParticipants(ManuallyDrop<[Option<SlotParticipant>; SLOTS]>);

/// Slots that were taken, which the caller must give back.
pub(crate) struct HeldSlots {
    /// The place of the limit among all limits of the request.
    pub(crate) place: u32,
    pub(crate) semaphore: Arc<Semaphore>,
    pub(crate) held: Held,
}

impl SlotParticipants {
    #[inline(always)]
    pub(super) fn is_empty(&self) -> bool {
        self.0[0].is_none()
    }

    /// `None`: the list is full.
    #[inline]
    pub(super) fn push(&mut self, part: SlotParticipant) -> Option<()> {
        *self.0.iter_mut().find(|part| part.is_none())? = Some(part);
        Some(())
    }

    #[inline]
    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = &SlotParticipant> + Clone {
        self.0.iter().flatten()
    }

    #[inline]
    pub(super) fn iter_mut(&mut self) -> impl DoubleEndedIterator<Item = &mut SlotParticipant> {
        self.0.iter_mut().flatten()
    }

    #[inline]
    pub(super) fn take(&mut self) -> impl Iterator<Item = SlotParticipant> {
        self.0.iter_mut().filter_map(Option::take)
    }

    #[inline(never)]
    fn forget(&mut self) {
        self.take().for_each(drop);
    }
}

impl Drop for SlotParticipants {
    #[inline(always)]
    fn drop(&mut self) {
        if !self.is_empty() {
            self.forget();
        }
    }
}

impl SlotParticipant {
    /// Takes a snapshot, with exclusive access to the slots if needed.
    pub(super) fn new(semaphore: Arc<Semaphore>, asked: &Asked) -> SlotParticipant {
        let look = semaphore.slots.look(units(asked), asked.now, asked.turn);
        SlotParticipant { place: asked.place, now: asked.now, semaphore, look, held: None }
    }

    /// Takes a snapshot. `None`: the fast path does not decide these slots.
    #[inline]
    pub(super) fn fast(
        place: u32,
        semaphore: Arc<Semaphore>,
        units: u32,
        now: Timestamp,
    ) -> Option<SlotParticipant> {
        let look = semaphore.slots.snapshot_fast(units, now)?;
        Some(SlotParticipant { place, now, semaphore, look, held: None })
    }

    pub(super) fn look_again(&mut self, asked: &Asked) {
        self.look = self.semaphore.slots.look(units(asked), asked.now, asked.turn);
    }

    /// Whether the slots can be taken.
    #[inline]
    pub(super) fn agrees(&self) -> bool {
        self.look.agrees()
    }

    #[inline]
    pub(crate) fn answer(&self) -> Result<Allowed, Denied> {
        self.look.answer()
    }

    pub(super) fn is_valid(&self) -> bool {
        self.semaphore.slots.is_valid(&self.look)
    }

    /// Claims a lease record for the slots. `None`: no record is free, and none can be added.
    #[inline]
    pub(super) fn claim(&self) -> Option<Claim<'_>> {
        self.semaphore.slots.claim(self.look.units(), self.now)
    }

    #[inline]
    pub(super) fn hold(&self) -> bool {
        self.semaphore.slots.hold(&self.look)
    }

    #[inline]
    pub(super) fn release(&self, is_taken: bool) {
        self.semaphore.slots.release(&self.look, is_taken);
    }

    /// Takes the slots, and returns the snapshot on which it did. If all other participants are
    /// held, this is the moment of the decision. `None`: the slots have changed.
    #[inline]
    pub(super) fn commit(&self) -> Option<SlotSnapshot> {
        self.semaphore.slots.commit(&self.look)
    }

    /// Takes the slots even if there is no room.
    pub(super) fn take_anyway(&mut self) {
        self.held = self.semaphore.slots.take_anyway(self.look.units(), self.now);
    }

    /// The slots that were taken, which the caller must give back.
    #[inline]
    pub(crate) fn taken(self) -> Option<HeldSlots> {
        let SlotParticipant { place, semaphore, held, .. } = self;
        held.map(|held| HeldSlots { place, semaphore, held })
    }
}

/// The cost as a number of slots. The weights of policies and sets fit in `u32`.
fn units(asked: &Asked) -> u32 {
    u32::try_from(asked.cost).unwrap_or(u32::MAX)
}
