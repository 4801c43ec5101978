//! [`Busiest`]: the keys that each limit refuses most. The counts of one limit are in
//! `space_saving`.

mod space_saving;

use std::hash::BuildHasher;

use crate::sync::{Mutex, RandomState};
use crate::tagged::TagMap;

use space_saving::SpaceSaving;

/// The most bytes of a key's text that are kept. Keys that differ only after these bytes count as
/// one key.
const MAX_TEXT: usize = 256;

/// The keys that each limit refused most, in bounded memory, for a status page, a report or the
/// analysis of an incident.
///
/// The caller counts each refusal, under a text of its choice for the key:
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
/// El Abbadi: Efficient Computation of Frequent and Top-k Elements in Data Streams, 2005). For a
/// limit that refused `n` times
/// - every key with more than `n / k` refusals is kept,
/// - the count of a key is never too low, and at most `n / k` too high,
/// - all counts are exact as long as there are at most `k` keys.
///
/// So a flood of new keys does not hide the busiest keys, and does not grow the memory. A count
/// takes one lock and time logarithmic in `k`, and does not allocate for a key that is kept. The
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
    /// The text that was passed to [`Busiest::count`], cut to at most 256 bytes between two
    /// characters.
    pub key: String,
    /// The key was refused at most this many times.
    pub at_most: u64,
    /// The key was refused at least this many times.
    pub at_least: u64,
}

#[derive(Default)]
struct CountsByLimit {
    limits: TagMap<SpaceSaving>,
    uncounted: u64,
}

impl Busiest {
    /// The most limits whose keys are kept. The refusals of further limits are
    /// [not counted](Self::uncounted).
    pub const MAX_LIMITS: usize = 1024;

    /// Keeps up to `k` keys of each limit, at least 1. Each key takes at most 550 bytes.
    pub fn new(k: usize) -> Busiest {
        Busiest { keys: k.max(1), hasher: RandomState::default(), counts: Mutex::default() }
    }

    /// Counts that `limit` refused `key`.
    pub fn count(&self, limit: &str, key: &str) {
        let key = beginning(key);
        // Equal hashes count as equal keys. The hasher is keyed at random, so a caller cannot
        // choose keys that collide.
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
    /// all keys under the lock, so concurrent counts wait.
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

    /// The number of refusals that were not counted because there were already
    /// [`MAX_LIMITS`](Self::MAX_LIMITS) other limits.
    pub fn uncounted(&self) -> u64 {
        self.counts.lock().uncounted
    }

    /// Drops all counts, for example at the start of a reporting period.
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

/// The part of a text that is kept: at most [`MAX_TEXT`] bytes, cut between two characters.
fn beginning(text: &str) -> &str {
    let cut = (0..=MAX_TEXT.min(text.len())).rev().find(|at| text.is_char_boundary(*at));
    text.get(..cut.unwrap_or(0)).unwrap_or_default()
}
