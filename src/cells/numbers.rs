//! The numbers in force: a quota on its axis of ticks, and how a change reaches every word.
//!
//! A pair of slots, as in a seqlock: readers take no lock, and a change writes the slot that is not
//! in use, then moves the generation on. The slot before it stays readable until the next change,
//! which waits until no word of its generation is left. What the fast path reads of the slot in use
//! stands once more on a cache line of its own, beside the sequence word.

use crate::algorithm::{Bucket, Moment, Refill};
use crate::quota::Quota;
use crate::sync::{AtomicU64, CachePadded, Ordering, fence};
use crate::ticks::Scale;
use crate::time::Timestamp;

use super::word::{self, MAX_TICK};

/// The latest tick that can be now: a full bucket still fits a word.
const MAX_NOW: u64 = (1 << 60) - 1;
/// How far from the axis's origin the first stamp is put: 9 years of 1 ns ticks, so that stamps
/// may also come from before it.
const PAST: u64 = 1 << 58;
const SECOND: u64 = 1_000_000_000;

/// A quota in force, and where its axis begins.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Numbers {
    pub(crate) generation: u64,
    pub(crate) quota: Quota,
    pub(crate) bucket: Bucket,
    /// Stamp of tick 0, in nanoseconds.
    origin: u64,
    /// Nanoseconds after the origin that the axis can show. 0 before the first stamp.
    span: u64,
    /// The stamp at which these numbers came into force: debt is converted as of then.
    since: u64,
}

impl Numbers {
    /// The numbers of a quota from `since` on, on an axis on which `now` has room both ways.
    fn new(
        generation: u64,
        quota: Quota,
        refill: Refill,
        now: Timestamp,
        since: Timestamp,
    ) -> Self {
        let bucket = Bucket::new(&quota, refill);
        let now = now.as_nanos();
        let origin = now.saturating_sub(bucket.scale.span(PAST));
        // On whole seconds, so that stamps of whole seconds are exact; on whole steps, which begin
        // where all axes do: if they are as long as an axis, where that of now begins.
        let mut origin = match bucket.scale.step {
            0 => origin - origin % SECOND,
            step => origin - origin % step,
        };
        if now - origin >= Numbers::span(&bucket) {
            origin = now - now % bucket.scale.step.max(1);
        }
        Numbers::on_axis(generation, quota, bucket, origin, since.as_nanos())
    }

    /// Nanoseconds that an axis can show: within its first step no tick passes.
    fn span(bucket: &Bucket) -> u64 {
        bucket.scale.span(MAX_NOW).max(bucket.scale.step)
    }

    fn on_axis(generation: u64, quota: Quota, bucket: Bucket, origin: u64, since: u64) -> Self {
        // Not beyond the end of time: an earlier stamp, which wraps, lies outside.
        let span = Numbers::span(&bucket).min((u64::MAX - origin).saturating_add(1));
        Numbers { generation, quota, bucket, origin, span, since }
    }

    /// The same quota on an axis that reaches to `now`.
    pub(crate) fn moved(&self, now: Timestamp) -> Self {
        let Numbers { generation, quota, bucket, mut origin, span, .. } =
            Numbers::new(self.generation + 1, self.quota, self.bucket.refill(), now, now);
        let den = bucket.scale.den;
        if self.span > 0 && SECOND % den != 0 && bucket.scale.step == 0 {
            // By whole ticks, so that no word is rounded; unless too little would lie ahead.
            let part = origin.saturating_sub(self.origin) % den;
            origin -= if part < span / 4 { part } else { 0 };
        }
        // Converted as of the new origin, words only shift.
        Numbers::on_axis(generation, quota, bucket, origin, origin)
    }

    /// Before any stamp: the axis has no length, so the first stamp gives it an origin.
    fn unset(generation: u64, quota: Quota, refill: Refill) -> Self {
        let numbers = Numbers::new(generation, quota, refill, Timestamp::ZERO, Timestamp::ZERO);
        Numbers { span: 0, ..numbers }
    }

