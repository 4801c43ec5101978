//! What a caller may do with the public types, whatever they hold.

use tollgate::algorithm::Gcra;
use tollgate::future::{AcquireRate, AcquireSlots, Admission, Sleep};
use tollgate::set::{Member, SetPermit};
use tollgate::{
    Answers, Clock, ConcurrencyLimiter, Enforcer, KeyedConcurrencyLimiter, Lease, Permit, Policy,
    PolicyError, Quota, RateLimiter, Refused, Reservation, VirtualClock, WaitError,
};

fn crosses_threads<T: Send>() {}

fn is_shared_by_threads<T: Send + Sync>() {}

/// Compiles, or does not.
#[test]
fn limiters_are_shared_by_threads_and_what_they_give_crosses_them() {
    is_shared_by_threads::<RateLimiter>();
    is_shared_by_threads::<RateLimiter<Gcra>>();
    is_shared_by_threads::<ConcurrencyLimiter>();
    is_shared_by_threads::<KeyedConcurrencyLimiter<str>>();
    is_shared_by_threads::<Enforcer>();
    is_shared_by_threads::<Clock>();
    is_shared_by_threads::<VirtualClock>();
    is_shared_by_threads::<Policy>();
    is_shared_by_threads::<Quota>();
    is_shared_by_threads::<Answers>();
    is_shared_by_threads::<Refused>();
    is_shared_by_threads::<PolicyError>();
    is_shared_by_threads::<WaitError>();
    is_shared_by_threads::<Lease>();
    is_shared_by_threads::<Permit>();
    is_shared_by_threads::<SetPermit<'static, 2>>();
    is_shared_by_threads::<Reservation>();
    crosses_threads::<Member<'static>>();
    crosses_threads::<AcquireRate>();
    crosses_threads::<AcquireSlots>();
    crosses_threads::<Admission>();
    crosses_threads::<Sleep>();
}
