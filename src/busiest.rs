//! [`Busiest`]: the keys that are refused most.

mod space_saving;

use std::hash::BuildHasher;

use crate::sync::{Mutex, RandomState};
use crate::tagged::TagMap;

use space_saving::SpaceSaving;

/// The longest text of a key, in bytes. Keys that begin with the same so many are one.
const MAX_TEXT: usize = 256;

/// The keys that each limit refused most, in bounded memory: for a page of explanations, a report,
/// a question in the night.
///
/// It counts what it is told, under the text that it is told:
///
/// ```
/// use tollgate::{Busiest, Enforcer, Limit, Policy, Quota};
///
/// let policy = Policy::new().limit(Limit::new("user", Quota::per_hour(1)).key(["user"]));
/// let enforcer = Enforcer::builder(policy).build()?;
/// let busiest = Busiest::new(100);
///
/// for user in ["17", "17", "17", "42", "42", "7"] {
///     match enforcer.admit(&[("user", user)], 1) {
///         Ok(_permit) => {}
///         Err(refused) => busiest.count(refused.limit(), &format!("user {user}")),
///     }
/// }
/// let top = busiest.top("user");
/// assert_eq!((&*top[0].key, top[0].at_most), ("user 17", 2));
/// assert_eq!((&*top[1].key, top[1].at_most), ("user 42", 1));
/// # Ok::<(), tollgate::PolicyError>(())
/// ```
///
/// For each limit the counts of at most `k` keys are kept, by Space-Saving (Metwally, Agrawal,
/// El Abbadi: Efficient Computation of Frequent and Top-k Elements in Data Streams, 2005). Of a
/// limit that was refused `n` times
/// - every key that has more than `n / k` of them is there,
/// - none is shown with fewer than it has, or with more than `n / k` too many,
/// - and as long as there are no more than `k` keys, all counts are exact.
///
/// So a flood of fresh keys does not hide the ones that matter, and costs no memory. A count takes
/// one lock and time in the logarithm of `k`, and allocates nothing for a key that is there. The
/// same counts in the same order give the same answers.
///
/// Share it by reference or in an `Arc`.
pub struct Busiest {
    keys: usize,
    hasher: RandomState,
    counts: Mutex<CountsByLimit>,
}

/// A key that was refused, and how often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BusyKey {
    /// Its text, as it was told; of a longer one the first 256 bytes or a few less.
    pub key: String,
    /// It was not refused more often.
    pub at_most: u64,
    /// It was not refused less often.
    pub at_least: u64,
}

#[derive(Default)]
struct CountsByLimit {
    limits: TagMap<SpaceSaving>,
    uncounted: u64,
}

impl Busiest {
    /// Limits whose keys are kept. The refusals of further ones are [not](Self::uncounted).
    pub const MAX_LIMITS: usize = 1024;

    /// Keeps `k` keys of each limit, at least 1, once there are so many: each takes at most 550 bytes.
    pub fn new(k: usize) -> Busiest {
        Busiest { keys: k.max(1), hasher: RandomState::default(), counts: Mutex::default() }
    }

    /// Counts that `limit` refused `key`.
    pub fn count(&self, limit: &str, key: &str) {
        let key = beginning(key);
        // Equal hashes are equal keys: they are keyed at random, so nobody can choose them so.
        let (limit, tag) = (self.hasher.hash_one(limit), self.hasher.hash_one(key));
        let mut counts = self.counts.lock();
        let CountsByLimit { limits, uncounted } = &mut *counts;
        if limits.len() < Self::MAX_LIMITS || limits.contains_key(&limit) {
            limits.entry(limit).or_default().count(self.keys, tag, key);
        } else {
            *uncounted = uncounted.saturating_add(1);
        }
    }

    /// The keys of a limit, the busiest first: by `at_most`, then `at_least`, then the text. Copies
    /// them all, during which nobody can count.
    pub fn top(&self, limit: &str) -> Vec<BusyKey> {
        let limit = self.hasher.hash_one(limit);
        let counts = self.counts.lock();
        let mut top: Vec<BusyKey> =
            counts.limits.get(&limit).into_iter().flat_map(SpaceSaving::keys).collect();
        drop(counts);
        let rank = |key: &BusyKey| std::cmp::Reverse((key.at_most, key.at_least));
        top.sort_unstable_by(|a, b| rank(a).cmp(&rank(b)).then_with(|| a.key.cmp(&b.key)));
        top
    }

    /// How many refusals were not counted since there were [`MAX_LIMITS`](Self::MAX_LIMITS) other limits.
    pub fn uncounted(&self) -> u64 {
        self.counts.lock().uncounted
    }

    /// Starts again with nothing, for a report on what follows.
    pub fn reset(&self) {
        let before = std::mem::take(&mut *self.counts.lock());
        drop(before);
    }
}

impl std::fmt::Debug for Busiest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Busiest").field("keys", &self.keys).finish_non_exhaustive()
    }
}

/// As much of a text as is kept, cut between two characters.
fn beginning(text: &str) -> &str {
    let cut = (0..=MAX_TEXT.min(text.len())).rev().find(|at| text.is_char_boundary(*at));
    text.get(..cut.unwrap_or(0)).unwrap_or_default()
}