    /// Another quota from `now` on.
    pub(crate) fn changed(&self, quota: Quota, now: Timestamp) -> Self {
        let refill = self.bucket.refill();
        if self.span == 0 {
            return Numbers::unset(self.generation + 1, quota, refill);
        }
        Numbers::new(self.generation + 1, quota, refill, now, now)
    }

    /// Where `now` lies on the axis; `None` if it lies beyond its end. A stamp before the origin
    /// counts as the origin: earlier stamps never admit more.
    #[inline]
    pub(crate) fn moment(&self, now: Timestamp) -> Option<Moment> {
        let nanos = now.as_nanos().wrapping_sub(self.origin);
        if nanos < self.span {
            return Some(self.at(nanos));
        }
        match self.span {
            0 => None,
            _ if now.as_nanos() < self.origin => {
                Some(Moment { early: self.origin - now.as_nanos(), ..self.at(0) })
            }
            // Ticks so coarse that the axis, from 0 on, ends with time itself.
            u64::MAX => Some(self.at(u64::MAX - 1)),
            _ => None,
        }
    }

    #[inline]
    fn at(&self, nanos: u64) -> Moment {
        self.bucket.moment(nanos, 0)
    }

    /// What the sequence word says of the axis.
    fn mark(&self) -> u64 {
        let Scale { den, step, .. } = self.bucket.scale;
        if den == 1 && step == 0 { 0 } else { CUT }
    }

    /// The least stamp, in nanoseconds, that is not before `tick`.
    pub(crate) fn stamp(&self, tick: u64) -> u64 {
        self.origin.saturating_add(self.bucket.scale.nanos(tick))
    }

    /// The stamp, in nanoseconds, of a moment of this axis.
    pub(crate) fn stamp_of(&self, moment: Moment) -> u64 {
        self.origin.saturating_add(moment.nanos)
    }

    /// The least tick that is not before the stamp `nanos`.
    pub(crate) fn tick(&self, nanos: u64) -> u64 {
        let nanos = nanos.saturating_sub(self.origin);
        self.at(nanos).ceil.min(MAX_TICK)
    }

    /// The tick that a word of the numbers before says under these. Debt is kept in units and
    /// rounded up; a bucket that was full at the change stays full since when it was.
    pub(crate) fn reprice(&self, before: &Numbers, tick: u64) -> u64 {
        let change = |numbers: &Numbers| numbers.at(self.since.saturating_sub(numbers.origin));
        let (old, new) = (change(before), change(self));
        let debt = tick.saturating_sub(old.floor);
        if debt == 0 {
            return if tick == 0 { 0 } else { self.tick(before.stamp(tick)).min(new.ceil) };
        }
        let units = |ticks: u64| u128::from(ticks);
        let debt =
            (units(debt) * units(self.bucket.scale.unit)).div_ceil(units(before.bucket.scale.unit));
        u64::try_from(u128::from(new.ceil) + debt).map_or(MAX_TICK, |tick| tick.min(MAX_TICK))
    }
}

/// The numbers in force and those before them.
pub(crate) struct Published {
    line: FastLine,
    slots: [CachePadded<Slot>; 2],
}

/// In the sequence word: callers wait in line for some key.
const QUEUED: u64 = 1;
/// The numbers are being changed: the line is not to be read.
const CHANGING: u64 = 2;
/// The axis is not whole: see [`Axis::Cut`].
const CUT: u64 = 4;
/// The generation is counted from here on.
const GENERATION_SHIFT: u32 = 3;

/// One cache line: the sequence word, and what the fast path reads of the slot in use.
#[derive(Default)]
#[repr(align(64))]
struct FastLine {
    sequence: AtomicU64,
    origin: AtomicU64,
    span: AtomicU64,
    num: AtomicU64,
    unit: AtomicU64,
    burst: AtomicU64,
    capacity: AtomicU64,
    /// [`word::salt`] of the generation.
    salt: AtomicU64,
}

/// The numbers in force as the fast path has them, with the tick that is now.
#[derive(Clone, Copy)]
pub(crate) struct FastNumbers {
    /// The sequence word that they stood behind.
    sequence: u64,
    pub(crate) now: u64,
    pub(crate) axis: Axis,
    pub(crate) unit: u64,
    pub(crate) burst: u64,
    pub(crate) capacity: u64,
    pub(crate) salt: u64,
}

