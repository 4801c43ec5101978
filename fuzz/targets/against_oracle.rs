//! A limiter answers as rational arithmetic does.
//!
//! The first bytes are a quota and the grain of time, every four after them one call. Stamps are
//! whole seconds, or any where a unit takes whole nanoseconds: there nothing is rounded, and answers
//! must be equal, not merely close.

use std::time::Duration;

use foldhash::fast::FixedState;
use tollgate::{Quota, RateLimiter, Retry, Timestamp, VirtualClock};

const SECOND: u64 = 1_000_000_000;
const PERIODS: [u64; 6] =
    [SECOND, 7 * SECOND, 60 * SECOND, 3600 * SECOND, 86_400 * SECOND, 3_650 * 86_400 * SECOND];

/// One key: when its bucket is full again, in nanoseconds times the quota's count.
#[derive(Clone, Copy, Default)]
struct Bucket {
    full_at: u128,
}

struct Oracle {
    count: u128,
    per: u128,
    burst: u128,
}

impl Oracle {
    /// What a charge leaves, or how many nanoseconds to wait, or `None` if that does not help.
    fn decide(&self, bucket: Bucket, cost: u64, now: u64) -> Result<Bucket, Option<u64>> {
        let now = u128::from(now) * self.count;
        let next = bucket.full_at.max(now) + u128::from(cost) * self.per;
        let excess = next.saturating_sub(now + self.burst * self.per);
        if cost == 0 {
            Ok(bucket)
        } else if u128::from(cost) > self.burst {
            Err(None)
        } else if excess == 0 {
            Ok(Bucket { full_at: next })
        } else {
            Err(Some(u64::try_from(excess.div_ceil(self.count)).expect("waits are short")))
        }
    }

    fn remaining(&self, bucket: Bucket, now: u64) -> u64 {
        let debt = bucket.full_at.saturating_sub(u128::from(now) * self.count);
        let free = (self.burst * self.per).saturating_sub(debt);
        u64::try_from(free / self.per).expect("a burst is 64 bits")
    }

    fn reset(&self, bucket: Bucket, now: u64) -> Duration {
        let debt = bucket.full_at.saturating_sub(u128::from(now) * self.count);
        Duration::from_nanos(u64::try_from(debt.div_ceil(self.count)).expect("waits are short"))
    }
}

pub(crate) fn run(data: &[u8]) {
    let Some((&[count, count_high, period, burst, grain], calls)) = data.split_first_chunk() else {
        return;
    };
    let count = 1 + u64::from(u16::from_le_bytes([count, count_high]));
    let per = PERIODS[usize::from(period) % PERIODS.len()];
    let burst = u64::from(burst);
    let quota = Quota::new(count, Duration::from_nanos(per)).and_then(|q| q.with_burst(burst));
    let Ok(quota) = quota else { return };
    // Steps below a second only where every stamp is exact: a unit takes whole nanoseconds, and the
    // full bucket no more than 2^60 of them.
    let fine = per % count == 0 && burst.saturating_mul(per / count) <= 1 << 60;
    let step = match grain % 4 {
        0 if fine => per / count,
        1 if fine => (per / count / 3).max(1),
        2 if fine => 1,
        _ => SECOND,
    };

    // No wait and no stamp below comes near the end of the axis, where both saturate.
    const FAR: u64 = u64::MAX / 4;
    if burst.saturating_mul(per / count) > FAR {
        return;
    }
    let time = VirtualClock::new();
    let limiter = RateLimiter::builder(quota)
        .clock(time.clock())
        .hasher(FixedState::default())
        .max_keys(64)
        .build();
    let oracle = Oracle { count: u128::from(count), per: u128::from(per), burst: burst.into() };
    let mut buckets = [Bucket::default(); 4];
    for call in calls.chunks_exact(4) {
        let &[dt, key, cost, op] = call else { return };
        time.advance(Duration::from_nanos(u64::from(dt).saturating_mul(step)));
        let now = time.now().as_nanos();
        if now > FAR {
            return;
        }
        let (key, cost) = (usize::from(key) % buckets.len(), u64::from(cost) % (burst + 3));
        let bucket = &mut buckets[key];
        let expected = oracle.decide(*bucket, cost, now);
        let got = match op % 5 {
            0 => limiter.check_n(&key, cost),
            1 => limiter.check_at(&key, cost, Timestamp::from_nanos(now)),
            2 => limiter.peek_n(&key, cost),
            3 => limiter.reserve(&key, cost).map(|reserved| reserved.allowed()),
            _ => {
                limiter.reset(&key);
                *bucket = Bucket::default();
                continue;
            }
        };
        let after = expected.unwrap_or(*bucket);
        match (expected, got) {
            (Ok(_), Ok(allowed)) => {
                assert_eq!(allowed.remaining(), oracle.remaining(after, now), "remaining");
                assert_eq!(allowed.reset_after(), oracle.reset(after, now), "reset");
            }
            (Err(wait), Err(denied)) => {
                let retry = wait.map_or(Retry::Never, |n| Retry::After(Duration::from_nanos(n)));
                assert_eq!(denied.retry(), retry, "retry");
                assert_eq!(denied.remaining(), oracle.remaining(after, now), "remaining");
            }
            (expected, got) => {
                panic!("{got:?} for {cost} at {now}; rational: {:?}", expected.map(|_| "allowed"));
            }
        }
        if op % 5 != 2 {
            *bucket = after;
        }
    }
}
