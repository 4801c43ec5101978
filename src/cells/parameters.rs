//! The parameters of a quota on its axis of ticks, and how a word of the previous parameters is
//! converted. Where decisions read them is in `published`, how they change in `change`.

use std::time::Duration;

use crate::algorithm::{Bucket, Moment, Refill};
use crate::quota::Quota;
use crate::time::Timestamp;

use super::word::MAX_TICK;

/// The latest tick that can be now, so that a full bucket still fits a word.
const MAX_NOW: u64 = (1 << 60) - 1;
/// How far after the axis's origin the first stamp is put: 9 years of 1 ns ticks, so that stamps
/// may also come from before it.
const PAST: u64 = 1 << 58;
const SECOND: u64 = 1_000_000_000;
/// How far the axis reaches beyond the stamp at which it was placed: 10 years. A key charged at a
/// later stamp leaves the table unless the clock has got there. Otherwise the axis would have to
/// move, which stops other keys from refilling, or the key would raise the `forgotten` stamp of its
/// group once it is forgotten.
pub(crate) const HORIZON: Duration = Duration::from_secs(10 * 365 * 86_400);

/// A quota in force, and where its axis begins.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parameters {
    pub(crate) generation: u64,
    pub(crate) quota: Quota,
    pub(crate) bucket: Bucket,
    /// Stamp of tick 0, in nanoseconds.
    pub(super) origin: u64,
    /// How many nanoseconds after the origin the axis covers. 0 before the first stamp.
    pub(super) span: u64,
    /// The stamp, in nanoseconds, at which these parameters came into force. Debt is converted as
    /// of this stamp.
    pub(super) since: u64,
}

impl Parameters {
    /// The parameters of a quota from `since` on, on an axis with room before and after `now`.
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
        // The origin is a whole second, so that stamps of whole seconds are exact. If time passes
        // in steps, it is a multiple of the step, and if a step is as long as an axis, the
        // beginning of the step of `now`.
        let mut origin = match bucket.scale.step {
            0 => origin - origin % SECOND,
            step => origin - origin % step,
        };
        if now - origin >= Parameters::span(&bucket) {
            origin = now - now % bucket.scale.step.max(1);
        }
        Parameters::on_axis(generation, quota, bucket, origin, now, since.as_nanos())
    }

    /// How many nanoseconds an axis covers: at least a step, since no tick passes within the first.
    fn span(bucket: &Bucket) -> u64 {
        bucket.scale.span(MAX_NOW).max(bucket.scale.step)
    }

    fn on_axis(
        generation: u64,
        quota: Quota,
        bucket: Bucket,
        origin: u64,
        now: u64,
        since: u64,
    ) -> Self {
        let horizon = (Timestamp::from_nanos(now - origin) + HORIZON).as_nanos();
        // Not beyond the end of time, so that the wrapped difference of an earlier stamp is
        // outside.
        let end_of_time = (u64::MAX - origin).saturating_add(1);
        let span = Parameters::span(&bucket).min(horizon).min(end_of_time);
        Parameters { generation, quota, bucket, origin, span, since }
    }

    /// The same quota on an axis that reaches to `now`.
    pub(crate) fn moved(&self, now: Timestamp) -> Self {
        let Parameters { generation, quota, bucket, mut origin, .. } =
            Parameters::new(self.generation + 1, self.quota, self.bucket.refill(), now, now);
        let den = bucket.scale.den;
        if self.span > 0 && SECOND % den != 0 && bucket.scale.step == 0 {
            // Moves by whole ticks, so that no word is rounded, unless too little would lie ahead.
            let part = origin.saturating_sub(self.origin) % den;
            origin -= if part < Parameters::span(&bucket) / 4 { part } else { 0 };
        }
        // Converted as of the new origin, words only shift.
        Parameters::on_axis(generation, quota, bucket, origin, now.as_nanos(), origin)
    }

    /// The parameters before any stamp: the axis has no length, so the first stamp places it.
    pub(super) fn unset(generation: u64, quota: Quota, refill: Refill) -> Self {
        let params = Parameters::new(generation, quota, refill, Timestamp::ZERO, Timestamp::ZERO);
        Parameters { span: 0, ..params }
    }

    /// The parameters of another quota from `now` on.
    pub(crate) fn changed(&self, quota: Quota, now: Timestamp) -> Self {
        let refill = self.bucket.refill();
        if self.span == 0 {
            return Parameters::unset(self.generation + 1, quota, refill);
        }
        Parameters::new(self.generation + 1, quota, refill, now, now)
    }

    /// The exclusive end of the axis, in nanoseconds; 0 if the axis has not been placed yet.
    pub(super) fn end(&self) -> u64 {
        if self.is_unset() { 0 } else { self.origin.saturating_add(self.span) }
    }

    /// Whether no stamp has placed the axis yet.
    pub(super) fn is_unset(&self) -> bool {
        self.span == 0
    }

    /// Whether `now` lies beyond the end of the axis.
    pub(super) fn is_beyond(&self, now: Timestamp) -> bool {
        // An axis of this length ends with time itself.
        now.as_nanos() >= self.origin
            && now.as_nanos() - self.origin >= self.span
            && self.span < u64::MAX
    }

    /// Where `now` lies on the axis. A stamp before the origin counts as the origin, since earlier
    /// stamps never admit more, and a stamp beyond the end as the end.
    #[inline]
    pub(crate) fn moment(&self, now: Timestamp) -> Moment {
        let nanos = now.as_nanos().wrapping_sub(self.origin);
        if nanos < self.span {
            return self.at(nanos);
        }
        match self.origin.checked_sub(now.as_nanos()) {
            Some(early) => Moment { early, ..self.at(0) },
            None => self.at(self.span.saturating_sub(1)),
        }
    }

    #[inline]
    fn at(&self, nanos: u64) -> Moment {
        self.bucket.moment(nanos, 0)
    }

    /// The least stamp, in nanoseconds, that is not before `tick`.
    pub(crate) fn stamp(&self, tick: u64) -> u64 {
        self.origin.saturating_add(self.bucket.scale.nanos(tick))
    }

    /// The stamp, in nanoseconds, of a moment on this axis.
    pub(crate) fn stamp_of(&self, moment: Moment) -> u64 {
        self.origin.saturating_add(moment.nanos)
    }

    /// The least tick that is not before the stamp `nanos`.
    pub(crate) fn tick(&self, nanos: u64) -> u64 {
        let nanos = nanos.saturating_sub(self.origin);
        self.at(nanos).ceil.min(MAX_TICK)
    }

    /// Converts the tick of a word of the parameters `before`. Debt is kept in units and rounded
    /// up. A bucket that was full at the change stays full since the same stamp.
    pub(crate) fn convert(&self, before: &Parameters, tick: u64) -> u64 {
        self.convert_as_of(before, tick, self.since)
    }

    /// As `convert`, with the debt as of the stamp `since`, in nanoseconds.
    pub(super) fn convert_as_of(&self, before: &Parameters, tick: u64, since: u64) -> u64 {
        if tick > MAX_TICK {
            return tick;
        }
        let change = |params: &Parameters| params.at(since.saturating_sub(params.origin));
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
