//! Limits of a user, an organization and all callers, decided as one: `cargo run --example
//! hierarchy`.
//!
//! First with limiters that the program holds, then the same as a policy.

use tollgate::policy::Missing;
use tollgate::{Enforcer, Limit, Policy, PolicyError, Quota, RateLimiter, VirtualClock};

fn main() -> Result<(), PolicyError> {
    by_hand();
    by_policy()
}

fn by_hand() {
    let time = VirtualClock::new();
    let limiter = |name, count| {
        RateLimiter::builder(Quota::per_second(count)).name(name).clock(time.clock()).build()
    };
    let (users, orgs, everybody) = (limiter("user", 3), limiter("org", 5), limiter("all", 7));

    println!("by hand");
    for (user, org) in [("ann", "x"), ("bob", "x"), ("cyd", "y")] {
        let mut admitted = 0;
        // Narrowest first, the shared one last. A refusal charges none of them.
        let refused = loop {
            let set = tollgate::all((users.key(user), orgs.key(org), everybody.key(&())));
            match set.admit(1) {
                Ok(_) => admitted += 1,
                Err(refused) => break refused,
            }
        };
        println!("  {user} of {org}: {admitted} admitted, then {refused}");
    }
}

fn by_policy() -> Result<(), PolicyError> {
    let time = VirtualClock::new();
    let policy = Policy::new()
        // A caller without a user is counted by project, apart from a user of the same name.
        .limit(Limit::new("user", Quota::per_second(3)).key(["user|project"]))
        .limit(Limit::new("org", Quota::per_second(5)).key(["org"]).missing(Missing::Skip))
        .limit(Limit::new("all", Quota::per_second(7)));
    let enforcer = Enforcer::builder(policy).clock(time.clock()).build()?;

    println!("by policy");
    for facts in [
        &[("user", "ann"), ("org", "x")][..],
        &[("user", "bob"), ("org", "x")],
        &[("project", "bob")],
    ] {
        let mut admitted = 0;
        let refused = loop {
            match enforcer.admit(facts, 1) {
                Ok(_) => admitted += 1,
                Err(refused) => break refused,
            }
        };
        println!("  {facts:?}: {admitted} admitted, then {refused}");
    }
    for limit in enforcer.limits() {
        println!("  {}: {} checked, {} refused", limit.name, limit.checked, limit.refused);
    }
    Ok(())
}
