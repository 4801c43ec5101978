//! The parameters in force, where every decision reads them.
//!
//! Two slots, as in a seqlock: readers take no lock; a change writes the slot that is not in use
//! and then increments the generation. The previous slot stays readable until the next change,
//! which waits until no word of its generation is left. The values that the fast path reads are
//! repeated on one cache line, next to the sequence word.

use crate::algorithm::Bucket;
use crate::decision::Standing;
use crate::quota::Quota;
use crate::sync::{AtomicU64, CachePadded, Ordering, fence};
use crate::ticks::Scale;
use crate::time::Timestamp;

use super::moment::FastMoment;
use super::parameters::Parameters;
use super::sequence::{CHANGING, GENERATION_SHIFT, QUEUED, STEPPED};
use super::word;

/// The parameters in force and the previous ones.
pub(crate) struct Published {
    line: FastLine,
    slots: [CachePadded<Slot>; 2],
    /// The stamp, in nanoseconds, before which the axis ends; 0 before the first stamp.
    end: AtomicU64,
}

/// One cache line: the sequence word, and what the fast path reads of the slot in use.
#[derive(Default)]
#[repr(align(64))]
struct FastLine {
    sequence: AtomicU64,
    origin: AtomicU64,
    span: AtomicU64,
    num: AtomicU64,
    den: AtomicU64,
    unit: AtomicU64,
    capacity: AtomicU64,
    /// [`word::salt`] of the generation.
    salt: AtomicU64,
}

/// The parameters in force as the fast path reads them.
#[derive(Clone, Copy)]
pub(crate) struct FastParameters {
    pub(crate) now: FastMoment,
    pub(crate) unit: u64,
    pub(crate) capacity: u64,
    pub(crate) salt: u64,
}

impl FastParameters {
    /// The standing of a key whose bucket is full at the tick `full`.
    #[inline(always)]
    pub(crate) fn standing(&self, full: u64) -> Standing {
        let FastParameters { now, unit, capacity, .. } = *self;
        let room = capacity.saturating_sub(full.saturating_sub(now.floor));
        let (reset, per_nano) = now.until(full);
        Standing { capacity, room, unit, reset, per_nano: per_nano.get() }
    }
}

#[derive(Default)]
struct Slot {
    unit: AtomicU64,
    num: AtomicU64,
    den: AtomicU64,
    step: AtomicU64,
    burst: AtomicU64,
    capacity: AtomicU64,
    count: AtomicU64,
    per: AtomicU64,
    origin: AtomicU64,
    span: AtomicU64,
    since: AtomicU64,
}

impl Published {
    pub(crate) fn new(params: &Parameters) -> Published {
        let sequence = AtomicU64::new(mark(params) | params.generation << GENERATION_SHIFT);
        let line = FastLine { sequence, ..FastLine::default() };
        let end = AtomicU64::new(params.end());
        let published = Published { line, slots: Default::default(), end };
        published.slots.iter().for_each(|slot| slot.write(params));
        published.line.write(params);
        published
    }

    /// The parameters in force.
    #[inline]
    pub(crate) fn load(&self) -> Parameters {
        loop {
            // Acquire: pairs with the Release in `publish`, so the slot is seen as published with
            // this generation.
            let generation = self.line.sequence.load(Ordering::Acquire) >> GENERATION_SHIFT;
            let params = self.slots[(generation & 1) as usize].read(generation);
            if self.is_current(generation) {
                return params;
            }
        }
    }

    /// Whether the axis reaches to `now`. Always `false` at the end of time.
    #[inline]
    pub(crate) fn reaches(&self, now: Timestamp) -> bool {
        // Acquire: pairs with the Release in `publish`: the parameters with this end are in force.
        now.as_nanos() < self.end.load(Ordering::Acquire)
    }

