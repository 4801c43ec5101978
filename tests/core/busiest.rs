//! The busiest keys against counts of all of them: what is promised holds for every stream.

use std::collections::HashMap;

use proptest::prelude::*;
use tollgate::{Busiest, BusyKey};

const MAX_LIMITS: usize = Busiest::MAX_LIMITS;

fn told(k: usize, stream: &[u32]) -> Busiest {
    let busiest = Busiest::new(k);
    stream.iter().for_each(|key| busiest.count("user", &format!("user {key}")));
    busiest
}

fn exact(stream: &[u32]) -> HashMap<String, u64> {
    let mut exact = HashMap::new();
    for key in stream {
        *exact.entry(format!("user {key}")).or_default() += 1;
    }
    exact
}

/// Everything that the documentation says of one limit.
fn holds(k: usize, stream: &[u32]) {
    let (top, exact) = (told(k, stream).top("user"), exact(stream));
    let most_wrong = stream.len() as u64 / k as u64;
    assert_eq!(top.len(), k.min(exact.len()));
    for BusyKey { key, at_most, at_least } in &top {
        let times = exact.get(key).expect("only what was told is there");
        assert!(at_least <= times && times <= at_most, "{at_least} <= {times} <= {at_most}");
        assert!(at_most - at_least <= most_wrong, "{key}: {at_most} - {at_least} > {most_wrong}");
    }
    for (key, times) in &exact {
        let is_there = top.iter().any(|busy| busy.key == *key);
        assert!(is_there || *times <= most_wrong, "{key}, {times} times, is not there");
    }
    // Each count went to some key.
    assert_eq!(top.iter().map(|busy| busy.at_most).sum::<u64>(), stream.len() as u64);
    assert!(top.is_sorted_by_key(|busy| std::cmp::Reverse((busy.at_most, busy.at_least))));
    if exact.len() <= k {
        assert!(top.iter().all(|busy| busy.at_most == busy.at_least));
    }
    assert_eq!(told(k, stream).top("user"), top, "the same again");
}

#[test]
fn counts_are_exact_while_all_keys_have_room() {
    let top = told(3, &[7, 8, 9, 8, 9, 9]).top("user");
    let shown: Vec<_> = top.iter().map(|busy| (&*busy.key, busy.at_most, busy.at_least)).collect();
    assert_eq!(shown, [("user 9", 3, 3), ("user 8", 2, 2), ("user 7", 1, 1)]);
}

#[test]
fn a_newcomer_takes_the_place_and_the_count_of_the_least_busy() {
    let top = told(2, &[1, 1, 1, 2, 2, 3]).top("user");
    let shown: Vec<_> = top.iter().map(|busy| (&*busy.key, busy.at_most, busy.at_least)).collect();
    // Both count 3; the one that is known to be so busy stands first.
    assert_eq!(shown, [("user 1", 3, 3), ("user 3", 3, 1)]);
    // Equals stand in the order of their text.
    let top = told(3, &[30, 10, 20]).top("user");
    assert!(top.is_sorted_by(|a, b| a.key < b.key));
}

#[test]
fn limits_are_counted_apart() {
    let busiest = Busiest::new(2);
    busiest.count("user", "a");
    busiest.count("org", "a");
    busiest.count("org", "a");
    let count = |limit| busiest.top(limit).first().map(|busy| busy.at_most);
    assert_eq!((count("user"), count("org"), count("ip")), (Some(1), Some(2), None));
    busiest.reset();
    assert_eq!((count("user"), count("org"), count("ip")), (None, None, None));
}

#[test]
fn limits_beyond_the_bound_are_counted_as_uncounted() {
    let busiest = Busiest::new(1);
    for limit in 0..MAX_LIMITS + 10 {
        busiest.count(&format!("limit {limit}"), "a");
    }
    assert_eq!(busiest.uncounted(), 10);
    busiest.count("limit 0", "a");
    assert_eq!(busiest.top("limit 0")[0].at_most, 2);
    assert!(busiest.top(&format!("limit {MAX_LIMITS}")).is_empty());
    busiest.reset();
    assert_eq!(busiest.uncounted(), 0);
}

