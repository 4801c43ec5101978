//! [`Enforcer`]: decides requests by their facts, under a policy and on a clock.
//!
//! For one decision, `facts` looks up the given facts among those the policy names, `compiled`
//! finds the limits that apply and the request's key under each, and `transaction` decides all of
//! them as one.

mod admission;
mod answers;
mod compiled;
mod counter;
mod decide;
mod decision;
mod facts;
mod fixed_hash;
mod framing;
mod inspect;
mod key_facts;
mod limit_counters;
mod limit_state;
mod pattern;
mod permit;
mod reload;
mod rollout;
mod trace;

use std::collections::HashSet;
use std::hash::BuildHasher;

use arc_swap::ArcSwap;

use crate::decision::{Allowed, Refused};
use crate::policy::{Mode, Policy, PolicyError, did_you_mean, nearest};
use crate::sync::{Arc, AtomicBool, AtomicU64, Mutex, Ordering, RandomState};
use crate::telemetry;
use crate::time::{Clock, Timestamp};
use crate::transaction::Listed;

use answers::Says;
use compiled::{Compiled, CompiledLimit};
use decide::{decide, decide_and_say};
use decision::{Asks, Decision};
use facts::Facts;
use framing::KeyWords;
use limit_state::LimitState;

pub use admission::{Admission, AdmissionWithAnswers};
pub use answers::{Answers, LimitAnswer};
pub use compiled::SkipReason;
pub use facts::Value;
pub use inspect::{EnforcerTotals, Explanation, LimitStatus, Verdict};
pub use permit::Permit;
pub use reload::Reload;

/// Decides requests under a policy.
///
/// ```
/// use tollgate::{Enforcer, Limit, Policy, Quota};
///
/// let policy = Policy::new()
///     .limit(Limit::new("user", Quota::per_second(50).burst(100)).key(["user"]))
///     .limit(Limit::new("org", Quota::per_second(1000)).key(["org"]));
/// let enforcer = Enforcer::builder(policy).build()?;
///
/// match enforcer.admit(&[("user", "42"), ("org", "7")], 1) {
///     Ok(permit) => println!("{} more at once", permit.allowed().remaining()),
///     Err(refused) => println!("{}: {}", refused.limit(), refused.retry()),
/// }
/// # Ok::<(), tollgate::PolicyError>(())
/// ```
///
/// Facts are given by name, each once; a fact that the policy does not name costs one look-up and
/// changes nothing. A value is text or an integer; an integer counts as its decimal text. A
/// decision does not allocate, except when a table grows and when a thread first decides, as long
/// as at most 6 limits apply (at most 2 of them concurrency limits), at most 32 are found for the
/// request, and the request has at most 16 facts that the policy names.
///
/// Share it by reference or in an `Arc`.
pub struct Enforcer<S = RandomState> {
    policy: ArcSwap<Compiled>,
    clock: Clock,
    hasher: S,
    bypass: Arc<AtomicBool>,
    /// Counts facts that were given and that a policy with declared facts does not declare.
    undeclared: AtomicU64,
    /// Held while the policy is replaced, so that two concurrent reloads do not lose a limiter.
    reload: Mutex<()>,
}

/// Builds an [`Enforcer`]; made by [`Enforcer::builder`].
#[derive(Clone, Debug)]
pub struct EnforcerBuilder<S = RandomState> {
    policy: Policy,
    clock: Clock,
    hasher: S,
}

/// The error of a name that no limit of the policy has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownLimit {
    name: String,
    hint: Option<String>,
}

impl Enforcer {
    /// Starts to build an enforcer for `policy`.
    pub fn builder(policy: Policy) -> EnforcerBuilder {
        EnforcerBuilder { policy, clock: Clock::default(), hasher: RandomState::default() }
    }
}

impl<S> EnforcerBuilder<S> {
    /// Sets the clock that decisions are timed by. Default: [`Clock::monotonic`].
    pub fn clock(self, clock: Clock) -> Self {
        EnforcerBuilder { clock, ..self }
    }

    /// Sets the hasher of keys. Default: std's SipHash with random keys.
    pub fn hasher<T>(self, hasher: T) -> EnforcerBuilder<T> {
        EnforcerBuilder { policy: self.policy, clock: self.clock, hasher }
    }

    /// Builds the enforcer.
    ///
    /// # Errors
    /// All problems of the policy, if it has any.
    pub fn build(self) -> Result<Enforcer<S>, PolicyError> {
        self.policy.check()?;
        let (compiled, _) = Compiled::new(&self.policy, None, &self.clock);
        Ok(Enforcer {
            policy: ArcSwap::from_pointee(compiled),
            clock: self.clock,
            hasher: self.hasher,
            bypass: Arc::new(AtomicBool::new(false)),
            undeclared: AtomicU64::new(0),
            reload: Mutex::new(()),
        })
    }
}