    /// Places `now` on the axis in force. `None`: callers wait in line for a key, the parameters
    /// are being changed, the axis does not reach to `now`, or its ticks are not whole and `WHOLE`
    /// asks that they are. The result is valid only if `fast` returns `Some` for it afterwards.
    #[inline(always)]
    pub(crate) fn moment<const WHOLE: bool>(&self, now: Timestamp) -> Option<FastMoment> {
        // Acquire: as in `load`.
        let sequence = self.line.sequence.load(Ordering::Acquire);
        // Relaxed: `is_unchanged` validates what is read of the line.
        let get = |field: &AtomicU64| field.load(Ordering::Relaxed);
        let nanos = now.as_nanos().wrapping_sub(get(&self.line.origin));
        if sequence & (QUEUED | CHANGING) != 0 || nanos >= get(&self.line.span) {
            return None;
        }
        FastMoment::new::<WHOLE>(sequence, nanos, get(&self.line.num), get(&self.line.den))
    }

    /// The parameters in force, if they are still those that `now` was computed from.
    #[inline(always)]
    pub(crate) fn fast(&self, now: FastMoment) -> Option<FastParameters> {
        // Relaxed: `is_unchanged` validates what is read of the line.
        let get = |field: &AtomicU64| field.load(Ordering::Relaxed);
        let (unit, capacity) = (get(&self.line.unit), get(&self.line.capacity));
        let params = FastParameters { now, unit, capacity, salt: get(&self.line.salt) };
        self.is_unchanged(now.sequence).then_some(params)
    }

    /// Whether the parameters published with this sequence word are still in force and no caller
    /// waits in line.
    #[inline(always)]
    pub(crate) fn is_unchanged(&self, sequence: u64) -> bool {
        // Pairs with the Release fence in `publish`: if a value read before this fence was written
        // by a later change, the load below sees that change's mark.
        fence(Ordering::Acquire);
        self.line.sequence.load(Ordering::Relaxed) == sequence
    }

    /// The parameters before `current`. `None`: `current` is no longer in force, or is about to be
    /// replaced, and the slot of those before is being written.
    pub(crate) fn before(&self, current: &Parameters) -> Option<Parameters> {
        let generation = current.generation.wrapping_sub(1);
        let params = self.slots[(generation & 1) as usize].read(generation);
        // Pairs with the Release fence in `publish`: if a value read before this fence was written by
        // the next change, the load below sees that change's mark, or its generation.
        fence(Ordering::Acquire);
        let sequence = self.line.sequence.load(Ordering::Relaxed) & !(QUEUED | STEPPED);
        (sequence == current.generation << GENERATION_SHIFT).then_some(params)
    }

    /// Whether `generation` is still in force. If so, what was read of its slot is consistent.
    #[inline]
    pub(crate) fn is_current(&self, generation: u64) -> bool {
        // Pairs with the Release fence in `publish`: if a value read before this fence was written
        // by a later change to the same slot, the load below sees the generation that this change
        // replaced.
        fence(Ordering::Acquire);
        self.line.sequence.load(Ordering::Relaxed) >> GENERATION_SHIFT == generation
    }

    /// Puts `params` in force. Called by one thread at a time, and only once all words are of the
    /// present generation.
    pub(crate) fn publish(&self, params: &Parameters) {
        // Relaxed: the fence below orders it before the writes.
        let before = self.line.sequence.fetch_or(CHANGING, Ordering::Relaxed) & STEPPED;
        // Pairs with the Acquire fences in `is_current` and `is_unchanged`: a thread that reads a
        // value written below also sees the mark, and that the slot's old generation is over.
        fence(Ordering::Release);
        self.slots[(params.generation & 1) as usize].write(params);
        self.line.write(params);
        // Release: publishes the slot and the line; pairs with the Acquire loads in `load` and
        // `moment`. The sum increments the generation, sets its mark and clears `CHANGING`. It is
        // added, not stored, since `QUEUED` may be set meanwhile.
        let marks = mark(params).wrapping_sub(before).wrapping_sub(CHANGING);
        let next = marks.wrapping_add(1 << GENERATION_SHIFT);
        self.line.sequence.fetch_add(next, Ordering::Release);
        // Release, and after the sequence word: a caller that sees the new end (Acquire in
        // `reaches`) no longer uses the previous parameters, which may have no axis.
        self.end.store(params.end(), Ordering::Release);
    }

