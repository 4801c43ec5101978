//! What a limit limits: a rate or slots, by the keys it has.

use std::ops::Range;
use std::time::Duration;

use toml::de::DeTable;

use super::rate::{Burst, STAND_IN};
use super::{Reader, TomlValue};
use crate::policy::What;
use crate::policy::problem::{Field, PolicyPlace};
use crate::slots::MAX_SLOTS;

type Unfit = &'static [(&'static str, Field)];

/// Keys that only a rate has.
const OF_RATES: Unfit = &[
    ("burst", Field::Burst),
    ("cost", Field::Cost),
    ("algorithm", Field::Algorithm),
    ("max_keys", Field::MaxKeys),
    ("overflow", Field::Overflow),
    ("carry_over", Field::CarryOver),
];

/// Keys that only slots have.
const OF_SLOTS: Unfit = &[("lease", Field::Lease), ("weight", Field::Weight)];

/// The numbers of a limit; some with where their keys stand.
#[derive(Default)]
pub(super) struct LimitFields<'v, 't> {
    pub(super) rate: Option<(Range<usize>, &'v TomlValue<'t>)>,
    pub(super) burst: Option<(Range<usize>, Option<Burst>)>,
    pub(super) concurrent: Option<(Range<usize>, Option<u32>)>,
    pub(super) lease: Option<Duration>,
    pub(super) weight: Option<u32>,
}

/// The keys that do not go with what a limit is known to limit.
pub(super) fn unfit(limit: &DeTable<'_>) -> Unfit {
    match (limit.contains_key("rate"), limit.contains_key("concurrent")) {
        (true, false) => OF_SLOTS,
        (false, true) => OF_RATES,
        _ => &[],
    }
}

impl Reader<'_> {
    /// What the limit at `index` limits, with a stand-in for what could not be read.
    ///
    /// `seen` are keys that there are or were meant; `partial` says that there may be more.
    pub(super) fn what(
        &mut self,
        index: usize,
        header: Range<usize>,
        numbers: LimitFields<'_, '_>,
        seen: &[&str],
        partial: bool,
    ) -> What {
        let at = |field| PolicyPlace::Limit(index, field);
        let LimitFields { rate, burst, concurrent, lease, weight } = numbers;
        match (rate, concurrent) {
            (Some((_, rate)), None) => {
                let quota = self.quota(rate, burst);
                if quota.is_none() {
                    self.skip(at(Field::Rate));
                }
                return What::Rate(quota.unwrap_or(STAND_IN));
            }
            (None, Some((_, cap))) => {
                if cap.is_none() {
                    self.skip(at(Field::Concurrent));
                }
                // Any weight fits the stand-in.
                let cap = cap.unwrap_or(MAX_SLOTS);
                return What::Slots { cap, lease, weight: weight.unwrap_or(1) };
            }
            (Some((rate_at, rate)), Some((cap_at, _))) => {
                self.quota(rate, burst);
                let later = if rate_at.start > cap_at.start { rate_at } else { cap_at };
                let what = "a limit has `rate` or `concurrent`, not both".to_owned();
                let hint = "write two limits: a request needs the consent of both".to_owned();
                self.report(later, what, Some(hint));
            }
            (None, None) if partial || seen.contains(&"rate") || seen.contains(&"concurrent") => {}
            (None, None) => {
                let slots = OF_SLOTS.iter().any(|(key, _)| seen.contains(key));
                let hint = if slots {
                    "`lease` and `weight` go with `concurrent = 50`"
                } else {
                    "give it one: `rate = \"50/s\"` or `concurrent = 50`"
                };
                let what = "the limit has no rate and no cap".to_owned();
                self.report(header, what, Some(hint.to_owned()));
            }
        }
        // Of either kind.
        self.skip(at(Field::Rate));
        self.skip(at(Field::Concurrent));
        What::Rate(STAND_IN)
    }
}
