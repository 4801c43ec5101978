//! Replays a log against a policy: lines become events, events are decided on virtual time, and the
//! decisions are counted in a summary.
//!
//! ```
//! use tollgate_cli::replay::{Log, Replay};
//! use tollgate::{Limit, Policy, Quota};
//!
//! let log = br#"
//!     {"t": 0, "id": "a", "facts": {"user": 7}}
//!     {"t": 0.25, "id": "b", "facts": {"user": 7}}
//! "#;
//! let policy = Policy::new().limit(Limit::new("user", Quota::per_second(1)).key(["user"]));
//!
//! let mut replay = Replay::new(policy)?;
//! let mut log = Log::new(log.as_slice(), None);
//! while let Some(line) = log.next_line()? {
//!     match line.event {
//!         Ok(event) => drop(replay.event(&event)),
//!         Err(_) => replay.unreadable(),
//!     }
//! }
//! let summary = replay.summary();
//! assert_eq!((summary.admitted, summary.refused), (1, 1));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The same log gives the same answers every time. An event with a timestamp earlier than that of a
//! previous event is decided at the latest timestamp so far ([`Disorder`] says how often this
//! happened). [`Arrivals`] sorts the events of a log that is written in the order in which requests
//! end.
//!
//! An admitted request gives back what it holds when it ends: `took` after it began, or at its
//! `finish`. At one instant, requests end before others begin, since what they hold is free at
//! exactly their end; events of the log keep their order. A request with neither `took` nor an id
//! takes no time, since the log cannot tell its end.

mod absence;
mod access_log;
mod arrivals;
mod decimal;
mod decision;
mod event;
mod format;
mod in_flight;
mod json_lines;
mod log;
mod summary;
mod timeline;
mod took;

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, DefaultHasher};

use smallvec::SmallVec;

use tollgate::Enforcer;
use tollgate::{Mode, Policy, PolicyError};
use tollgate::{Timestamp, VirtualClock};

pub use absence::Absence;
pub use arrivals::Arrivals;
pub use decision::{Decision, Seconds};
pub use event::{Event, Op, Unreadable};
pub use format::{Format, MAX_LINE};
pub use log::{Line, Log};
pub(crate) use summary::seconds;
pub use summary::{Disorder, KeySummary, LimitSummary, Summary};
pub use timeline::{Columns, Timeline};
pub use took::Took;

use in_flight::InFlight;
use timeline::Resolution;

/// A hasher without a random seed, so that every run gives the same result. The author of a log
/// gains nothing from colliding keys in a later replay.
type FixedHasher = BuildHasherDefault<DefaultHasher>;

/// Up to this many facts of one event are passed on without allocating.
const INLINE_FACTS: usize = 16;

type Facts<'a> = SmallVec<[(&'a str, &'a str); INLINE_FACTS]>;

/// Decides the events of a log under a policy and counts the decisions. Requests do not wait: a
/// request that would have to wait for a limit with a `wait` is refused.
///
/// Memory grows with the keys that the limits count, with the keys that are refused, and with the
/// requests in flight. A request with an id is in flight until it is finished. If more than 262,144
/// such requests are in flight and none was ever finished, the ids are taken not to mark ends, and
/// no request waits for a `finish`.
pub struct Replay {
    policy: Policy,
    enforcer: Enforcer<FixedHasher>,
    time: VirtualClock,
    counts: Counts,
    in_flight: InFlight,
    limits: Vec<Tally>,
    /// By the limit's index and the key as text.
    refused_keys: HashMap<(usize, String), Timeline>,
    /// The facts that the policy names and that no request has had so far.
    unseen: Vec<String>,
    span: Option<Span>,
    finest: Resolution,
    disorder: Disorder,
}

#[derive(Clone, Copy, Default)]
struct Counts {
    admitted: u64,
    refused: u64,
    peeks: u64,
    finishes: u64,
    unknown_finishes: u64,
    unreadable_lines: u64,
}

