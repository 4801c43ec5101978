//! The known worst cases: arrivals that each attack one algorithm.

use std::time::Duration;

use super::{Arrival, Arrivals, COARSE, FINE, Grid, at_once};
use tollgate::Quota;

/// How often each worst case is repeated.
const ROUNDS: u64 = 3;

/// Periods between repetitions, enough that nothing is left of the previous one.
const APART: u64 = 4;

/// Requests per period of a client that asks all the time.
const POLLS: u64 = 400;

/// The smallest distance to an edge.
const INSTANT: Duration = Duration::from_nanos(1);

pub(super) fn scenarios(quota: Quota) -> Vec<Arrivals> {
    let rounds = |name: &str, what: &str, round: fn(Grid, u64) -> Vec<Arrival>| {
        let grid = Grid::of(quota);
        let list = (0..ROUNDS).flat_map(|n| round(grid, n * APART)).collect();
        Arrivals::new(name, what, quota, list)
    };
    vec![
        rounds(
            "two-windows",
            "the count at the end of one window and again at the start of the next",
            two_windows,
        ),
        rounds(
            "first-hit",
            "one request opens a window, the rest of the count ends it, the next count follows",
            first_hit,
        ),
        phases(quota),
        rounds(
            "fade",
            "the count at the end of a window, then asking all the time while it fades",
            fade,
        ),
        rounds("burst-then-rate", "the count at once, then asking all the time", burst_then_rate),
        rounds(
            "granules",
            "the count just before the edge of a granule, and again around every edge",
            granules,
        ),
    ]
}

/// Against windows that are aligned to the time axis.
fn two_windows(grid: Grid, window: u64) -> Vec<Arrival> {
    let edge = grid.at(window + 1, 0, 1);
    let end = at_once(0, edge - INSTANT, grid.whole(FINE));
    end.chain(at_once(0, edge, grid.whole(FINE))).collect()
}

/// Against windows that begin with the first request.
fn first_hit(grid: Grid, window: u64) -> Vec<Arrival> {
    // Off the edges of aligned windows.
    let (opens, closes) = (grid.at(window, 3, 7), grid.at(window + 1, 3, 7));
    let mut list: Vec<_> = at_once(0, closes - INSTANT, grid.whole(FINE)).collect();
    if let Some(first) = list.first_mut() {
        first.at = opens;
    }
    list.extend(at_once(0, closes, grid.whole(FINE)));
    list
}

/// Against windows that begin at another moment for each key: the edge of some key is hit.
fn phases(quota: Quota) -> Arrivals {
    const KEYS: u64 = 40;
    let grid = Grid::of(quota);
    let one = |key| {
        let at = grid.at(0, key, KEYS);
        let later = grid.at(0, key + KEYS / 4, KEYS);
        at_once(key, at, grid.whole(COARSE)).chain(at_once(key, later, grid.whole(COARSE)))
    };
    Arrivals::new(
        "phases",
        "the count, and again a quarter of a period later, of forty keys one after another",
        quota,
        (0..KEYS).flat_map(one).collect(),
    )
}

/// Against the counter that assumes the last window was evenly spread.
fn fade(grid: Grid, window: u64) -> Vec<Arrival> {
    let end = at_once(0, grid.at(window + 1, 0, 1) - INSTANT, grid.whole(FINE));
    end.chain(polls(grid, window + 1)).collect()
}

/// Against the bucket: it is full, and refills while it is emptied.
fn burst_then_rate(grid: Grid, window: u64) -> Vec<Arrival> {
    at_once(0, grid.at(window, 0, 1), grid.whole(FINE)).chain(polls(grid, window)).collect()
}

/// Against granules: requests at the end of a granule are forgotten together with its beginning.
fn granules(grid: Grid, window: u64) -> Vec<Arrival> {
    /// The edges of any number of granules that divides this.
    const EDGES: u64 = 60;
    let edges = (1..2 * EDGES).map(|edge| grid.at(window, edge, EDGES));
    edges
        .flat_map(|edge| [edge - INSTANT, edge])
        .flat_map(|at| at_once(0, at, grid.whole(COARSE)))
        .collect()
}

/// Evenly through a window.
fn polls(grid: Grid, window: u64) -> impl Iterator<Item = Arrival> {
    let cost = grid.whole(FINE).next().unwrap_or(1);
    (0..POLLS).map(move |n| Arrival { at: grid.at(window, n, POLLS), key: 0, cost })
}