impl<S: BuildHasher> Enforcer<S> {
    /// Decides a request of `cost` units now: charges all rates that apply and takes all slots, or
    /// does neither. Never waits, and is refused where other callers wait in line. A cost of 0 is a
    /// peek.
    #[inline]
    pub fn admit<'f, V: Copy + Into<Value<'f>>>(
        &self,
        facts: &[(&str, V)],
        cost: u64,
    ) -> Result<Permit, Refused> {
        self.admit_at(facts, cost, self.clock.now())
    }

    /// As [`admit`](Self::admit), at `now` instead of the clock's time.
    pub fn admit_at<'f, V: Copy + Into<Value<'f>>>(
        &self,
        facts: &[(&str, V)],
        cost: u64,
        now: Timestamp,
    ) -> Result<Permit, Refused> {
        let mut permit = Permit::new(self.policy.load());
        self.admit_into(&mut permit, facts, cost, now, None)?;
        Ok(permit)
    }

    /// Decides a request and fills in the new `permit` in place, since moving a permit copies it.
    #[inline(always)]
    fn admit_into<'f, V: Copy + Into<Value<'f>>>(
        &self,
        permit: &mut Permit,
        facts: &[(&str, V)],
        cost: u64,
        now: Timestamp,
        says: Option<Says<'_>>,
    ) -> Result<(), Refused> {
        if self.is_bypassed() {
            return Ok(());
        }
        let (policy, held) = permit.parts();
        let mut known = Facts::new();
        let unnamed = known.take(&policy.names, facts);
        if let (Some(declared), true) = (&policy.declared, unnamed > 0) {
            self.count_undeclared(declared, facts);
        }
        policy.ask(&mut held.charges, &known, cost, &self.hasher, true);
        match says {
            None => decide(permit, cost, now),
            Some(says) => decide_and_say(permit, cost, now, says),
        }
    }

    /// Returns what [`admit`](Self::admit) would return now, without charging or counting anything.
    pub fn peek<'f, V: Copy + Into<Value<'f>>>(
        &self,
        facts: &[(&str, V)],
        cost: u64,
    ) -> Result<Allowed, Refused> {
        let policy = self.policy.load();
        if self.is_bypassed() {
            return Ok(Allowed::UNLIMITED);
        }
        let mut known = Facts::new();
        known.take(&policy.names, facts);
        let mut asks = Asks::new();
        policy.ask(&mut asks, &known, cost, &self.hasher, true);
        let now = self.clock.now();
        let mut listed = Listed::default();
        let looked = policy.look(&mut asks, now, &mut listed, |_, _, _| {});
        let said = match looked.filter(|()| listed.is_valid()) {
            Some(()) => match listed.refusal {
                None => Ok(policy.tightest(listed.tightest_slots(), &asks)),
                Some(refusal) => Err(refusal),
            },
            None => {
                let mut decision = Decision::new(&policy, &asks, now, None);
                decision.peek().map(|()| decision.tightest())
            }
        };
        said.map_err(|refusal| policy.refused(&refusal))
    }

    /// Resets the key that these facts have under the limit `name` and its overrides, as if the key
    /// had never been seen.
    pub fn reset_key<'f, V: Copy + Into<Value<'f>>>(
        &self,
        name: &str,
        facts: &[(&str, V)],
    ) -> Result<(), UnknownLimit> {
        let policy = self.policy.load();
        let mut known = Facts::new();
        known.take(&policy.names, facts);
        let rule = self.rule(&policy, name)?;
        if let Some(tag) = rule.tag(&known, &self.hasher, &mut KeyWords::default()) {
            rule.each_state(|state| state.reset(tag));
        }
        Ok(())
    }

    /// Counts the given facts that a policy with declared facts does not declare.
    #[cold]
    fn count_undeclared<V>(&self, declared: &HashSet<Box<str>>, given: &[(&str, V)]) {
        let unknown = given.iter().filter(|(name, _)| !declared.contains(*name)).count();
        // Relaxed: a count; no other data is published with it.
        self.undeclared.fetch_add(unknown as u64, Ordering::Relaxed);
    }
}

