//! The requests of a comparison: the same for every contender, and the same again from the same
//! seed.

mod adversarial;

use std::collections::HashSet;
use std::time::Duration;

use rand_distr::{Distribution, Exp, LogNormal};
use rand_pcg::Pcg64;
use rand_pcg::rand_core::{Rng, SeedableRng};

use tollgate::Quota;
use tollgate::Timestamp;

/// About when arrivals begin: real timestamps are of this size, and windows begin at multiples of
/// their period.
const TODAY: u64 = 1_700_000_000_000_000_000;

/// A request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// When it arrives.
    pub at: Timestamp,
    /// Its key.
    pub key: u64,
    /// Its cost in units.
    pub cost: u64,
}

/// A scenario: requests in the order of their times, against one quota.
#[derive(Clone, Debug)]
pub struct Arrivals {
    /// Its name, one word.
    pub name: String,
    /// What arrives, in a sentence.
    pub what: String,
    /// The quota that limits each key.
    pub quota: Quota,
    /// The requests.
    pub list: Vec<Arrival>,
}

impl Arrivals {
    /// The requests of a scenario. They are sorted by time.
    pub fn new(
        name: impl Into<String>,
        what: impl Into<String>,
        quota: Quota,
        mut list: Vec<Arrival>,
    ) -> Arrivals {
        list.sort_by_key(|arrival| arrival.at);
        Arrivals { name: name.into(), what: what.into(), quota, list }
    }

    /// The time of the first arrival.
    pub(crate) fn start(&self) -> Timestamp {
        self.list.first().map_or(Timestamp::ZERO, |arrival| arrival.at)
    }

    /// From the first arrival to the last.
    pub(crate) fn duration(&self) -> Duration {
        self.list.last().map_or(Duration::ZERO, |arrival| arrival.at.since(self.start()))
    }

    pub(crate) fn units(&self) -> u64 {
        self.list.iter().map(|arrival| arrival.cost).fold(0, u64::saturating_add)
    }

    pub(crate) fn keys(&self) -> u64 {
        self.list.iter().map(|arrival| arrival.key).collect::<HashSet<_>>().len() as u64
    }
}

/// Every scenario that needs no log: the usual ones, then one against each algorithm.
pub fn scenarios(quota: Quota, seed: u64) -> Vec<Arrivals> {
    let mut scenarios =
        vec![constant(quota), poisson(quota, seed), edges(quota, seed), tokens(quota, seed)];
    scenarios.extend(adversarial::scenarios(quota));
    scenarios
}

/// The spacing of arrivals for a quota.
#[derive(Clone, Copy)]
pub(crate) struct Grid {
    count: u64,
    period: u64,
}

impl Grid {
    pub(crate) fn of(quota: Quota) -> Grid {
        let period = u64::try_from(quota.period().as_nanos()).unwrap_or(u64::MAX);
        Grid { count: quota.count(), period }
    }

    /// The beginning of a window of the aligned windows.
    fn start(self) -> u64 {
        TODAY.div_ceil(self.period).saturating_mul(self.period)
    }

