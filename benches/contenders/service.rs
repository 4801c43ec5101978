//! The calls of a service: a set of three limits, and a policy of three; and the same with governor
//! in three separate checks, which are not atomic.

use std::hash::Hasher as _;

use tollgate::policy::Missing;
use tollgate::{Enforcer, Limit, Policy, all};

use super::*;

/// Quotas of a set under which each user and organization stays in debt.
pub(crate) const IN_DEBT: [Quota; 3] = [ROOMY, GLOBAL, GLOBAL];

/// Users of one organization.
const USERS: u64 = 64;
/// The number of addresses that all requests come from.
const ADDRESSES: u64 = 250;

/// Quotas of a set under which each key is full again by its next visit.
pub(crate) fn set_again(users: usize) -> [Quota; 3] {
    [again(users), again(users / USERS as usize + 1), again(1)]
}

/// Tollgate's limits of a user, its organization and all.
pub(crate) struct Limiters<S> {
    pub(crate) users: RateLimiter<Gcra, S>,
    pub(crate) orgs: RateLimiter<Gcra, S>,
    pub(crate) global: RateLimiter<Gcra, S>,
}

impl<S: Hasher> Limiters<S> {
    pub(crate) fn new([user, org, global]: [Quota; 3], users: usize, time: Time) -> Self {
        Limiters {
            users: tollgate_of(user, users, time),
            orgs: tollgate_of(org, users / USERS as usize + 1, time),
            global: tollgate_of(global, 1, time),
        }
    }

    #[inline]
    pub(crate) fn admit(&self, user: u64, time: Time) -> bool {
        let set =
            all((self.users.key(&user), self.orgs.key(&(user / USERS)), self.global.key(&())));
        match time.stamp() {
            Some(now) => set.admit_at(1, now).is_ok(),
            None => set.admit(1).is_ok(),
        }
    }
}

/// The tables of a [`Checks`].
pub(crate) struct Maps<S>(Map<u64, S>, Map<u64, S>);

impl<S: Hasher> Maps<S> {
    pub(crate) fn new() -> Self {
        Maps(Map::with_hasher(S::default()), Map::with_hasher(S::default()))
    }
}

/// The same limits with governor.
pub(crate) struct Checks<'a, S: Hasher> {
    users: Governor<'a, u64, S>,
    orgs: Governor<'a, u64, S>,
    global: GovernorDirect,
}

impl<'a, S: Hasher> Checks<'a, S> {
    /// With the global limit charged once.
    pub(crate) fn new([user, org, global]: [Quota; 3], maps: &'a Maps<S>) -> Self {
        let global = GovernorDirect::new(global);
        for time in Time::ALL {
            assert!(global.check(time) || !has_coarse());
        }
        Checks { users: Governor::new(&maps.0, user), orgs: Governor::new(&maps.1, org), global }
    }

    #[inline]
    pub(crate) fn check(&self, user: u64, time: Time) -> bool {
        self.users.check(&user, time)
            && self.orgs.check(&(user / USERS), time)
            && self.global.check(time)
    }
}

/// The three limits of `examples/limits.toml` that apply to every call of the API, with other
/// quotas: per user, per organization and per address.
pub(crate) fn three_limits(policy: Policy, [user, org, ip]: [Quota; 3]) -> Policy {
    let limit = |name, quota| Limit::new(name, quota).when("path", ["/api/*"]);
    policy
        .limit(limit("user", user).key(["group", "view", "method", "user|project|org|ip"]))
        .limit(limit("organization", org).key(["org"]).missing(Missing::Skip))
        .limit(limit("ip", ip).key(["ip"]).max_keys(4_000_000))
}

/// Their quotas under which each key is full again by its next visit.
pub(crate) fn policy_again(users: usize) -> [Quota; 3] {
    let [user, org, _] = set_again(users);
    [user, org, again(users.min(ADDRESSES as usize))]
}

/// Limits for one view each, none of which is ever asked for.
pub(crate) fn other_routes(count: usize) -> Policy {
    (0..count).fold(Policy::new(), |policy, index| {
        let name = format!("route {index}");
        policy.limit(Limit::new(&*name, ROOMY).key(["user"]).when("view", [&*name]))
    })
}

