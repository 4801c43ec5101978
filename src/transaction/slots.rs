//! Slots as a part of a transaction.

use smallvec::SmallVec;

use crate::concurrency_limiter::Room;
use crate::slots::{Claim, Held, Look};
use crate::sync::Arc;

use super::{Again, Asked, Entry, Part};

/// As many concurrency limits of one request as are decided without allocating.
const INLINE: usize = 2;

pub(super) struct SlotPart {
    pub(super) room: Arc<Room>,
    pub(super) look: Look,
    held: Option<Held>,
}

impl SlotPart {
    pub(super) fn new(room: Arc<Room>, asked: &Asked) -> SlotPart {
        let look = room.slots.look(units(asked), asked.now, asked.turn);
        SlotPart { room, look, held: None }
    }

    /// What was taken, for a caller that gives it back.
    pub(super) fn taken(self) -> Option<(Arc<Room>, Held)> {
        Some((self.room, self.held?))
    }

    /// Takes the slots. If all else is held, the decision is made.
    pub(super) fn commit(&self, asked: &Asked) -> bool {
        self.room.slots.commit(&self.look, units(asked))
    }

    pub(super) fn look(&mut self, asked: &Asked) {
        self.look = self.room.slots.look(units(asked), asked.now, asked.turn);
    }

    pub(super) fn stands(&self) -> bool {
        self.room.slots.stands(&self.look)
    }

    pub(super) fn hold(&self) -> bool {
        self.room.slots.hold(&self.look)
    }

    pub(super) fn release(&self, asked: &Asked, is_charged: bool) {
        self.room.slots.release(if is_charged { units(asked) } else { 0 });
    }
}

/// A policy's and a set's weights fit.
fn units(asked: &Asked) -> u32 {
    u32::try_from(asked.cost).unwrap_or(u32::MAX)
}

/// Claims records for all slots that are enforced, in the order of the entries.
pub(super) fn claim<'s>(entries: &'s [Entry<'_>]) -> Result<SmallVec<[Claim<'s>; INLINE]>, Again> {
    let mut claims = SmallVec::new();
    for Entry { asked, part } in entries {
        if let (Part::Slots(slots), true) = (part, asked.enforced) {
            claims.push(slots.room.slots.claim(units(asked), asked.now).ok_or(Again)?);
        }
    }
    Ok(claims)
}

/// Leaves what was taken with the entries, and takes those in shadow.
pub(super) fn keep(entries: &mut [Entry<'_>], held: SmallVec<[Held; INLINE]>) {
    let mut held = held.into_iter();
    for Entry { asked, part } in entries {
        if let Part::Slots(slots) = part {
            slots.held = if asked.enforced {
                held.next()
            } else {
                slots.room.slots.take_anyway(units(asked), asked.now)
            };
        }
    }
}
