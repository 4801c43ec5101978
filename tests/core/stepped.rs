//! The fixed window whose state is a word against the pure algorithm, over long random histories.

use std::time::Duration;

use crate::oracle::{self, Census, DAY, Rng, SECOND, TODAY, at, nanos};
use tollgate::algorithm::Window;
use tollgate::algorithm::{Algorithm, FixedWindow};
use tollgate::{Overflow, Quota, RateLimiter, Reservation, VirtualClock};
use tollgate::{Retry, Timestamp};

const YEAR: u64 = 365 * DAY;

/// One key of the pure algorithm, as a limiter would ask it: at no time before the latest it was
/// charged at.
struct Pure {
    algorithm: FixedWindow,
    state: Window,
    latest: Timestamp,
}

impl Pure {
    /// Whether `cost` is allowed at `now`, with what remains and the wait.
    fn decide(&self, cost: u64, now: Timestamp) -> (bool, u64, Option<Retry>) {
        match self.algorithm.decide(&self.state, cost, now.max(self.latest)) {
            Ok(allowed) => (true, allowed.remaining(), None),
            Err(denied) => {
                let behind = self.latest.since(now);
                let retry = match denied.retry() {
                    Retry::After(wait) => Retry::After(wait + behind),
                    other => other,
                };
                (false, denied.remaining(), Some(retry))
            }
        }
    }

    /// Whether more may be owed than a word can say: that it keeps shorter.
    fn is_beyond_a_word(&self, now: Timestamp) -> bool {
        let at = now.max(self.latest);
        let reset = self.algorithm.decide(&self.state, 0, at).unwrap().reset_after();
        nanos(reset) > YEAR / 4
    }

    fn charge(&mut self, cost: u64, now: Timestamp) {
        if cost == 0 {
            return;
        }
        self.latest = self.latest.max(now);
        self.algorithm.charge(&mut self.state, cost, self.latest);
    }
}

fn word(quota: Quota, time: &VirtualClock) -> RateLimiter<FixedWindow, foldhash::fast::FixedState> {
    RateLimiter::builder(quota)
        .algorithm(FixedWindow::new(quota))
        .clock(time.clock())
        .hasher(foldhash::fast::FixedState::default())
        .max_keys(10)
        .overflow(Overflow::Deny)
        .build()
}

/// Any quota that is taken: periods that divide a second and that do not, counts above a period's
/// nanoseconds, bursts of their own.
fn any_quota(rng: &mut Rng) -> Quota {
    loop {
        let per = match rng.below(6) {
            0 => rng.pick(&[1, 3, 7, 10, 100, 999_999_937]),
            1 => rng.pick(&[1, 60, 3_600]) * SECOND,
            2 => rng.pick(&[DAY, 30 * DAY, YEAR, 10 * YEAR]),
            3 => 1 + rng.below(1_000),
            4 => rng.magnitude(u64::MAX),
            _ => rng.magnitude(DAY),
        };
        let count = if rng.below(3) > 0 { 1 + rng.below(12) } else { rng.magnitude(u64::MAX) };
        let quota = Quota::new(count.max(1), Duration::from_nanos(per.max(1)));
        let quota = match rng.below(4) {
            0 => quota.and_then(|quota| quota.with_burst(1 + rng.below(30))),
            _ => quota,
        };
        if let Ok(quota) = quota {
            return quota;
        }
    }
}

fn any_cost(rng: &mut Rng, quota: &Quota) -> u64 {
    match rng.below(6) {
        0 => 0,
        1 => rng.magnitude(u64::MAX),
        2 => quota.burst_size(),
        3 => quota.burst_size() / 2 + 1,
        _ => 1 + rng.below(4),
    }
}

/// How far the time moves.
fn any_step(rng: &mut Rng, quota: &Quota) -> u64 {
    let per = nanos(quota.period());
    match rng.below(8) {
        0 => 0,
        1 => per,
        2 => per - 1,
        3 => rng.below(per.saturating_mul(3)),
        4 => per.saturating_mul(rng.below(20)),
        _ => rng.below(per),
    }
}

