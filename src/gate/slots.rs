//! Slots as a part of a transaction.

use smallvec::SmallVec;

use crate::concurrency_limiter::{Lease, Room};
use crate::decision::{Allowed, Denied};
use crate::slots::{Claim, Held, Look};
use crate::sync::Arc;
use crate::time::Timestamp;

use super::Again;

/// As many concurrency limits of one request as are decided without allocating.
const INLINE: usize = 2;

/// One concurrency limit's part in a decision.
pub(crate) struct SlotEntry {
    room: Arc<Room>,
    units: u32,
    now: Timestamp,
    /// Whether its denial refuses the request. If not it takes its slots all the same.
    enforced: bool,
    /// Its place among all limits of the request.
    pub(crate) place: u32,
    /// Whether whoever waits in line has been asked.
    turn: bool,
    look: Look,
    held: Option<Held>,
}

pub(crate) type SlotEntries = SmallVec<[SlotEntry; INLINE]>;

impl SlotEntry {
    /// Asks for `units`, at the head of the line if it is that one's `turn`.
    pub(crate) fn new(
        room: Arc<Room>,
        units: u32,
        now: Timestamp,
        enforced: bool,
        place: u32,
        turn: bool,
    ) -> SlotEntry {
        let look = room.slots.look(units, now, turn);
        SlotEntry { room, units, now, enforced, place, turn, look, held: None }
    }

    /// What this limit says.
    pub(crate) fn answer(&self) -> Result<Allowed, Denied> {
        self.look.answer
    }

    pub(crate) fn room(&self) -> &Room {
        &self.room
    }

    pub(crate) fn units(&self) -> u32 {
        self.units
    }

    pub(crate) fn is_enforced(&self) -> bool {
        self.enforced
    }

    /// What was taken.
    pub(crate) fn lease(self) -> Option<Lease> {
        self.taken().map(|(room, held)| Lease::new(room, held))
    }

    /// What was taken, and whoever gets it must give back.
    pub(crate) fn taken(self) -> Option<(Arc<Room>, Held)> {
        Some((self.room, self.held?))
    }

    /// Serves those who wait, if any.
    pub(crate) fn serve(&self) {
        self.room.serve_queued();
    }

    pub(super) fn look_again(&mut self) {
        self.look = self.room.slots.look(self.units, self.now, self.turn);
    }

    pub(super) fn stands(&self) -> bool {
        self.room.slots.stands(&self.look)
    }

    pub(super) fn refuses(&self) -> bool {
        self.enforced && self.look.answer.is_err()
    }

    pub(super) fn keep(&mut self, held: Option<Held>) {
        self.held = held;
    }

    pub(super) fn take_anyway(&mut self) {
        self.held = self.room.slots.take_anyway(self.units, self.now);
    }
}

/// Slots on the way to be taken. Dropping it, unwinding included, lets go of those that are held,
/// as they were.
pub(super) struct Taking<'s> {
    parts: SmallVec<[Part<'s>; INLINE]>,
    /// How many are held, from the first on.
    held: usize,
    is_committed: bool,
}

struct Part<'s> {
    entry: &'s SlotEntry,
    claim: Option<Claim<'s>>,
}

impl<'s> Taking<'s> {
    /// Claims records for all. From here on nobody may be waited for.
    pub(super) fn prepare(entries: &'s [SlotEntry]) -> Result<Taking<'s>, Again> {
        let part = |entry: &'s SlotEntry| {
            let claim = entry.room.slots.prepare(entry.units, entry.now).ok_or(Again)?;
            Ok(Part { entry, claim: Some(claim) })
        };
        let parts = entries.iter().filter(|entry| entry.enforced).map(part);
        Ok(Taking { parts: parts.collect::<Result<_, Again>>()?, held: 0, is_committed: false })
    }

    /// Holds all but the last.
    pub(super) fn hold(&mut self) -> Result<(), Again> {
        for part in self.parts.iter().take(self.parts.len().saturating_sub(1)) {
            if !part.entry.room.slots.hold(&part.entry.look) {
                return Err(Again);
            }
            self.held += 1;
        }
        Ok(())
    }

    /// Takes the last. If all else is held, the decision is made.
    pub(super) fn commit(&mut self) -> Result<(), Again> {
        let Some(Part { entry, .. }) = self.parts.last() else { return Ok(()) };
        self.is_committed = entry.room.slots.commit(&entry.look, entry.units, entry.turn);
        if self.is_committed { Ok(()) } else { Err(Again) }
    }

    /// Lets go of those held and begins the leases, in the order of the entries.
    pub(super) fn finish(mut self) -> SmallVec<[Held; INLINE]> {
        self.let_go();
        self.parts.iter_mut().filter_map(|part| Some(part.claim.take()?.live())).collect()
    }

    fn let_go(&mut self) {
        for part in self.parts.iter().take(self.held) {
            part.entry.room.slots.release(if self.is_committed { part.entry.units } else { 0 });
        }
        self.held = 0;
    }
}

impl Drop for Taking<'_> {
    fn drop(&mut self) {
        self.let_go();
    }
}