pub(crate) fn enforcer<S: Hasher>(policy: Policy, time: Time) -> Enforcer<S> {
    let builder = Enforcer::builder(policy).clock(time.clock()).hasher(S::default());
    builder.build().expect("a policy that is right")
}

/// An enforcer whose organization limit refuses each of `calls`, and whose keys are all in debt.
pub(crate) fn refusing<S: Hasher>(calls: &[Call], time: Time) -> Enforcer<S> {
    let enforcer = enforcer(three_limits(Policy::new(), [ROOMY; 3]), time);
    for call in calls {
        assert!(admit(&enforcer, call, time));
    }
    let refusing = three_limits(Policy::new(), REFUSING);
    enforcer.reload(refusing).expect("a policy that is right");
    enforcer
}

/// Quotas of a policy whose organization limit refuses.
pub(crate) const REFUSING: [Quota; 3] = [ROOMY, TIGHT, ROOMY];

#[inline]
pub(crate) fn admit<S: Hasher>(enforcer: &Enforcer<S>, call: &Call, time: Time) -> bool {
    let facts = call.facts();
    match time.stamp() {
        Some(now) => enforcer.admit_at(&facts, 1, now).is_ok(),
        None => enforcer.admit(&facts, 1).is_ok(),
    }
}

/// The facts of a call of the API, and its keys under [`three_limits`] as text.
pub(crate) struct Call {
    facts: [(&'static str, String); 6],
    keys: [String; 3],
}

impl Call {
    pub(crate) fn new(user: u64) -> Call {
        let facts = [
            ("ip", format!("192.0.2.{}", user % ADDRESSES)),
            ("user", user.to_string()),
            ("org", (user / USERS).to_string()),
            ("view", "items.list".to_owned()),
            ("method", "GET".to_owned()),
            ("path", format!("/api/items/{user}")),
        ];
        let [ip, user, org, view, method, _] = facts.each_ref().map(|(_, value)| value.as_str());
        // The request has no group.
        let user_key = format!("{WORD}{}{}{}", part(view), part(method), part(user));
        let keys = [user_key, part(org), part(ip)];
        Call { facts, keys }
    }

    #[inline]
    pub(crate) fn facts(&self) -> [(&str, &str); 6] {
        self.facts.each_ref().map(|(name, value)| (*name, value.as_str()))
    }
}

/// As long as the word that is hashed for the name and the length of a part.
const WORD: &str = "name=len";

/// A part of a key, with as many bytes as the policy hashes.
fn part(value: &str) -> String {
    format!("{WORD}{value}")
}

/// The tables of a [`CallChecks`].
pub(crate) struct CallMaps<S>([Map<String, S>; 3]);

impl<S: Hasher> CallMaps<S> {
    pub(crate) fn new() -> Self {
        CallMaps([(); 3].map(|()| Map::with_hasher(S::default())))
    }
}

/// The limits of [`three_limits`] with governor, by keys that are made beforehand.
pub(crate) struct CallChecks<'a, S: Hasher>([Governor<'a, String, S>; 3]);

impl<'a, S: Hasher> CallChecks<'a, S> {
    pub(crate) fn new(quotas: [Quota; 3], maps: &'a CallMaps<S>) -> Self {
        let [user, org, ip] = &maps.0;
        let [users, orgs, ips] = quotas;
        CallChecks([Governor::new(user, users), Governor::new(org, orgs), Governor::new(ip, ips)])
    }

    #[inline]
    pub(crate) fn check(&self, call: &Call, time: Time) -> bool {
        self.0.iter().zip(&call.keys).all(|(limit, key)| limit.check(key, time))
    }
}

/// Hashes the parts of the keys of `three_limits`.
pub(crate) fn hash_as_three<S: Hasher>(hasher: &S, facts: &[(&str, &str); 6]) -> u64 {
    let [ip, user, org, view, method, _] = facts;
    let mut sum = 0;
    for parts in [&[view, method, user][..], &[org], &[ip]] {
        let mut hasher = hasher.build_hasher();
        if parts.len() > 1 {
            hasher.write_u64(0);
        }
        for (_, value) in parts {
            hasher.write_u64(value.len() as u64);
            hasher.write(value.as_bytes());
        }
        sum ^= hasher.finish().max(1);
    }
    sum
}
