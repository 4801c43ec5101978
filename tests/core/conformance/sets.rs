//! Sets over limiters whose states are in words and in records.

use std::hash::BuildHasher;

use foldhash::fast::FixedState;
use tollgate::algorithm::{
    Algorithm, FixedWindow, Gcra, SlidingGranules, SlidingLog, SlidingWindow,
};
use tollgate::{Allowed, Denied, Key, Quota, RateLimiter, Retry, VirtualClock, all};

use crate::conformance::in_records::InRecords;
use crate::oracle::{SECOND, TODAY, at, nanos, quota};

fn limiter<A: Algorithm>(algorithm: A, time: &VirtualClock) -> RateLimiter<A, FixedState> {
    let builder = RateLimiter::builder(algorithm.quota()).clock(time.clock());
    builder.hasher(FixedState::default()).algorithm(algorithm).build()
}

fn left<A: Algorithm>(limiter: &RateLimiter<A, FixedState>, key: &str) -> u64 {
    limiter.peek_n(key, 0).unwrap().remaining()
}

#[test]
fn a_denial_is_counted_by_the_limit_that_denied_and_by_no_other() {
    let time = VirtualClock::starting_at(at(TODAY));
    let counting = |limit| FixedWindow::new(Quota::per_minute(limit)).counting_denied();
    let (wide, narrow) = (limiter(counting(10), &time), limiter(counting(4), &time));
    let words = limiter(Gcra::new(Quota::per_minute(10)), &time);
    let set = all((wide.key("k"), narrow.key("k"), words.key("k")));
    set.admit(3).unwrap();
    assert_eq!(set.admit(3).unwrap_err().index(), 1);
    // The narrow one counted the three it denied: there is no room for one either.
    assert_eq!((left(&wide, "k"), left(&narrow, "k"), left(&words, "k")), (7, 0, 7));
    // A limit in words that denies is charged nothing, and lets nothing be counted elsewhere.
    words.check_n("other", 10).unwrap();
    let other = all((wide.key("other"), words.key("other")));
    assert_eq!(other.admit(1).unwrap_err().index(), 1);
    assert_eq!(left(&wide, "other"), 10);
    // Nor is looking counted, nor what is refused by a set that only looks.
    assert!(narrow.peek_n("k", 1).is_err() && set.admit(0).is_ok());
    time.advance(std::time::Duration::from_secs(60));
    set.admit(4).unwrap();
}

/// A limiter, whatever its algorithm: what is done with each pair is compiled once.
trait Limiter {
    fn key<'a>(&'a self, key: &'a str) -> Key<'a>;
    fn check_n(&self, key: &str, cost: u64) -> Result<Allowed, Denied>;
    fn left(&self, key: &str) -> u64;
}

impl<A: Algorithm> Limiter for RateLimiter<A, FixedState> {
    fn key<'a>(&'a self, key: &'a str) -> Key<'a> {
        self.key(key)
    }
    fn check_n(&self, key: &str, cost: u64) -> Result<Allowed, Denied> {
        self.check_n(key, cost)
    }
    fn left(&self, key: &str) -> u64 {
        left(self, key)
    }
}

/// Each in words if it fits, in records if not, and in records.
fn everywhere(time: &VirtualClock, mut body: impl FnMut(&dyn Limiter, &dyn Limiter)) {
    type Make = fn(Quota, &VirtualClock) -> Box<dyn Limiter>;
    let narrow: [Make; 9] = [
        |quota, time| Box::new(limiter(Gcra::new(quota), time)),
        |quota, time| Box::new(limiter(FixedWindow::new(quota), time)),
        |quota, time| Box::new(limiter(SlidingWindow::new(quota), time)),
        |quota, time| Box::new(limiter(SlidingLog::new(quota), time)),
        |quota, time| Box::new(limiter(SlidingGranules::new(quota, 6), time)),
        |quota, time| Box::new(limiter(FixedWindow::new(quota).from_first_hit(), time)),
        |quota, time| Box::new(limiter(FixedWindow::new(quota).shifted_per_key(), time)),
        |quota, time| Box::new(limiter(InRecords(Gcra::new(quota)), time)),
        |quota, time| Box::new(limiter(InRecords(FixedWindow::new(quota)), time)),
    ];
    let wide: [Make; 4] = [
        |quota, time| Box::new(limiter(Gcra::new(quota), time)),
        |quota, time| Box::new(limiter(FixedWindow::new(quota), time)),
        |quota, time| Box::new(limiter(SlidingLog::new(quota), time)),
        |quota, time| Box::new(limiter(InRecords(Gcra::new(quota)), time)),
    ];
    for narrow in narrow {
        for wide in wide {
            body(&*narrow(Quota::per_minute(5), time), &*wide(Quota::per_minute(8), time));
        }
    }
}

