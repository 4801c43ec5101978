//! The numbers in force, where every decision reads them.
//!
//! A pair of slots, as in a seqlock: readers take no lock, and a change writes the slot that is not
//! in use, then moves the generation on. The slot before it stays readable until the next change,
//! which waits until no word of its generation is left. What the fast path reads of the slot in use
//! stands once more on a cache line of its own, beside the sequence word.

use crate::algorithm::Bucket;
use crate::quota::Quota;
use crate::sync::{AtomicU64, CachePadded, Ordering, fence, mutant};
use crate::ticks::Scale;
use crate::time::Timestamp;

use super::numbers::Numbers;
use super::word;

/// The numbers in force and those before them.
pub(crate) struct Published {
    line: FastLine,
    slots: [CachePadded<Slot>; 2],
    /// The stamp, in nanoseconds, before which the axis ends; 0 before the first stamp.
    end: AtomicU64,
}

/// In the sequence word: callers wait in line for some key.
const QUEUED: u64 = 1;
/// The numbers are being changed: the line is not to be read.
const CHANGING: u64 = 2;
/// Time passes in steps.
const STEPPED: u64 = 4;
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
    den: AtomicU64,
    unit: AtomicU64,
    capacity: AtomicU64,
    /// [`word::salt`] of the generation.
    salt: AtomicU64,
}

/// A stamp on the axis of the numbers in force, as the fast path has it.
#[derive(Clone, Copy)]
pub(crate) struct FastMoment {
    /// The sequence word that the axis stood behind.
    pub(crate) sequence: u64,
    /// Nanoseconds since the axis begins, and the ticks around them.
    nanos: u64,
    pub(crate) floor: u64,
    pub(crate) ceil: u64,
    /// `num` ticks pass in `den` nanoseconds: evenly, or all at the end if time passes in steps.
    pub(crate) num: u64,
    den: u64,
}

/// The numbers in force as the fast path has them.
#[derive(Clone, Copy)]
pub(crate) struct FastNumbers {
    pub(crate) now: FastMoment,
    pub(crate) unit: u64,
    pub(crate) capacity: u64,
    pub(crate) salt: u64,
}

/// That of the numbers behind a sequence word.
#[inline(always)]
pub(super) fn generation_of(sequence: u64) -> u64 {
    sequence >> GENERATION_SHIFT
}

impl FastMoment {
    /// Whether each nanosecond has a whole number of ticks: then there are `num`.
    #[inline(always)]
    pub(crate) fn is_whole(&self) -> bool {
        self.den == 1
    }

    /// The ticks around now, where these are not whole.
    // Apart, since it divides.
    #[cold]
    #[inline(never)]
    fn ticks_cut(sequence: u64, nanos: u64, num: u64, den: u64) -> (u64, u64) {
        // Never 0 in numbers in force.
        let den = den.max(1);
        if sequence & STEPPED != 0 {
            let ticks = (nanos / den).saturating_mul(num);
            return (ticks, ticks);
        }
        let product = u128::from(nanos) * u128::from(num);
        let (floor, ceil) = (product / u128::from(den), product.div_ceil(u128::from(den)));
        // Within the span both fit.
        (floor as u64, ceil as u64)
    }

    /// Nanoseconds until `floor` reaches `tick`, where ticks are not whole.
    #[inline(always)]
    pub(crate) fn until_cut(&self, tick: u64) -> u64 {
        let at = FastMoment::nanos_cut(self.sequence, tick, self.num, self.den);
        at.saturating_sub(self.nanos)
    }