/// What is counted per limit in addition to the enforcer's own counters.
#[derive(Default)]
struct Tally {
    keys: HashSet<u64, FixedHasher>,
    refused: Timeline,
    shadow_refused: Timeline,
}

/// From the first event to the one with the latest timestamp.
#[derive(Clone, Copy)]
struct Span {
    first: Timestamp,
    last: Timestamp,
}

impl Replay {
    /// A replay that has seen no event yet.
    ///
    /// # Errors
    /// All problems of the policy.
    pub fn new(policy: Policy) -> Result<Replay, PolicyError> {
        let time = VirtualClock::new();
        let enforcer = Enforcer::builder(policy.clone())
            .clock(time.clock())
            .hasher(FixedHasher::default())
            .build()?;
        Ok(Replay {
            enforcer,
            time,
            counts: Counts::default(),
            in_flight: InFlight::new(),
            limits: policy.limits().iter().map(|_| Tally::default()).collect(),
            refused_keys: HashMap::new(),
            unseen: policy.named_facts().into_iter().map(str::to_owned).collect(),
            span: None,
            finest: Resolution::COARSEST,
            disorder: Disorder::default(),
            policy,
        })
    }

    /// Decides an event. An [`Op::Finish`] is counted and not decided; it does nothing if every
    /// admitted request of its id has already ended.
    pub fn event<'e>(&mut self, event: &'e Event<'_>) -> Option<Decision<'e>> {
        self.move_time_to(event.at);
        let pair = |(name, value): &'e (Cow<'_, str>, Cow<'_, str>)| (&**name, &**value);
        let facts: Facts<'e> = event.facts.iter().map(pair).collect();
        let answer = match event.op {
            Op::Admit => {
                self.look(&facts, event.cost);
                match self.enforcer.admit(&facts, event.cost) {
                    Ok(permit) => {
                        self.counts.admitted += 1;
                        let allowed = permit.allowed();
                        self.in_flight.begin(permit, event, self.time.now());
                        Ok(allowed)
                    }
                    Err(refused) => {
                        self.counts.refused += 1;
                        self.count_refused(refused.index(), &facts);
                        Err(refused)
                    }
                }
            }
            Op::Peek => {
                self.counts.peeks += 1;
                self.enforcer.peek(&facts, event.cost)
            }
            Op::Finish => {
                self.counts.finishes += 1;
                let ended = event.id.as_deref().and_then(|id| self.in_flight.finish(id));
                self.counts.unknown_finishes += u64::from(ended.is_none());
                return None;
            }
        };
        Some(Decision { at: event.at, id: event.id.as_deref(), answer })
    }

    /// Counts a line that could not be read.
    pub fn unreadable(&mut self) {
        self.counts.unreadable_lines += 1;
    }

    /// The result so far.
    pub fn summary(&self) -> Summary {
        let Counts { admitted, refused, peeks, finishes, unknown_finishes, unreadable_lines } =
            self.counts;
        let requests = admitted + refused;
        Summary {
            requests,
            admitted,
            refused,
            unreadable_lines,
            first: self.span.map(|span| span.first),
            last: self.span.map(|span| span.last),
            limits: self.limit_summaries(),
            top_refused_keys: self.top_refused_keys(),
            peeks,
            finishes,
            unknown_finishes,
            unfinished: self.in_flight.unfinished(),
            peak_in_flight: self.in_flight.peak(),
            disorder: self.disorder,
            // A log without requests says nothing about the facts of requests.
            missing_facts: if requests > 0 {
                absence::of(&self.policy, &self.unseen)
            } else {
                Vec::new()
            },
            finest: self.finest,
        }
    }

    /// Moves the clock to `at`, but never back. Requests that end on the way do so at their own
    /// time.
    fn move_time_to(&mut self, at: Timestamp) {
        self.finest.see(at);
        let span = self.span.get_or_insert(Span { first: at, last: at });
        if at < span.last {
            self.disorder.lines += 1;
            self.disorder.furthest = self.disorder.furthest.max(span.last.since(at));
        }
        span.last = span.last.max(at);
        let now = span.last;
        while let Some((end, permit)) = self.in_flight.end(now) {
            self.time.set(end);
            drop(permit);
        }
        self.time.set(now);
    }