#[test]
fn a_word_decides_as_the_pure_algorithm() {
    let mut rng = Rng(5);
    let mut census = Census::default();
    for _ in 0..oracle::steps(10_000_000) / 500 {
        let mut quota = any_quota(&mut rng);
        let start = match rng.below(4) {
            0 => rng.below(1_000),
            1 => rng.magnitude(u64::MAX),
            _ => TODAY + rng.below(DAY),
        };
        let time = VirtualClock::starting_at(at(start));
        let limiter = word(quota, &time);
        let algorithm = FixedWindow::new(quota);
        let mut pure = Pure { algorithm, state: Window::default(), latest: Timestamp::ZERO };
        let mut reserved: Vec<(Reservation<'_>, Timestamp)> = Vec::new();
        let mut changed = time.now();
        let mut history = vec![format!("{quota:?} from {start}")];
        for _ in 0..100 {
            let now = time.now();
            let cost = any_cost(&mut rng, &quota);
            match rng.below(20) {
                0..12 => {
                    let expected = pure.decide(cost, now);
                    let got = limiter.check_n(&1, cost);
                    let retry = got.err().map(|denied| denied.retry());
                    let remaining =
                        got.map_or_else(|denied| denied.remaining(), |allowed| allowed.remaining());
                    history.push(format!("{cost} at {now:?}: {got:?}"));
                    // What would come back past the end of time does not.
                    let ends = |wait: Duration| now + wait == Timestamp::MAX;
                    match expected.2 {
                        Some(Retry::After(wait)) if ends(wait) => assert!(got.is_err()),
                        _ => assert_eq!((got.is_ok(), remaining, retry), expected, "{history:#?}"),
                    }
                    if got.is_ok() {
                        pure.charge(cost, now);
                    }
                    census.count(if got.is_ok() { "allowed" } else { "denied" });
                }
                12..14 => {
                    let up_to = cost.max(1);
                    let (_, left, _) = pure.decide(0, now);
                    let got = limiter.grant_up_to(&1, up_to).map_or(0, |granted| granted.cost());
                    history.push(format!("up to {up_to} at {now:?}: {got}"));
                    assert_eq!(got, left.min(up_to), "{history:#?}");
                    pure.charge(got, now);
                    census.count("granted");
                }
                14..16 => {
                    history.push(format!("reserve {cost} at {now:?}"));
                    if let Ok(reservation) = limiter.reserve(&1, cost) {
                        pure.charge(cost, now);
                        reserved.push((reservation, now));
                    }
                }
                16 => {
                    // Over a move of the axis nothing is given back, which is on the safe side.
                    reserved.retain(|(_, at)| now.since(*at) < Duration::from_nanos(YEAR / 8));
                    if let Some((reservation, charged_at)) = reserved.pop() {
                        let charged = reservation.cost();
                        let cost = match rng.below(3) {
                            0 => charged + rng.below(5).min(u64::MAX - charged),
                            _ => rng.below(charged.saturating_add(1)),
                        };
                        history.push(format!(
                            "settle {charged} at {charged_at:?} as {cost} at {now:?}"
                        ));
                        reservation.settle(cost);
                        if cost > charged {
                            pure.latest = pure.latest.max(now);
                        }
                        pure.algorithm.settle(&mut pure.state, charged, charged_at, cost, now);
                        census.count(if cost < charged { "settled lower" } else { "settled" });
                        if pure.is_beyond_a_word(now) {
                            break;
                        }
                    }
                }
                17 => {
                    // Reservations over a change are another test's.
                    reserved.clear();
                    let next = any_quota(&mut rng);
                    if next.burst_size() != next.count() || quota.burst_size() != quota.count() {
                        continue;
                    }
                    history.push(format!("{next:?} at {now:?}"));
                    limiter.set_quota(next);
                    let algorithm = FixedWindow::new(next);
                    algorithm.convert(&pure.algorithm, &mut pure.state, now);
                    (pure.algorithm, quota, changed) = (algorithm, next, now);
                    census.count("another quota");
                    if pure.is_beyond_a_word(now) {
                        break;
                    }
                }
                18 => {
                    // A word does not know when it was charged: it denies what is late and would
                    // be in an earlier window, which the pure one counts in the latest.
                    let late = now - Duration::from_nanos(any_step(&mut rng, &quota));
                    let late = late.max(changed);
                    let got = limiter.check_at(&1, cost, late);
                    history.push(format!("{cost} late at {late:?}: {got:?}"));
                    census.count(if got.is_ok() { "late allowed" } else { "late denied" });
                    if got.is_ok() {
                        assert!(pure.decide(cost, now).0, "{history:#?}");
                        if now.since(late) > Duration::from_nanos(YEAR / 8) {
                            // Before an axis that has moved it counts as its beginning.
                            break;
                        }
                        assert!(pure.decide(cost, late).0, "{history:#?}");
                        pure.charge(cost, late);
                    }
                }
                _ => {}
            }
            time.advance(Duration::from_nanos(any_step(&mut rng, &quota)));
            if rng.below(40) == 0 {
                // Far ahead: the axis moves.
                time.advance(Duration::from_nanos(rng.below(100) * YEAR));
                census.count("a far jump");
            }
        }
    }
    let kinds = ["allowed", "denied", "granted", "settled lower", "settled", "another quota"];
    census.require(&kinds, 200);
    census.require(&["late allowed", "late denied", "a far jump"], 200);
}

#[test]
fn a_period_as_long_as_what_a_word_can_say() {
    for per in [9, 36, 100, 300].map(|years| years * YEAR) {
        let quota = Quota::new(1, Duration::from_nanos(per)).unwrap();
        for years in [0, 8, 35, 50, 80, 200, 290, 350, 580] {
            let now = at(years * YEAR + 7);
            let limiter = word(quota, &VirtualClock::starting_at(now));
            assert!(limiter.check_at(&1, 1, now).is_ok());
            let denied = limiter.check_at(&1, 1, now).unwrap_err();
            let ends = (now.as_nanos() / per + 1).saturating_mul(per);
            let wait = Duration::from_nanos(ends.saturating_sub(now.as_nanos()));
            if ends < u64::MAX {
                assert_eq!(denied.retry(), Retry::After(wait), "{quota:?} at {years} years");
                limiter.check_at(&1, 1, now + wait).unwrap();
            }
        }
    }
}
