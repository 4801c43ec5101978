//! The numbers in force, where every decision reads them.
//!
//! A pair of slots, as in a seqlock: readers take no lock, and a change writes the slot that is not
//! in use, then moves the generation on. The slot before it stays readable until the next change,
//! which waits until no word of its generation is left. What the fast path reads of the slot in use
//! stands once more on a cache line of its own, beside the sequence word.

use crate::algorithm::Bucket;
use crate::decision::Standing;
use crate::quota::Quota;
use crate::sync::{AtomicU64, CachePadded, Ordering, fence, mutant};
use crate::ticks::Scale;
use crate::time::Timestamp;

use super::moment::FastMoment;
use super::parameters::Parameters;
use super::sequence::{CHANGING, GENERATION_SHIFT, QUEUED, STEPPED};
use super::word;

/// The numbers in force and those before them.
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

/// The numbers in force as the fast path has them.
#[derive(Clone, Copy)]
pub(crate) struct FastParameters {
    pub(crate) now: FastMoment,
    pub(crate) unit: u64,
    pub(crate) capacity: u64,
    pub(crate) salt: u64,
}

impl FastParameters {
    /// How a bucket stands that is full at the tick `full`.
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

    /// The numbers in force.
    #[inline]
    pub(crate) fn load(&self) -> Parameters {
        loop {
            // Acquire: sees the slot as it was published with this generation.
            let generation = self.line.sequence.load(Ordering::Acquire) >> GENERATION_SHIFT;
            let params = self.slots[(generation & 1) as usize].read(generation);
            if self.is_current(generation) {
                return params;
            }
        }
    }

    /// Whether the axis reaches to `now`. `false` also at the end of time.
    #[inline]
    pub(crate) fn reaches(&self, now: Timestamp) -> bool {
        // Acquire: the numbers whose end this is are in force.
        now.as_nanos() < self.end.load(Ordering::Acquire)
    }

    /// A stamp on the axis in force, unless callers wait in line for a key, the numbers are being
    /// changed, the axis does not reach there, or its ticks are not whole and must be if `WHOLE`. It is
    /// true if `fast` says so afterwards.
    #[inline(always)]
    pub(crate) fn moment<const WHOLE: bool>(&self, now: Timestamp) -> Option<FastMoment> {
        // Acquire: as in `load`.
        let sequence = self.line.sequence.load(Ordering::Acquire);
        // Relaxed: `is_unchanged` orders the line.
        let get = |field: &AtomicU64| field.load(Ordering::Relaxed);
        let nanos = now.as_nanos().wrapping_sub(get(&self.line.origin));
        if sequence & (QUEUED | CHANGING) != 0 || nanos >= get(&self.line.span) {
            return None;
        }
        FastMoment::new::<WHOLE>(sequence, nanos, get(&self.line.num), get(&self.line.den))
    }

    /// The numbers in force, if they are still those of `now`.
    #[inline(always)]
    pub(crate) fn fast(&self, now: FastMoment) -> Option<FastParameters> {
        // Relaxed: `is_unchanged` orders the line.
        let get = |field: &AtomicU64| field.load(Ordering::Relaxed);
        let (unit, capacity) = (get(&self.line.unit), get(&self.line.capacity));
        let params = FastParameters { now, unit, capacity, salt: get(&self.line.salt) };
        self.is_unchanged(now.sequence).then_some(params)
    }

    /// Whether the numbers that stood behind this sequence word are still in force, and nobody waits in
    /// line.
    #[inline(always)]
    pub(crate) fn is_unchanged(&self, sequence: u64) -> bool {
        // Pairs with the fence in `publish`: if anything read before was of a later change, its
        // mark is visible now.
        fence(Ordering::Acquire);
        mutant("line_unchecked") || self.line.sequence.load(Ordering::Relaxed) == sequence
    }

    /// The numbers before `current`, or `None` if `current` is no longer in force.
    pub(crate) fn before(&self, current: &Parameters) -> Option<Parameters> {
        let generation = current.generation.wrapping_sub(1);
        let params = self.slots[(generation & 1) as usize].read(generation);
        self.is_current(current.generation).then_some(params)
    }

    /// Whether `generation` is still in force, and so what was read of its slots is whole.
    #[inline]
    pub(crate) fn is_current(&self, generation: u64) -> bool {
        // Pairs with the fence in `publish`: if any word read before was of a later change, the
        // generation that came before that change is visible now.
        fence(Ordering::Acquire);
        self.line.sequence.load(Ordering::Relaxed) >> GENERATION_SHIFT == generation
    }

    /// Puts `params` in force. One caller at a time, and only when no word of a generation before
    /// the present one is left.
    pub(crate) fn publish(&self, params: &Parameters) {
        // Relaxed: the fence below orders it.
        let before = self.line.sequence.fetch_or(CHANGING, Ordering::Relaxed) & STEPPED;
        // Pairs with the fences in `is_current` and `is_unchanged`: a thread that reads what is
        // written below also sees the mark, and that the slot's old generation is over.
        fence(Ordering::Release);
        self.slots[(params.generation & 1) as usize].write(params);
        self.line.write(params);
        // Release: publishes the slot and the line. The next generation and its mark, and the mark of
        // the change taken away. Added, since `QUEUED` may be set meanwhile.
        let marks = mark(params).wrapping_sub(before).wrapping_sub(CHANGING);
        let next = marks.wrapping_add(1 << GENERATION_SHIFT);
        self.line.sequence.fetch_add(next, Ordering::Release);
        // Release, and after it: a caller that sees the end does not go on under the numbers before,
        // which may have no axis.
        self.end.store(params.end(), Ordering::Release);
    }

    /// Says whether callers wait in line for any key: then no check takes the fast path.
    pub(crate) fn set_queued(&self, any: bool) {
        // Relaxed: a caller that began to wait before a check did so before it for the checker,
        // too, and against one who begins meanwhile either order is right.
        if any {
            self.line.sequence.fetch_or(QUEUED, Ordering::Relaxed);
        } else {
            self.line.sequence.fetch_and(!QUEUED, Ordering::Relaxed);
        }
    }
}

/// What the sequence word says of the axis.
fn mark(params: &Parameters) -> u64 {
    if params.bucket.scale.step == 0 { 0 } else { STEPPED }
}

/// Writes a field of the numbers, by the one thread that may. What does not change is left alone: a
/// reader then has fewer stale values to see, and a model fewer to try.
fn set_changed(field: &AtomicU64, value: u64) {
    // Relaxed: `Published` orders whole slots and the line.
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
    // Relaxed throughout: `Published` orders whole slots.
    #[inline]
    fn read(&self, generation: u64) -> Parameters {
        let get = |field: &AtomicU64| field.load(Ordering::Relaxed);
        let burst = get(&self.burst);
        Parameters {
            generation,
            quota: Quota::known(get(&self.count), get(&self.per), burst),
            bucket: Bucket {
                // A slot never written has zeros; nothing may divide by them.
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

/// The tick of `word`, unless it was written under numbers that are unknown here.
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