impl<S> Enforcer<S> {
    /// Replaces the policy.
    ///
    /// A limit whose name both policies have keeps its keys and what they owe, in units; so does an
    /// override with the same match. It starts fresh instead if `max_keys`, `overflow` or
    /// `algorithm` changes, or if its quota changes and its carry-over is
    /// [`Reset`](crate::policy::CarryOver::Reset). If `key` changes, requests have other keys.
    /// Modes are those of the new policy.
    ///
    /// Callers that wait continue to wait, under the parameters of the new policy and the `wait` of
    /// the old one; a line that exists keeps its `max_waiters`. If the new policy does not have
    /// a limit, no caller waits for it any more. At a limit that starts fresh, callers in line
    /// continue to wait for the slots and units taken before the reload.
    ///
    /// # Errors
    /// All problems of the new policy, if it has any. The old policy stays in force.
    pub fn reload(&self, policy: Policy) -> Result<Reload, PolicyError> {
        policy.check().inspect_err(|error| self.reload_failed(error))?;
        let one_at_a_time = self.reload.lock();
        let before = self.policy.load_full();
        let (compiled, reload) = Compiled::new(&policy, Some(&before), &self.clock);
        let compiled = Arc::new(compiled);
        self.policy.store(compiled.clone());
        for rule in &before.rules {
            rule.replaced_by(compiled.rule(rule.name));
        }
        drop(one_at_a_time);
        // Waiters at a dropped limit stop waiting for it. All other waiters are checked again.
        for rule in &before.rules {
            if compiled.rule(rule.name).is_none() {
                rule.counters.set_mode(Mode::Off);
            }
            rule.serve_all();
        }
        // Relaxed: a count; no other data is published with it.
        compiled.totals.reloads.fetch_add(1, Ordering::Relaxed);
        telemetry::reloaded(&reload);
        Ok(reload)
    }

    /// Counts and logs that a new policy could not replace this one.
    pub(crate) fn reload_failed(&self, why: &dyn std::fmt::Display) {
        // Relaxed: a count; no other data is published with it.
        self.policy.load().totals.failed_reloads.fetch_add(1, Ordering::Relaxed);
        telemetry::reload_failed(why);
    }

    /// Sets the mode of the limit `name` until the next reload.
    pub fn set_mode(&self, name: &str, mode: Mode) -> Result<(), UnknownLimit> {
        let policy = self.policy.load();
        let rule = self.rule(&policy, name)?;
        rule.counters.set_mode(mode);
        rule.serve_all();
        Ok(())
    }

    /// Turns the bypass on or off. While it is on, every request is admitted, and none is charged
    /// or counted. Meant for emergencies.
    pub fn bypass(&self, on: bool) {
        // Relaxed: each decision reads the flag once, and no other data is published with it.
        self.bypass.store(on, Ordering::Relaxed);
        self.policy.load().rules.iter().for_each(CompiledLimit::serve_all);
    }

    /// Whether the bypass is on: every request is admitted without being charged or counted.
    pub fn is_bypassed(&self) -> bool {
        // Relaxed: as in `bypass`.
        self.bypass.load(Ordering::Relaxed)
    }

    /// Resets every key of the limit `name` and of its overrides, as if never seen.
    pub fn reset(&self, name: &str) -> Result<(), UnknownLimit> {
        let policy = self.policy.load();
        self.rule(&policy, name)?.each_state(LimitState::reset_all);
        Ok(())
    }

    /// How many facts were given that a policy with declared facts does not declare. They are
    /// probably misspelt.
    pub fn undeclared_facts(&self) -> u64 {
        self.undeclared.load(Ordering::Relaxed)
    }

    /// The clock that decisions are timed by.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    fn rule<'p>(
        &self,
        policy: &'p Compiled,
        name: &str,
    ) -> Result<&'p CompiledLimit, UnknownLimit> {
        policy.rule(name).ok_or_else(|| UnknownLimit {
            name: name.to_owned(),
            hint: nearest(name, policy.rules.iter().map(|rule| rule.name)).map(did_you_mean),
        })
    }
}

impl<S> Drop for Enforcer<S> {
    fn drop(&mut self) {
        let policy = self.policy.load_full();
        policy.rules.iter().for_each(|rule| rule.each_state(LimitState::close));
    }
}

impl<S> std::fmt::Debug for Enforcer<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let policy = self.policy.load();
        let names: Vec<&str> = policy.rules.iter().map(|rule| rule.name).collect();
        f.debug_struct("Enforcer")
            .field("limits", &names)
            .field("clock", &self.clock)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Display for UnknownLimit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "there is no limit `{}`", self.name)?;
        match &self.hint {
            Some(hint) => write!(f, "; {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for UnknownLimit {}
