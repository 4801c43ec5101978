//! Decides from the keys of a `[[limit]]` whether it limits a rate or slots, and which keys do not
//! fit. The values are read in `rate` and `slots`.

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

/// Keys that only a concurrency limit has.
const OF_SLOTS: Unfit = &[("lease", Field::Lease), ("weight", Field::Weight)];

/// The parameters of a limit as they were read, some with the position of their key.
#[derive(Default)]
pub(super) struct LimitFields<'v, 't> {
    pub(super) rate: Option<(Range<usize>, &'v TomlValue<'t>)>,
    pub(super) burst: Option<(Range<usize>, Option<Burst>)>,
    pub(super) concurrent: Option<(Range<usize>, Option<u32>)>,
    pub(super) lease: Option<Duration>,
    pub(super) weight: Option<u32>,
}

/// The keys that do not fit the kind of the limit. Empty if the kind is not known.
pub(super) fn unfit(limit: &DeTable<'_>) -> Unfit {
    match (limit.contains_key("rate"), limit.contains_key("concurrent")) {
        (true, false) => OF_SLOTS,
        (false, true) => OF_RATES,
        _ => &[],
    }
}

impl Reader<'_> {
    /// What the limit at `index` limits. Uses a stand-in for what could not be read.
    ///
    /// `seen`: keys that are there or were probably meant. `partial`: statements of the section
    /// were left out.
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
        // The kind is not known: the checks skip both.
        self.skip(at(Field::Rate));
        self.skip(at(Field::Concurrent));
        What::Rate(STAND_IN)
    }
}