    /// `part` in `whole` of a period after window `index` begins.
    pub(crate) fn at(self, index: u64, part: u64, whole: u64) -> Timestamp {
        let within = u128::from(self.period) * u128::from(part) / u128::from(whole.max(1));
        let nanos = u128::from(self.start()) + u128::from(index) * u128::from(self.period) + within;
        Timestamp::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// The costs of requests that ask for the whole count together: one unit each, unless these are
    /// too many.
    pub(crate) fn whole(self, most: u64) -> impl Iterator<Item = u64> {
        let requests = self.count.min(most).max(1);
        let (each, more) = (self.count / requests, self.count % requests);
        (0..requests).map(move |n| each + u64::from(n < more))
    }
}

/// The most requests for a whole count where each unit matters.
pub(crate) const FINE: u64 = 200;

/// The most requests for a whole count where only the sum matters.
pub(crate) const COARSE: u64 = 10;

/// Requests of these costs at one instant.
pub(crate) fn at_once(
    key: u64,
    at: Timestamp,
    costs: impl Iterator<Item = u64>,
) -> impl Iterator<Item = Arrival> {
    costs.map(move |cost| Arrival { at, key, cost })
}

/// Evenly spaced, exactly at the rate: a client that keeps to its quota.
fn constant(quota: Quota) -> Arrivals {
    let grid = Grid::of(quota);
    let costs: Vec<u64> = grid.whole(FINE).collect();
    let each = costs.len() as u64;
    let mut list = Vec::new();
    for period in 0..10 {
        for (n, cost) in (0..).zip(&costs) {
            list.push(Arrival { at: grid.at(period, n, each), key: 0, cost: *cost });
        }
    }
    Arrivals::new("constant", "evenly spaced, exactly at the rate", quota, list)
}

/// Four clients at twice the rate each.
fn poisson(quota: Quota, seed: u64) -> Arrivals {
    let grid = Grid::of(quota);
    let costs: Vec<u64> = grid.whole(FINE).collect();
    let rate = 2.0 * costs.len() as f64;
    let mut list = Vec::new();
    for key in 0..4 {
        let mut random = random(seed, 1 + key);
        let times = poisson_times(grid, 10, rate, &mut random);
        list.extend(times.zip(costs.iter().cycle()).map(|(at, cost)| Arrival {
            at,
            key,
            cost: *cost,
        }));
    }
    Arrivals::new("poisson", "four clients at random, each at twice the rate", quota, list)
}

/// Clients on timers, around each edge of the aligned windows.
fn edges(quota: Quota, seed: u64) -> Arrivals {
    let grid = Grid::of(quota);
    let mut random = random(seed, 10);
    let mut list = Vec::new();
    for edge in 1..10 {
        for cost in grid.whole(FINE).chain(grid.whole(FINE)) {
            // From a hundredth of the period before the edge to a hundredth after it.
            let part = 990_000 + below(&mut random, 20_000);
            list.push(Arrival { at: grid.at(edge - 1, part, 1_000_000), key: 0, cost });
        }
    }
    Arrivals::new(
        "edges",
        "twice the count around the beginning of each window, as timers send it",
        quota,
        list,
    )
}

/// Requests to a language model, each with its tokens: a heavy-tailed distribution.
fn tokens(quota: Quota, seed: u64) -> Arrivals {
    /// Tokens per unit of the quota.
    const TOKENS: u64 = 1_000;
    let count = quota.count().saturating_mul(TOKENS);
    let scaled = Quota::new(count, quota.period()).unwrap_or(quota);
    let grid = Grid::of(scaled);
    // The median is a hundredth of the count; one request in a thousand asks for all of it.
    let median = (scaled.count() as f64 / 100.0).max(1.0);
    let mut list = Vec::new();
    for key in 0..3 {
        let mut random = random(seed, 20 + key);
        let Ok(costs) = LogNormal::new(median.ln(), 1.3) else { continue };
        // The mean is 2.3 times the median, so the demand is half as much again as the quota.
        let times: Vec<_> = poisson_times(grid, 20, 65.0, &mut random).collect();
        list.extend(times.into_iter().map(|at| {
            // A cost above the count could never be admitted.
            let cost = (costs.sample(&mut random) as u64).clamp(1, scaled.count());
            Arrival { at, key, cost }
        }));
    }
    Arrivals::new(
        "tokens",
        "three tenants' requests to a language model, in tokens with a heavy tail",
        scaled,
        list,
    )
}

/// Random times over this many periods, with this many arrivals per period on average.
fn poisson_times<'a>(
    grid: Grid,
    periods: u64,
    a_period: f64,
    random: &'a mut Pcg64,
) -> impl Iterator<Item = Timestamp> + 'a {
    const PARTS: u64 = 1_000_000_000;
    // A rate above 0 always has a distribution; without a rate nothing arrives.
    let gaps = Exp::new(a_period).ok();
    let mut at = 0.0;
    std::iter::from_fn(move || {
        at += gaps.as_ref()?.sample(random);
        let part = (at * PARTS as f64) as u64;
        (at < periods as f64).then(|| grid.at(part / PARTS, part % PARTS, PARTS))
    })
}

/// A separate random stream for each purpose.
fn random(seed: u64, purpose: u64) -> Pcg64 {
    Pcg64::seed_from_u64(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(purpose))
}

/// A number below `n`, close enough to uniform for small `n`.
fn below(random: &mut Pcg64, n: u64) -> u64 {
    ((u128::from(random.next_u64()) * u128::from(n)) >> 64) as u64
}
