//! Slots as a part of a transaction.

use std::mem::ManuallyDrop;

use crate::concurrency_limiter::Room;
use crate::decision::{Allowed, Denied};
use crate::slots::{Claim, Held, Look};
use crate::sync::{Arc, mutant};
use crate::time::Timestamp;

use super::asked::Asked;

/// As many concurrency limits of one request as are decided without allocating, and on the fast path.
pub(super) const SLOTS: usize = 2;

/// Slots, looked at.
pub(crate) struct SlotPart {
    /// The place of their limit among all limits of the request.
    pub(super) place: u32,
    now: Timestamp,
    pub(super) room: Arc<Room>,
    pub(super) look: Look,
    /// What was taken.
    pub(super) held: Option<Held>,
}

/// Those of one request, the first ones first. Most have none: dropping none is one comparison at the
/// caller.
#[derive(Default)]
pub(super) struct SlotParts(ManuallyDrop<[Option<SlotPart>; SLOTS]>);

/// Slots that were taken, for a caller that gives them back.
pub(crate) struct HeldSlots {
    /// As of [`SlotPart`].
    pub(crate) place: u32,
    pub(crate) room: Arc<Room>,
    pub(crate) held: Held,
}

impl SlotParts {
    #[inline(always)]
    pub(super) fn is_empty(&self) -> bool {
        self.0[0].is_none()
    }

    /// `None`: there is no place for one more.
    #[inline]
    pub(super) fn push(&mut self, part: SlotPart) -> Option<()> {
        *self.0.iter_mut().find(|part| part.is_none())? = Some(part);
        Some(())
    }

    #[inline]
    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = &SlotPart> + Clone {
        self.0.iter().flatten()
    }

    #[inline]
    pub(super) fn iter_mut(&mut self) -> impl DoubleEndedIterator<Item = &mut SlotPart> {
        self.0.iter_mut().flatten()
    }

    #[inline]
    pub(super) fn take(&mut self) -> impl Iterator<Item = SlotPart> {
        self.0.iter_mut().filter_map(Option::take)
    }

    #[inline(never)]
    fn forget(&mut self) {
        self.take().for_each(drop);
    }
}

impl Drop for SlotParts {
    #[inline(always)]
    fn drop(&mut self) {
        if !self.is_empty() {
            self.forget();
        }
    }
}

impl SlotPart {
    /// Looks at them, and shuts them if it must.
    pub(super) fn new(room: Arc<Room>, asked: &Asked) -> SlotPart {
        let look = room.slots.look(units(asked), asked.now, asked.turn);
        SlotPart { place: asked.place, now: asked.now, room, look, held: None }
    }

    /// Looks at them. `None`: the fast path does not decide them.
    #[inline]
    pub(super) fn at_once(
        place: u32,
        room: Arc<Room>,
        units: u32,
        now: Timestamp,
    ) -> Option<SlotPart> {
        let look = room.slots.look_at_once(units, now)?;
        Some(SlotPart { place, now, room, look, held: None })
    }

    pub(super) fn look_again(&mut self, asked: &Asked) {
        self.look = self.room.slots.look(units(asked), asked.now, asked.turn);
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

    pub(super) fn stands(&self) -> bool {
        mutant("slots_unconfirmed") || self.room.slots.stands(&self.look)
    }

    /// A record for what may be taken.
    #[inline]
    pub(super) fn claim(&self) -> Option<Claim<'_>> {
        self.room.slots.claim(self.look.units(), self.now)
    }

    #[inline]
    pub(super) fn hold(&self) -> bool {
        self.room.slots.hold(&self.look)
    }

    #[inline]
    pub(super) fn release(&self, is_taken: bool) {
        self.room.slots.release(&self.look, is_taken);
    }

    /// Takes the slots, and says as what they were then seen. If all else is held, the decision is made.
    #[inline]
    pub(super) fn commit(&self) -> Option<Look> {
        self.room.slots.commit(&self.look)
    }

    /// Takes them whether or not there is room.
    pub(super) fn take_anyway(&mut self) {
        self.held = self.room.slots.take_anyway(self.look.units(), self.now);
    }

    /// What was taken, for a caller that gives it back.
    #[inline]
    pub(crate) fn taken(self) -> Option<HeldSlots> {
        let SlotPart { place, room, held, .. } = self;
        held.map(|held| HeldSlots { place, room, held })
    }
}

/// A policy's and a set's weights fit.
fn units(asked: &Asked) -> u32 {
    u32::try_from(asked.cost).unwrap_or(u32::MAX)
}