    /// Records the keys of a request, and the decisions of limits in shadow mode.
    fn look(&mut self, facts: &Facts<'_>, cost: u64) {
        self.unseen.retain(|fact| !facts.iter().any(|(name, _)| name == fact));
        let (limits, now) = (&mut self.limits, self.time.now());
        self.enforcer.trace(facts, cost, |index, key, shadow_refuses| {
            if let Some(tally) = limits.get_mut(index) {
                tally.keys.extend(key);
                if shadow_refuses {
                    tally.shadow_refused.add(now);
                }
            }
        });
    }

    fn count_refused(&mut self, limit: usize, facts: &Facts<'_>) {
        let now = self.time.now();
        if let Some(tally) = self.limits.get_mut(limit) {
            tally.refused.add(now);
        }
        let key = self.enforcer.key_text(limit, facts);
        self.refused_keys.entry((limit, key)).or_default().add(now);
    }

    fn limit_summaries(&self) -> Vec<LimitSummary> {
        let limits = self.enforcer.limits();
        limits
            .into_iter()
            .zip(&self.limits)
            .map(|(status, tally)| LimitSummary {
                name: status.name.to_string(),
                checked: status.checked,
                refused: status.refused,
                shadow_refused: status.shadow_refused,
                keys: tally.keys.len() as u64,
                overflows: status.overflows,
                mode: status.mode,
                over_time: match status.mode {
                    Mode::Shadow => tally.shadow_refused.clone(),
                    Mode::Enforce | Mode::Off => tally.refused.clone(),
                },
            })
            .collect()
    }

    /// The most refused keys first; ties in the order of the policy, then alphabetically.
    fn top_refused_keys(&self) -> Vec<KeySummary> {
        let mut keys: Vec<_> = self.refused_keys.iter().collect();
        keys.sort_by_cached_key(|((limit, key), refused)| {
            (std::cmp::Reverse(refused.total()), *limit, key.as_str())
        });
        keys.truncate(summary::TOP_KEYS);
        keys.into_iter()
            .map(|((limit, key), refused)| KeySummary {
                limit: self
                    .policy
                    .limits()
                    .get(*limit)
                    .map_or(String::new(), |l| l.name().to_owned()),
                key: key.clone(),
                refused: refused.total(),
                over_time: refused.clone(),
            })
            .collect()
    }
}

impl std::fmt::Debug for Replay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Replay").field("enforcer", &self.enforcer).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::Future;
    use std::pin::pin;
    use std::sync::{Arc, Mutex};
    use std::task::{Context, Wake, Waker};

    /// Records the time of each wake-up.
    struct Witness {
        time: VirtualClock,
        seen: Mutex<Vec<u64>>,
    }

    impl Wake for Witness {
        fn wake(self: Arc<Self>) {
            self.seen.lock().unwrap().push(self.time.now().as_nanos() / 1_000_000_000);
        }
    }

    #[test]
    fn requests_end_at_their_own_time() {
        let mut replay = Replay::new(Policy::new()).unwrap();
        let mut event = |line: &str| {
            replay.event(&Format::Jsonl.event(line.as_bytes()).unwrap().unwrap());
            replay.time.clone()
        };
        event(r#"{"t": 0, "took": 7}"#);
        let time = event(r#"{"t": 1, "took": 2}"#);
        let seen = Mutex::default();
        let witness = Arc::new(Witness { time: time.clone(), seen });
        let waker = Waker::from(witness.clone());
        for end in [3, 7] {
            let mut sleep = pin!(time.clock().sleep_until(Timestamp::from_secs(end)).unwrap());
            assert!(sleep.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
            event(&format!(r#"{{"t": {}}}"#, end + 2));
        }
        assert_eq!(*witness.seen.lock().unwrap(), [3, 7]);
        assert_eq!(time.now(), Timestamp::from_secs(9));
    }
}
