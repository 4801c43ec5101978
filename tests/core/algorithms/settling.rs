//! Settling gives back what time has not, and never more.

use std::fmt::Debug;

use tollgate::Quota;
use tollgate::algorithm::Algorithm;

use crate::algorithms::every;
use crate::algorithms::laws::{any_cost, any_next, any_quota, ticks_finely};
use crate::algorithms::naive::{Naive, Rule};
use crate::oracle::{Census, Rng, at, nanos, steps};

#[derive(Debug)]
enum Class {
    AtOnce,
    LaterExact,
    Later,
    Useless,
    More,
}

fn settling<A: Algorithm>(make: impl Fn(Quota) -> A, rule: impl Fn(&Quota) -> Rule)
where
    A::State: Debug + PartialEq,
{
    let mut rng = Rng(12);
    let mut census = Census::default();
    for _ in 0..steps(1_000_000) / 10 {
        let quota = any_quota(&mut rng);
        let (mut state, mut naive) = (A::State::default(), Naive::new(rule(&quota), quota));
        if matches!(naive.rule, Rule::Bucket) && !ticks_finely(&quota) {
            continue;
        }
        let algorithm = make(quota);
        let period = nanos(quota.period());
        let mut now = rng.below(1 << 40);
        for _ in 0..8 {
            let remaining = algorithm.decide(&state, 0, at(now)).unwrap().remaining();
            let cost = any_cost(&mut rng, naive.capacity(), remaining).min(remaining);
            algorithm.charge(&mut state, cost, at(now));
            naive.charge(cost, now);
            now = any_next(&mut rng, now, period);
        }
        if naive.charged.is_empty() {
            continue;
        }
        let which = rng.below(naive.charged.len() as u64) as usize;
        let (then, charged) = naive.charged[which];
        if rng.one_in(3) {
            now = naive.latest();
        }
        let cost = rng.pick(&[0, charged / 2, charged, charged.saturating_add(3)]);
        let mut settled = state.clone();
        algorithm.settle(&mut settled, charged, at(then), cost, at(now));

        let mut truth = naive.clone();
        if cost > charged {
            truth.charge(cost - charged, now);
        } else {
            truth.charged[which].1 = cost;
        }
        let at_once = naive.charged[which + 1..].is_empty() && now == then;
        let same = cost >= charged || at_once || truth.rule.forgets_exactly(&quota);
        // What begins with a charge would have begun elsewhere.
        let known = same || !matches!(naive.rule, Rule::FirstHit | Rule::FirstHitOfAll);
        let mut useful = false;
        for _ in 0..4 {
            let left = |state| algorithm.decide(state, 0, at(now)).unwrap().remaining();
            let (before, after) = (left(&state), left(&settled));
            let context = || {
                format!("{charged} of {then} is {cost}, at {now}: {naive:?}, {state:?} {settled:?}")
            };
            useful |= after > before;
            if cost <= charged {
                assert!(after >= before, "takes: {}", context());
                assert!(after - before <= charged - cost, "gives twice: {}", context());
            }
            let most = u128::from(now);
            assert!(!known || truth.allows(after, most), "gives too much: {}", context());
            if same && after < truth.capacity() {
                assert!(!truth.allows(after + 1, most), "keeps: {}", context());
            }
            now = any_next(&mut rng, now, period);
        }
        census.count(match useful {
            _ if cost > charged => Class::More,
            false => Class::Useless,
            true if at_once => Class::AtOnce,
            true if same => Class::LaterExact,
            true => Class::Later,
        });
    }
    let later = match rule(&Quota::per_second(1)) {
        Rule::Bucket | Rule::FirstHit | Rule::FirstHitOfAll => Class::Later,
        _ => Class::LaterExact,
    };
    census.require(&[Class::AtOnce, Class::Useless, Class::More, later], 60);
}
every!(settling);

#[test]
fn a_refilled_window_keeps_what_the_ends_of_windows_gave_back() {
    use tollgate::algorithm::FixedWindow;
    // 10 at once, 2 come back every 100 ns.
    let quota = crate::oracle::quota(2, 100, 10);
    for window in [FixedWindow::new(quota), FixedWindow::new(quota).from_first_hit()] {
        let mut state = Default::default();
        window.charge(&mut state, 9, at(0));
        // Moves the window on.
        window.charge(&mut state, 1, at(350));
        let left = |state: &tollgate::algorithm::Window| {
            window.decide(state, 0, at(350)).unwrap().remaining()
        };
        assert_eq!(left(&state), 10 - (9 - 6) - 1, "{window:?}");
        // Of 5 not needed, 3 ends of windows gave back 6: none is left to give.
        let mut settled = state;
        window.settle(&mut settled, 9, at(0), 4, at(350));
        assert_eq!(left(&settled), 6, "{window:?}");
        // Of 8 they gave 6: 2 are.
        window.settle(&mut state, 9, at(0), 1, at(350));
        assert_eq!(left(&state), 8, "{window:?}");
    }
}