    /// Sets whether callers wait in line for any key: then no check takes the fast path.
    pub(crate) fn set_queued(&self, any: bool) {
        // Relaxed: a caller that began to wait before a check happened before it, so the check sees
        // the mark. If the two are concurrent, either order is correct.
        if any {
            self.line.sequence.fetch_or(QUEUED, Ordering::Relaxed);
        } else {
            self.line.sequence.fetch_and(!QUEUED, Ordering::Relaxed);
        }
    }
}

/// What the sequence word says about the axis.
fn mark(params: &Parameters) -> u64 {
    if params.bucket.scale.step == 0 { 0 } else { STEPPED }
}

/// Writes a field of the parameters; only the thread that changes the quota may. An unchanged value
/// is not stored, so readers, and the models, have fewer stale values to see.
fn set_changed(field: &AtomicU64, value: u64) {
    // Relaxed: `Published` orders the slots and the line.
    if field.load(Ordering::Relaxed) != value {
        field.store(value, Ordering::Relaxed);
    }
}

impl FastLine {
    // Relaxed: `Published` orders the line.
    fn write(&self, params: &Parameters) {
        let Bucket { scale, capacity, .. } = params.bucket;
        let (num, den) = scale.passes();
        set_changed(&self.origin, params.origin);
        set_changed(&self.span, params.span);
        set_changed(&self.num, num);
        set_changed(&self.den, den);
        set_changed(&self.unit, scale.unit);
        set_changed(&self.capacity, capacity);
        set_changed(&self.salt, word::salt(params.generation));
    }
}

impl Slot {
    // Relaxed throughout: `Published` orders the slots.
    #[inline]
    fn read(&self, generation: u64) -> Parameters {
        let get = |field: &AtomicU64| field.load(Ordering::Relaxed);
        let burst = get(&self.burst);
        Parameters {
            generation,
            quota: Quota::known(get(&self.count), get(&self.per), burst),
            bucket: Bucket {
                // Never 0 once a slot is written; `max` keeps divisions from panicking whatever is
                // read.
                scale: Scale {
                    unit: get(&self.unit),
                    num: get(&self.num).max(1),
                    den: get(&self.den).max(1),
                    step: get(&self.step),
                },
                burst,
                capacity: get(&self.capacity),
            },
            origin: get(&self.origin),
            span: get(&self.span),
            since: get(&self.since),
        }
    }

    fn write(&self, params: &Parameters) {
        set_changed(&self.unit, params.bucket.scale.unit);
        set_changed(&self.num, params.bucket.scale.num);
        set_changed(&self.den, params.bucket.scale.den);
        set_changed(&self.step, params.bucket.scale.step);
        set_changed(&self.burst, params.bucket.burst);
        set_changed(&self.capacity, params.bucket.capacity);
        set_changed(&self.count, params.quota.count());
        set_changed(&self.per, params.quota.period().as_nanos() as u64);
        set_changed(&self.origin, params.origin);
        set_changed(&self.span, params.span);
        set_changed(&self.since, params.since);
    }
}

/// The tick of `word`, or `None` if the parameters it was written under are no longer known.
#[inline]
pub(crate) fn read_word(
    published: &Published,
    params: &Parameters,
    word: u64,
    tag: u64,
) -> Option<u64> {
    if word::is_of(word, params.generation) {
        Some(word::decode(word, tag, params.generation))
    } else {
        convert_word(published, params, word, tag)
    }
}

#[cold]
fn convert_word(published: &Published, params: &Parameters, word: u64, tag: u64) -> Option<u64> {
    let before = published.before(params)?;
    Some(params.convert(&before, word::decode(word, tag, before.generation)))
}
