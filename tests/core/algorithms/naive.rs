//! The rule of each algorithm over a plain list of what was charged.

use tollgate::Quota;

/// What decides.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Rule {
    /// Full at first, refilled evenly.
    Bucket,
    /// Refilled at multiples of the period.
    Window,
    /// Refilled a period after the first charge, and so on until it is full.
    FirstHit,
    /// At multiples of the period everything is forgotten; denied requests were charged.
    WindowOfAll,
    /// The same, with windows from the first charge on.
    FirstHitOfAll,
    TwoWindows,
    /// What was charged in a granule is free again `life` after it began.
    Granules {
        granule: u128,
        life: u128,
    },
    Log,
}

impl Rule {
    pub(crate) fn granules(quota: &Quota, wanted: u128, later: u128) -> Rule {
        let period = quota.period().as_nanos();
        let granule = period.div_ceil(wanted);
        Rule::Granules { granule, life: (period.div_ceil(granule) + later) * granule }
    }

    /// Whether making a past charge smaller is the same as having charged less.
    pub(crate) fn forgets_exactly(self, quota: &Quota) -> bool {
        match self {
            Rule::TwoWindows | Rule::Granules { .. } | Rule::Log | Rule::WindowOfAll => true,
            Rule::Window => quota.count() == quota.burst_size(),
            Rule::Bucket | Rule::FirstHit | Rule::FirstHitOfAll => false,
        }
    }
}

/// Everything ever charged to one key.
#[derive(Clone, Debug)]
pub(crate) struct Naive {
    pub(crate) rule: Rule,
    pub(crate) quota: Quota,
    /// Stamps rise: an earlier one counts as the last before it.
    pub(crate) charged: Vec<(u64, u64)>,
}

impl Naive {
    pub(crate) fn new(rule: Rule, quota: Quota) -> Naive {
        Naive { rule, quota, charged: Vec::new() }
    }

    /// The most that one instant admits.
    pub(crate) fn capacity(&self) -> u64 {
        match self.rule {
            Rule::TwoWindows | Rule::Granules { .. } | Rule::Log => self.quota.count(),
            _ => self.quota.burst_size(),
        }
    }

    pub(crate) fn latest(&self) -> u64 {
        self.charged.last().map_or(0, |(at, _)| *at)
    }

    pub(crate) fn charge(&mut self, cost: u64, now: u64) {
        if cost > 0 {
            self.charged.push((now.max(self.latest()), cost));
        }
    }

    /// Whether `cost` is allowed at `now`, which may lie past the end of the axis.
    pub(crate) fn allows(&self, cost: u64, now: u128) -> bool {
        let now = now.max(u128::from(self.latest()));
        let p = self.quota.period().as_nanos();
        let (n, b) = (u128::from(self.quota.count()), u128::from(self.quota.burst_size()));
        let c = u128::from(cost);
        let sum = |holds: &dyn Fn(u128) -> bool| -> u128 {
            let held = self.charged.iter().filter(|(at, _)| holds(u128::from(*at)));
            held.map(|(_, units)| u128::from(*units)).sum()
        };
        cost == 0
            || match self.rule {
                // In parts of which p make a unit and n come back in a nanosecond.
                Rule::Bucket => {
                    let owed = self.drained(now, |from, to| n.saturating_mul(to - from), p);
                    owed.saturating_add(c * p) <= b * p
                }
                Rule::Window => {
                    let back = |from, to| n.saturating_mul(to / p - from / p);
                    self.drained(now, back, 1) + c <= b
                }
                Rule::WindowOfAll => sum(&|at| at / p == now / p) + c <= b,
                Rule::FirstHit => self.of_first_hits(now, n) + c <= b,
                Rule::FirstHitOfAll => self.of_first_hits(now, u128::MAX) + c <= b,
                Rule::TwoWindows => {
                    let (last, this) =
                        (sum(&|at| at / p + 1 == now / p), sum(&|at| at / p == now / p));
                    last * (p - now % p) + (this + c) * p <= n * p
                }
                Rule::Granules { granule, life } => {
                    sum(&|at| now < at / granule * granule + life) + c <= n
                }
                Rule::Log => sum(&|at| now < at + p) + c <= n,
            }
    }

    /// What is owed at `now` in parts of a unit, if `back` come back between two moments.
    fn drained(&self, now: u128, back: impl Fn(u128, u128) -> u128, unit: u128) -> u128 {
        let (mut owed, mut last) = (0_u128, 0);
        for (at, units) in &self.charged {
            owed = owed.saturating_sub(back(last, u128::from(*at)));
            owed = owed.saturating_add(u128::from(*units).saturating_mul(unit));
            last = u128::from(*at);
        }
        owed.saturating_sub(back(last, now))
    }

    /// What is used at `now`, if `back` come back each time a window ends.
    fn of_first_hits(&self, now: u128, back: u128) -> u128 {
        let p = self.quota.period().as_nanos();
        let (mut used, mut end) = (0_u128, 0);
        let pass = |used: &mut u128, end: &mut u128, to: u128| {
            if to >= *end {
                let ended = (to - *end) / p + 1;
                *used = used.saturating_sub(back.saturating_mul(ended));
                *end += ended * p;
            }
        };
        for (at, units) in &self.charged {
            let at = u128::from(*at);
            pass(&mut used, &mut end, at);
            if used == 0 {
                end = at + p;
            }
            used += u128::from(*units);
        }
        pass(&mut used, &mut end, now);
        used
    }
}