/// How ticks and nanoseconds go together.
#[derive(Clone, Copy)]
pub(crate) enum Axis {
    /// So many ticks pass in each nanosecond.
    Whole { per_nano: u64 },
    /// Nanoseconds fall between ticks, or time passes in steps.
    Cut { scale: Scale, now: Moment },
}

impl FastNumbers {
    #[inline]
    pub(crate) fn generation(&self) -> u64 {
        self.sequence >> GENERATION_SHIFT
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
    pub(crate) fn new(quota: Quota, refill: Refill) -> Published {
        let published = Published { line: FastLine::default(), slots: Default::default() };
        let numbers = Numbers::unset(0, quota, refill);
        published.line.sequence.store(numbers.mark(), Ordering::Relaxed);
        published.slots.iter().for_each(|slot| slot.write(&numbers));
        published.line.write(&numbers);
        published
    }

    /// The numbers in force.
    #[inline]
    pub(crate) fn load(&self) -> Numbers {
        loop {
            // Acquire: sees the slot as it was published with this generation.
            let generation = self.line.sequence.load(Ordering::Acquire) >> GENERATION_SHIFT;
            let numbers = self.slots[(generation & 1) as usize].read(generation);
            if self.is_current(generation) {
                return numbers;
            }
        }
    }

    /// The sequence word, unless callers wait in line for a key, the numbers are being changed, or the
    /// axis is not whole.
    #[inline(always)]
    pub(crate) fn sequence(&self) -> Option<u64> {
        // Acquire: as in `load`.
        let sequence = self.line.sequence.load(Ordering::Acquire);
        (sequence & (QUEUED | CHANGING | CUT) == 0).then_some(sequence)
    }

    /// As [`sequence`](Self::sequence), if the axis is not whole.
    pub(crate) fn sequence_of_cut(&self) -> Option<u64> {
        // Acquire: as in `load`.
        let sequence = self.line.sequence.load(Ordering::Acquire);
        (sequence & (QUEUED | CHANGING | CUT) == CUT).then_some(sequence)
    }

    /// The numbers in force and `now` on their axis, which is whole, if the sequence word is still
    /// this one.
    #[inline(always)]
    pub(crate) fn fast(&self, sequence: u64, now: Timestamp) -> Option<FastNumbers> {
        // Relaxed: `is_unchanged` orders the line.
        let get = |field: &AtomicU64| field.load(Ordering::Relaxed);
        let nanos = now.as_nanos().wrapping_sub(get(&self.line.origin));
        let (span, per_nano) = (get(&self.line.span), get(&self.line.num));
        let numbers = FastNumbers {
            sequence,
            // Within the span nothing wraps.
            now: nanos.wrapping_mul(per_nano),
            axis: Axis::Whole { per_nano },
            unit: get(&self.line.unit),
            burst: get(&self.line.burst),
            capacity: get(&self.line.capacity),
            salt: get(&self.line.salt),
        };
        (self.is_unchanged(&numbers) && nanos < span).then_some(numbers)
    }

    /// As [`fast`](Self::fast), of an axis that is not whole.
    #[inline(always)]
    pub(crate) fn fast_cut(&self, sequence: u64, now: Timestamp) -> Option<FastNumbers> {
        let generation = sequence >> GENERATION_SHIFT;
        let numbers = self.slots[(generation & 1) as usize].read(generation);
        let Numbers { bucket: Bucket { scale, burst, capacity }, .. } = numbers;
        let now = numbers.moment(now)?;
        let numbers = FastNumbers {
            sequence,
            now: now.floor,
            axis: Axis::Cut { scale, now },
            unit: scale.unit,
            burst,
            capacity,
            salt: word::salt(generation),
        };
        self.is_unchanged(&numbers).then_some(numbers)
    }

    /// Whether the numbers are still in force, and nobody waits in line.
    #[inline(always)]
    pub(crate) fn is_unchanged(&self, numbers: &FastNumbers) -> bool {
        // Pairs with the fence in `publish`: if anything read before was of a later change, its
        // mark is visible now.
        fence(Ordering::Acquire);
        self.line.sequence.load(Ordering::Relaxed) == numbers.sequence
    }

    /// The numbers before `current`, or `None` if `current` is no longer in force.
    pub(crate) fn before(&self, current: &Numbers) -> Option<Numbers> {
        let generation = current.generation.wrapping_sub(1);
        let numbers = self.slots[(generation & 1) as usize].read(generation);
        self.is_current(current.generation).then_some(numbers)
    }

    /// Whether `generation` is still in force, and so what was read of its slots is whole.
    #[inline]
    pub(crate) fn is_current(&self, generation: u64) -> bool {
        // Pairs with the fence in `publish`: if any word read before was of a later change, the
        // generation that came before that change is visible now.
        fence(Ordering::Acquire);
        self.line.sequence.load(Ordering::Relaxed) >> GENERATION_SHIFT == generation
    }

    /// Puts `numbers` in force. One caller at a time, and only when no word of a generation before
    /// the present one is left.
    pub(crate) fn publish(&self, numbers: &Numbers) {
        // Relaxed: the fence below orders it.
        let before = self.line.sequence.fetch_or(CHANGING, Ordering::Relaxed) & CUT;
        // Pairs with the fences in `is_current` and `is_unchanged`: a thread that reads what is
        // written below also sees the mark, and that the slot's old generation is over.
        fence(Ordering::Release);
        self.slots[(numbers.generation & 1) as usize].write(numbers);
        self.line.write(numbers);
        // Release: publishes the slot and the line. The next generation and its mark, and the mark of
        // the change taken away. Added, since `QUEUED` may be set meanwhile.
        let marks = numbers.mark().wrapping_sub(before).wrapping_sub(CHANGING);
        let next = marks.wrapping_add(1 << GENERATION_SHIFT);
        self.line.sequence.fetch_add(next, Ordering::Release);
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
    fn write(&self, numbers: &Numbers) {
        let Bucket { scale, burst, capacity, .. } = numbers.bucket;
        set_changed(&self.origin, numbers.origin);
        set_changed(&self.span, numbers.span);
        set_changed(&self.num, scale.num);
        set_changed(&self.unit, scale.unit);
        set_changed(&self.burst, burst);
        set_changed(&self.capacity, capacity);
        set_changed(&self.salt, word::salt(numbers.generation));
    }
}

impl Slot {
    // Relaxed throughout: `Published` orders whole slots.
    #[inline]
    fn read(&self, generation: u64) -> Numbers {
        let get = |field: &AtomicU64| field.load(Ordering::Relaxed);
        let burst = get(&self.burst);
        Numbers {
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

    fn write(&self, numbers: &Numbers) {
        set_changed(&self.unit, numbers.bucket.scale.unit);
        set_changed(&self.num, numbers.bucket.scale.num);
        set_changed(&self.den, numbers.bucket.scale.den);
        set_changed(&self.step, numbers.bucket.scale.step);
        set_changed(&self.burst, numbers.bucket.burst);
        set_changed(&self.capacity, numbers.bucket.capacity);
        set_changed(&self.count, numbers.quota.count());
        set_changed(&self.per, numbers.quota.period().as_nanos() as u64);
        set_changed(&self.origin, numbers.origin);
        set_changed(&self.span, numbers.span);
        set_changed(&self.since, numbers.since);
    }
}

/// The tick of `word`, unless it was written under numbers that are unknown here.
#[inline]
pub(crate) fn read_word(
    published: &Published,
    numbers: &Numbers,
    word: u64,
    tag: u64,
) -> Option<u64> {
    if word::is_of(word, numbers.generation) {
        Some(word::decode(word, tag, numbers.generation))
    } else {
        reprice_word(published, numbers, word, tag)
    }
}

#[cold]
fn reprice_word(published: &Published, numbers: &Numbers, word: u64, tag: u64) -> Option<u64> {
    let before = published.before(numbers)?;
    Some(numbers.reprice(&before, word::decode(word, tag, before.generation)))
}