#[test]
fn long_keys_are_cut_between_characters() {
    let busiest = Busiest::new(10);
    for key in ["x".repeat(256), "x".repeat(257), "x".repeat(100_000)] {
        busiest.count("user", &key);
    }
    // 255 bytes and then a character of two.
    busiest.count("ip", &format!("{}éé", "x".repeat(255)));
    busiest.count("org", &"🦀".repeat(100));
    busiest.count("view", "");
    let top = |limit| busiest.top(limit).into_iter().map(|busy| (busy.key, busy.at_most));
    assert_eq!(top("user").collect::<Vec<_>>(), [("x".repeat(256), 3)]);
    assert_eq!(top("ip").collect::<Vec<_>>(), [("x".repeat(255), 1)]);
    assert_eq!(top("org").collect::<Vec<_>>(), [("🦀".repeat(64), 1)]);
    assert_eq!(top("view").collect::<Vec<_>>(), [(String::new(), 1)]);
}

#[test]
fn any_number_of_keys_may_be_asked_for() {
    for k in [0, 1, usize::MAX] {
        let top = told(k, &[1, 2, 2]).top("user");
        assert_eq!(top[0].key, "user 2");
        assert_eq!(top.len(), k.clamp(1, 2));
    }
}

/// So many fresh keys between the keys under test that each place is taken again and again.
#[test]
fn a_flood_of_fresh_keys_hides_nobody() {
    let stream: Vec<u32> = (0..100_000).map(|n| if n % 20 == 0 { 7 } else { 1_000 + n }).collect();
    holds(30, &stream);
    assert_eq!(told(30, &stream).top("user")[0].key, "user 7");
}

/// Each round asks for one key more than the capacity, and so always for one that was just
/// forgotten.
#[test]
fn rounds_over_one_key_too_many() {
    for k in [1, 2, 5, 16] {
        let stream: Vec<u32> = (0..2_000).map(|n| n % (k as u32 + 1)).collect();
        holds(k, &stream);
    }
}

#[test]
fn threads_lose_no_counts() {
    const THREADS: u64 = 8;
    const COUNTS: u64 = 5_000;
    let busiest = Busiest::new(10);
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let busiest = &busiest;
            scope.spawn(move || {
                for n in 0..COUNTS {
                    busiest.count("shared", if n % 2 == 0 { "even" } else { "odd" });
                    busiest.count("flooded", &format!("{thread} {n}"));
                }
            });
        }
    });
    let sum = |limit| busiest.top(limit).iter().map(|busy| busy.at_most).sum::<u64>();
    assert_eq!((sum("shared"), sum("flooded")), (THREADS * COUNTS, THREADS * COUNTS));
    assert!(busiest.top("shared").iter().all(|busy| busy.at_least == THREADS * COUNTS / 2));
}

fn skewed() -> impl Strategy<Value = Vec<u32>> {
    // The key n about twice as often as 2 n.
    proptest::collection::vec((1.0..0.002f64.recip()).prop_map(|x| (500.0 / x) as u32), 0..600)
}

/// Runs of one key, of rising keys and of a pair that takes turns.
fn adversarial() -> impl Strategy<Value = Vec<u32>> {
    let run = (0..3u32, 0..40u32, 1..60u32).prop_map(|(kind, key, length)| {
        let nth = move |n| match kind {
            0 => key,
            1 => key + n,
            _ => key + n % 2,
        };
        (0..length).map(nth).collect::<Vec<u32>>()
    });
    proptest::collection::vec(run, 0..20).prop_map(|runs| runs.concat())
}

proptest! {
    #[test]
    fn what_is_promised_holds(
        stream in prop_oneof![skewed(), adversarial(), proptest::collection::vec(0..30u32, 0..300)],
        k in 1..25usize,
    ) {
        holds(k, &stream);
    }
}
