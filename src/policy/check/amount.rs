//! Checks the amount of a limit or an override: that its parameters are possible, and that they fit
//! a rate or a concurrency limit. Names, facts and conditions are checked in `check`.

use std::time::Duration;

use super::super::problem::{Field, PolicyPlace, Shown};
use super::super::{Change, Limit, What};
use super::Checker;
use crate::quota::Quota;
use crate::slots::MAX_SLOTS;

impl Checker<'_> {
    pub(super) fn amount(&mut self, index: usize, limit: &Limit) {
        let at = |field| PolicyPlace::Limit(index, field);
        let kind = match limit.what {
            What::Rate(_) => "rate",
            What::Slots { .. } => "concurrency",
        };
        for field in &limit.unfit {
            let (why, hint) = unfit(*field);
            let what = format!("a {kind} limit has no `{}`{why}", field.key());
            self.report(at(*field), what, Some(hint.to_owned()));
        }
        if let What::Rate(quota) = limit.what {
            let read = !self.is_unread(at(Field::Rate)) && !self.is_unread(at(Field::Algorithm));
            if read {
                self.burst(at(Field::Burst), limit, quota);
            }
        }
        if let What::Slots { cap, lease, weight } = limit.what {
            self.cap(at(Field::Concurrent), cap);
            if lease == Some(Duration::ZERO) {
                let hint = "leave it out, and a slot comes back only when it is given back";
                let what = "a lease of 0s would end when it begins".to_owned();
                self.report(at(Field::Lease), what, Some(hint.to_owned()));
            }
            if weight == 0 {
                let hint = "`mode = \"off\"` switches a limit off".to_owned();
                self.report(at(Field::Weight), "`weight` is at least 1".to_owned(), Some(hint));
            } else if weight > MAX_SLOTS {
                let what = format!("a weight is at most {MAX_SLOTS} slots");
                self.report(at(Field::Weight), what, None);
            } else {
                self.fits(at(Field::Weight), weight, cap);
            }
        }
        if limit.max_waiters.is_some() && limit.wait.is_none() && !self.is_unread(at(Field::Wait)) {
            let hint = "give `wait = \"60s\"`, or leave `max_waiters` out".to_owned();
            let what = "`max_waiters` without `wait`: nobody waits".to_owned();
            self.report(at(Field::MaxWaiters), what, Some(hint));
        } else if limit.max_waiters == Some(0) {
            let hint = "leave `wait` out, and nobody waits".to_owned();
            let what = "`max_waiters` is at least 1".to_owned();
            self.report(at(Field::MaxWaiters), what, Some(hint));
        }
    }

    /// Checks the change that the override at `index` makes to `limit`.
    pub(super) fn other_amount(
        &mut self,
        index: usize,
        change: Change,
        limit_index: usize,
        limit: &Limit,
    ) {
        let at = |field| PolicyPlace::Override(index, field);
        let field = match change {
            Change::Nothing | Change::Exempt => return,
            Change::Quota { .. } => Field::Rate,
            Change::Burst { .. } => Field::Burst,
            Change::Concurrent { .. } => Field::Concurrent,
        };
        match (change, limit.what) {
            (Change::Burst { burst }, What::Rate(quota)) => {
                let read = !self.is_unread(PolicyPlace::Limit(limit_index, Field::Rate));
                match quota.with_burst(burst) {
                    Err(error) if read => self.report(at(field), error.to_string(), None),
                    Ok(quota) => self.burst(at(field), limit, quota),
                    Err(_) => {}
                }
            }
            (Change::Quota { quota }, What::Rate(_)) => self.burst(at(field), limit, quota),
            (Change::Concurrent { cap }, What::Slots { weight, .. }) => {
                self.fits(at(field), weight, cap);
            }
            (Change::Concurrent { .. }, What::Rate(_)) if self.knows_kind(limit_index) => {
                let name = Shown(&limit.name);
                let what = format!("`{name}` is a rate limit: it has no `concurrent`");
                let hint = "give `rate` or `burst`, or `exempt = true`".to_owned();
                self.report(at(field), what, Some(hint));
            }
            (Change::Quota { .. } | Change::Burst { .. }, What::Slots { .. }) => {
                let (name, key) = (Shown(&limit.name), field.key());
                let what = format!("`{name}` is a concurrency limit: it has no `{key}`");
                let hint = "give `concurrent`, or `exempt = true`".to_owned();
                self.report(at(field), what, Some(hint));
            }
            _ => {}
        }
    }

    /// Checks that only an algorithm with a burst gets one.
    fn burst(&mut self, place: PolicyPlace, limit: &Limit, quota: Quota) {
        if !limit.algorithm.has_burst() && quota.burst_size() != quota.count() {
            let what = format!("`{}` has no burst: its count is the most at once", limit.algorithm);
            let hint = "leave the burst out, or decide by `gcra`".to_owned();
            self.report(place, what, Some(hint));
        }
    }

    pub(super) fn cap(&mut self, place: PolicyPlace, cap: u32) {
        if cap > MAX_SLOTS {
            self.report(place, format!("a cap is at most {MAX_SLOTS} slots"), None);
        }
    }

    /// Checks that the cap can admit a request. A cap of 0 is meant to admit none.
    fn fits(&mut self, place: PolicyPlace, weight: u32, cap: u32) {
        if cap > 0 && weight > cap && weight <= MAX_SLOTS {
            let what = format!(
                "weight {weight} is above the cap {cap}: no request could ever be admitted"
            );
            let hint = "lower `weight`, or raise `concurrent`; 0 refuses every request".to_owned();
            self.report(place, what, Some(hint));
        }
    }

    /// Whether it is known if the limit is a rate or a concurrency limit.
    fn knows_kind(&self, limit: usize) -> bool {
        let unread = |field| self.is_unread(PolicyPlace::Limit(limit, field));
        !(unread(Field::Rate) && unread(Field::Concurrent))
    }
}

/// Why a limit of the other kind has no such key, and what to do instead.
fn unfit(field: Field) -> (&'static str, &'static str) {
    match field {
        Field::Lease => ("", "`lease` goes with `concurrent`"),
        Field::Weight => {
            ("", "`weight` goes with `concurrent`; of a rate a request takes its `cost`")
        }
        Field::Burst => ("", "`concurrent` is the most at once; for a rate write another limit"),
        Field::Cost => ("", "`weight` says how many slots a request takes"),
        Field::MaxKeys | Field::Overflow | Field::CarryOver => {
            (": keys that hold no slot are forgotten", "leave it out; there is always room")
        }
        _ => ("", "leave it out"),
    }
}