#[test]
fn all_or_none_wherever_the_states_are() {
    let time = VirtualClock::starting_at(at(TODAY));
    let mut sets = 0;
    everywhere(&time, |narrow, wide| {
        for narrow_first in [true, false] {
            let key = if narrow_first { "first" } else { "second" };
            let keys: [Key<'_>; 2] = match narrow_first {
                true => [narrow.key(key), wide.key(key)],
                false => [wide.key(key), narrow.key(key)],
            };
            let (set, narrow_at) = (all(keys), usize::from(!narrow_first));
            set.admit(3).unwrap();
            let refused = set.admit(3).unwrap_err();
            assert_eq!(refused.index(), narrow_at);
            assert!(matches!(refused.retry(), Retry::After(_)));
            assert_eq!((narrow.left(key), wide.left(key)), (2, 5));
            // Both refuse: the first is named, and nothing is charged.
            assert_eq!(set.admit(6).unwrap_err().index(), 0);
            assert_eq!(set.admit(6).unwrap_err().retry(), Retry::Never);
            set.admit(2).unwrap();
            assert_eq!((narrow.left(key), wide.left(key)), (0, 3));
            // Settled, all of it is given back to both.
            let other = if narrow_first { "third" } else { "fourth" };
            all((narrow.key(other), wide.key(other))).admit(4).unwrap().cancel();
            assert_eq!((narrow.left(other), wide.left(other)), (5, 8));
            sets += 1;
        }
    });
    assert_eq!(sets, 9 * 4 * 2);
}

#[test]
fn as_much_as_all_have_left_is_granted_wherever_the_states_are() {
    let time = VirtualClock::starting_at(at(TODAY));
    everywhere(&time, |narrow, wide| {
        let set = all((narrow.key("k"), wide.key("k")));
        assert_eq!(set.grant_up_to(2).unwrap().cost(), 2);
        wide.check_n("k", 4).unwrap();
        assert_eq!(set.grant_up_to(9).unwrap().cost(), 2, "of 3 and 2");
        assert_eq!((narrow.left("k"), wide.left("k")), (1, 0));
        let refused = set.grant_up_to(9).unwrap_err();
        assert_eq!(refused.index(), 1);
        assert_eq!((narrow.left("k"), wide.left("k")), (1, 0), "nothing is granted of one");
        // What was not needed is given back to both.
        let set = all((wide.key("other"), narrow.key("other")));
        let granted = set.grant_up_to(u64::MAX).unwrap();
        assert_eq!(granted.cost(), 5);
        granted.settle(1);
        assert_eq!((narrow.left("other"), wide.left("other")), (4, 7));
    });
}

/// Peer bug 31, for a key that was forgotten meanwhile: one that comes late finds no window that was
/// over when another came.
#[test]
fn row_31_a_forgotten_key_that_comes_late_finds_no_window_that_is_over() {
    fn holds<A: Algorithm>(algorithm: A) {
        let time = VirtualClock::starting_at(at(TODAY));
        let limiter = limiter(algorithm, &time);
        // Of the same shard, so that one forgets the other.
        let shard = |key: &u64| (FixedState::default().hash_one(*key) >> 32) % 64;
        let mut shared = (0_u64..).filter(|key| shard(key) == 0);
        let [late, other, third] = std::array::from_fn(|_| shared.next().unwrap());
        let begun = TODAY + 9 * SECOND;
        let take_all = |now| {
            let took = (0..100).take_while(|_| limiter.check_at(&late, 1, at(now)).is_ok());
            took.count()
        };
        assert_eq!(take_all(begun), 3);
        let reset = limiter.peek_at(&late, 0, at(begun)).unwrap().reset_after();
        let idle = begun + nanos(reset);
        for newcomer in [other, third] {
            limiter.check_at(&newcomer, 1, at(idle + 100 * SECOND)).unwrap();
        }
        // As much as the later time would have had, and counted as of then: once.
        assert!(take_all(begun) <= 3);
        assert_eq!(take_all(begun), 0);
        let denied = limiter.check_at(&late, 1, at(begun)).unwrap_err();
        let Retry::After(wait) = denied.retry() else { panic!("{denied:?}") };
        assert!(begun + nanos(wait) > idle, "reopened: {wait:?}");
    }
    let three = || quota(3, 10 * SECOND, 3);
    holds(FixedWindow::new(three()).from_first_hit());
    holds(FixedWindow::new(three()).counting_denied());
    holds(FixedWindow::new(three()).shifted_per_key());
    holds(InRecords(FixedWindow::new(three())));
    holds(SlidingWindow::new(three()));
    holds(SlidingGranules::new(three(), 5));
    holds(SlidingLog::new(three()));
    holds(InRecords(Gcra::new(three())));
}
