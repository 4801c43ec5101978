//! Slots as a part of a transaction.

use std::mem::ManuallyDrop;

use crate::concurrency_limiter::Semaphore;
use crate::decision::{Allowed, Denied};
use crate::slots::{Claim, Held, SlotSnapshot};
use crate::sync::{Arc, mutant};
use crate::time::Timestamp;

use super::asked::Asked;

/// As many concurrency limits of one request as are decided without allocating, and on the fast path.
pub(super) const SLOTS: usize = 2;

/// Slots, looked at.
pub(crate) struct SlotParticipant {
    /// The place of their limit among all limits of the request.
    pub(super) place: u32,
    now: Timestamp,
    pub(super) semaphore: Arc<Semaphore>,
    pub(super) look: SlotSnapshot,
    /// What was taken.
    pub(super) held: Option<Held>,
}

/// Those of one request, the first ones first. Most have none: dropping none is one comparison at the
/// caller.
#[derive(Default)]
pub(super) struct SlotParticipants(ManuallyDrop<[Option<SlotParticipant>; SLOTS]>);

/// Slots that were taken, for a caller that gives them back.
pub(crate) struct HeldSlots {
    /// As of [`SlotParticipant`].
    pub(crate) place: u32,
    pub(crate) semaphore: Arc<Semaphore>,
    pub(crate) held: Held,
}

impl SlotParticipants {
    #[inline(always)]
    pub(super) fn is_empty(&self) -> bool {
        self.0[0].is_none()
    }

    /// `None`: there is no place for one more.
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
    /// Looks at them, and shuts them if it must.
    pub(super) fn new(semaphore: Arc<Semaphore>, asked: &Asked) -> SlotParticipant {
        let look = semaphore.slots.look(units(asked), asked.now, asked.turn);
        SlotParticipant { place: asked.place, now: asked.now, semaphore, look, held: None }
    }

    /// Looks at them. `None`: the fast path does not decide them.
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

    /// Whether they can be taken.
    #[inline]
    pub(super) fn agrees(&self) -> bool {
        self.look.agrees()
    }

    #[inline]
    pub(crate) fn answer(&self) -> Result<Allowed, Denied> {
        self.look.answer()
    }

    pub(super) fn is_valid(&self) -> bool {
        mutant("slots_unconfirmed") || self.semaphore.slots.is_valid(&self.look)
    }

    /// A record for what may be taken.
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

    /// Takes the slots, and says as what they were then seen. If all else is held, the decision is made.
    #[inline]
    pub(super) fn commit(&self) -> Option<SlotSnapshot> {
        self.semaphore.slots.commit(&self.look)
    }

    /// Takes them whether or not there is room.
    pub(super) fn take_anyway(&mut self) {
        self.held = self.semaphore.slots.take_anyway(self.look.units(), self.now);
    }

    /// What was taken, for a caller that gives it back.
    #[inline]
    pub(crate) fn taken(self) -> Option<HeldSlots> {
        let SlotParticipant { place, semaphore, held, .. } = self;
        held.map(|held| HeldSlots { place, semaphore, held })
    }
}

/// A policy's and a set's weights fit.
fn units(asked: &Asked) -> u32 {
    u32::try_from(asked.cost).unwrap_or(u32::MAX)
}