    // By value, as `ticks_cut`: what is passed by reference does not stay in registers.
    #[cold]
    #[inline(never)]
    fn nanos_cut(sequence: u64, tick: u64, num: u64, den: u64) -> u64 {
        // Never 0 in numbers in force.
        let num = num.max(1);
        if sequence & STEPPED != 0 {
            return tick.div_ceil(num).saturating_mul(den);
        }
        let nanos = (u128::from(tick) * u128::from(den)).div_ceil(u128::from(num));
        u64::try_from(nanos).unwrap_or(u64::MAX)
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
    pub(crate) fn new(numbers: &Numbers) -> Published {
        let sequence = AtomicU64::new(mark(numbers) | numbers.generation << GENERATION_SHIFT);
        let line = FastLine { sequence, ..FastLine::default() };
        let end = AtomicU64::new(numbers.end());
        let published = Published { line, slots: Default::default(), end };
        published.slots.iter().for_each(|slot| slot.write(numbers));
        published.line.write(numbers);
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

    /// Whether the axis reaches to `now`. `false` also at the end of time.
    #[inline]
    pub(crate) fn reaches(&self, now: Timestamp) -> bool {
        // Acquire: the numbers whose end this is are in force.
        now.as_nanos() < self.end.load(Ordering::Acquire)
    }

    /// A stamp on the axis in force, unless callers wait in line for a key, the numbers are being
    /// changed, the axis does not reach there, or its ticks are not whole and must be if `WHOLE`. It is
    /// true if `fast` says so afterwards.
    // Before the key is looked for: few values are then kept while a quota that is not whole divides.
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
        let (num, den) = (get(&self.line.num), get(&self.line.den));
        let (floor, ceil) = if den == 1 {
            // Within the span nothing wraps.
            let tick = nanos.wrapping_mul(num);
            (tick, tick)
        } else if WHOLE {
            return None;
        } else {
            FastMoment::ticks_cut(sequence, nanos, num, den)
        };
        Some(FastMoment { sequence, nanos, floor, ceil, num, den })
    }

    /// The numbers in force, if they are still those of `now`.
    #[inline(always)]
    pub(crate) fn fast(&self, now: FastMoment) -> Option<FastNumbers> {
        // Relaxed: `is_unchanged` orders the line.
        let get = |field: &AtomicU64| field.load(Ordering::Relaxed);
        let (unit, capacity) = (get(&self.line.unit), get(&self.line.capacity));
        let numbers = FastNumbers { now, unit, capacity, salt: get(&self.line.salt) };
        self.is_unchanged(now.sequence).then_some(numbers)
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
        let before = self.line.sequence.fetch_or(CHANGING, Ordering::Relaxed) & STEPPED;
        // Pairs with the fences in `is_current` and `is_unchanged`: a thread that reads what is
        // written below also sees the mark, and that the slot's old generation is over.
        fence(Ordering::Release);
        self.slots[(numbers.generation & 1) as usize].write(numbers);
        self.line.write(numbers);
        // Release: publishes the slot and the line. The next generation and its mark, and the mark of
        // the change taken away. Added, since `QUEUED` may be set meanwhile.
        let marks = mark(numbers).wrapping_sub(before).wrapping_sub(CHANGING);
        let next = marks.wrapping_add(1 << GENERATION_SHIFT);
        self.line.sequence.fetch_add(next, Ordering::Release);
        // Release, and after it: a caller that sees the end does not go on under the numbers before,
        // which may have no axis.
        self.end.store(numbers.end(), Ordering::Release);
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
fn mark(numbers: &Numbers) -> u64 {
    if numbers.bucket.scale.step == 0 { 0 } else { STEPPED }
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
        let Bucket { scale, capacity, .. } = numbers.bucket;
        let (num, den) = scale.passes();
        set_changed(&self.origin, numbers.origin);
        set_changed(&self.span, numbers.span);
        set_changed(&self.num, num);
        set_changed(&self.den, den);
        set_changed(&self.unit, scale.unit);
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::algorithm::Refill;
    use crate::time::Timestamp;

    proptest! {
        /// What the fast path makes of a quota's axis, whichever that is, is what its scale says.
        #[test]
        fn the_fast_path_has_the_ticks_of_the_scale(
            count in prop_oneof![1..100_u64, any::<u32>().prop_map(u64::from)],
            nanos in prop_oneof![1..10_000_000_000_u64, 1..u64::MAX / 4],
            burst in 1..1_000_u64,
            refill in prop_oneof![Just(Refill::Steady), Just(Refill::Stepped)],
            at: u64,
            tick in 0..word::MAX_TICK,
        ) {
            let period = Duration::from_nanos(nanos);
            let Ok(quota) = Quota::new(count, period).and_then(|quota| quota.with_burst(burst)) else {
                return Ok(());
            };
            let numbers = Numbers::unset(0, quota, refill).changed(quota, Timestamp::ZERO);
            let numbers = numbers.moved(Timestamp::ZERO);
            let published = Published::new(&numbers);
            let scale = numbers.bucket.scale;
            let now = Timestamp::from_nanos(numbers.origin + at % numbers.span);
            let moment = published.moment::<false>(now).unwrap();
            let exact = numbers.moment(now);
            prop_assert_eq!((moment.floor, moment.ceil), (exact.floor, exact.ceil));
            prop_assert_eq!(published.moment::<true>(now).is_some(), scale.den == 1 && scale.step <= 1);
            let wait = if moment.is_whole() {
                tick.saturating_sub(moment.floor).div_ceil(moment.num)
            } else {
                moment.until_cut(tick)
            };
            prop_assert_eq!(wait, exact.until(tick, &scale));
        }
    }
}
