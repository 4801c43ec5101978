//! Leases: when a slot is held, when it comes back, and what is counted of it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use foldhash::fast::FixedState;
use tollgate::{
    ConcurrencyLimiter, KeyedConcurrencyLimiter, Lease, LeaseExpired, MAX_SLOTS, Retry, Timestamp,
    Usage, VirtualClock,
};

const NANO: Duration = Duration::from_nanos(1);
const SECOND: Duration = Duration::from_secs(1);
/// How long the leases here are, in nanoseconds.
const LEASE: u64 = 10_000;
/// An odd moment, so that nothing is right because it is 0.
const START: u64 = 1_790_000_000_000_000_007;

fn nanos(nanos: u64) -> Duration {
    Duration::from_nanos(nanos)
}

fn at(nanos: u64) -> Timestamp {
    Timestamp::from_nanos(START + nanos)
}

fn slots(cap: u32, time: &VirtualClock) -> ConcurrencyLimiter {
    ConcurrencyLimiter::builder(cap).lease(nanos(LEASE)).clock(time.clock()).build()
}

#[derive(Clone, Copy, Debug)]
enum Op {
    Take(&'static str, u32),
    Give(&'static str),
    Forget(&'static str),
    Renew(&'static str),
    Remaining(&'static str),
    Resize(u32),
    Reset,
    Count,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Is {
    /// Granted, and so many remain.
    Left(u64),
    /// Denied, for so many nanoseconds at most.
    Full(u64),
    /// Denied until a lease is given back.
    Endless,
    Never,
    Done,
    TooLate,
    /// So long: 0 if it is over.
    For(u64),
    /// In use, overdue, expired, late.
    Counts(u32, u32, u64, u64),
}
use Is::*;
use Op::*;

/// Runs a table of moments, in which time may go back.
fn run(cap: u32, lease: Option<u64>, moments: &[(u64, Op, Is)]) {
    let time = VirtualClock::starting_at(at(0));
    let builder = ConcurrencyLimiter::builder(cap).clock(time.clock());
    let slots = match lease {
        Some(lease) => builder.lease(nanos(lease)).build(),
        None => builder.build(),
    };
    let mut held: BTreeMap<&str, Lease> = BTreeMap::new();
    for (row, (t, op, expected)) in moments.iter().enumerate() {
        time.set(at(*t));
        let got = match *op {
            Take(name, weight) => match slots.try_acquire_n(weight) {
                Ok(lease) => {
                    assert_eq!(lease.weight(), weight.max(1));
                    assert!(held.insert(name, lease).is_none(), "row {row}: {name} twice");
                    let usage = slots.usage();
                    Left(u64::from(usage.cap.saturating_sub(usage.in_use + usage.overdue)))
                }
                Err(denied) => match denied.retry() {
                    Retry::Unknown { at_latest: Some(wait) } => Full(wait.as_nanos() as u64),
                    Retry::Unknown { at_latest: None } => Endless,
                    Retry::Never => Never,
                    other => panic!("row {row}: {other:?}"),
                },
            },
            Give(name) => {
                drop(held.remove(name).unwrap());
                Done
            }
            Forget(name) => {
                std::mem::forget(held.remove(name).unwrap());
                Done
            }
            Renew(name) => match held[name].renew() {
                Ok(()) => Done,
                Err(LeaseExpired) => TooLate,
            },
            Remaining(name) => {
                let lease = &held[name];
                assert_eq!(lease.is_live(), !lease.remaining().is_zero(), "row {row}");
                For(u64::try_from(lease.remaining().as_nanos()).unwrap_or(u64::MAX))
            }
            Resize(cap) => {
                slots.resize(cap);
                assert_eq!(slots.usage().cap, cap);
                Done
            }
            Reset => {
                slots.reset();
                Done
            }
            Count => {
                let usage = slots.usage();
                Counts(usage.in_use, usage.overdue, usage.expired, usage.late)
            }
        };
        assert_eq!(got, *expected, "row {row}: {op:?} at {t}");
    }
}

#[test]
fn a_slot_is_held_until_exactly_its_end() {
    run(
        2,
        Some(LEASE),
        &[
            (0, Count, Counts(0, 0, 0, 0)),
            (0, Take("a", 1), Left(1)),
            (1, Take("b", 1), Left(0)),
            (1, Take("c", 1), Full(LEASE - 1)),
            (2, Remaining("a"), For(LEASE - 2)),
            (LEASE - 1, Take("c", 1), Full(1)),
            (LEASE - 1, Remaining("a"), For(1)),
            (LEASE - 1, Count, Counts(2, 0, 0, 0)),
            // No caller needed the slot: the lease is over all the same.
            (LEASE, Remaining("a"), For(0)),
            (LEASE, Count, Counts(1, 1, 1, 0)),
            (LEASE, Take("c", 1), Left(0)),
            (LEASE, Count, Counts(2, 0, 1, 0)),
            (LEASE, Take("d", 1), Full(1)),
            // It frees no slot of another holder.
            (LEASE, Give("a"), Done),
            (LEASE, Count, Counts(2, 0, 1, 1)),
            (LEASE, Take("d", 1), Full(1)),
            (LEASE + 1, Take("d", 1), Left(0)),
            (LEASE + 1, Give("b"), Done),
            (LEASE + 1, Give("c"), Done),
            (LEASE + 1, Count, Counts(1, 0, 2, 2)),
            (LEASE + 1, Give("d"), Done),
            (LEASE + 1, Count, Counts(0, 0, 2, 2)),
        ],
    );
}

#[test]
fn given_back_a_nanosecond_before_the_end_is_in_time() {
    run(
        1,
        Some(LEASE),
        &[
            (0, Take("a", 1), Left(0)),
            (LEASE - 1, Give("a"), Done),
            (LEASE - 1, Count, Counts(0, 0, 0, 0)),
            (LEASE - 1, Take("b", 1), Left(0)),
            (2 * LEASE - 1, Give("b"), Done),
            (2 * LEASE - 1, Count, Counts(0, 0, 1, 1)),
        ],
    );
}

#[test]
fn a_clock_that_jumps_past_the_lease_ends_it_once() {
    run(
        2,
        Some(LEASE),
        &[
            (0, Take("a", 1), Left(1)),
            (5, Take("b", 1), Left(0)),
            (1_000_000 * LEASE, Count, Counts(0, 2, 2, 0)),
            (1_000_000 * LEASE, Take("c", 1), Left(1)),
            (1_000_000 * LEASE, Count, Counts(1, 0, 2, 0)),
            (1_000_000 * LEASE, Give("a"), Done),
            (1_000_000 * LEASE, Give("b"), Done),
            (1_000_000 * LEASE, Count, Counts(1, 0, 2, 2)),
        ],
    );
}

#[test]
fn a_clock_that_goes_back_grants_nothing_more() {
    run(
        1,
        Some(LEASE),
        &[
            (5 * LEASE, Take("a", 1), Left(0)),
            (0, Take("b", 1), Full(6 * LEASE)),
            (0, Remaining("a"), For(6 * LEASE)),
            (5 * LEASE, Take("b", 1), Full(LEASE)),
            (6 * LEASE, Take("b", 1), Left(0)),
            // What was taken back stays so.
            (5 * LEASE, Remaining("a"), For(0)),
            (5 * LEASE, Renew("a"), TooLate),
            (5 * LEASE, Give("a"), Done),
            (5 * LEASE, Count, Counts(1, 0, 1, 1)),
            (5 * LEASE, Take("c", 1), Full(2 * LEASE)),
            (0, Give("b"), Done),
            (0, Count, Counts(0, 0, 1, 1)),
        ],
    );
}

#[test]
fn a_live_lease_is_renewed_and_a_dead_one_is_not() {
    run(
        1,
        Some(LEASE),
        &[
            (0, Take("a", 1), Left(0)),
            (0, Renew("a"), Done),
            (1, Renew("a"), Done),
            (1, Remaining("a"), For(LEASE)),
            (LEASE, Renew("a"), Done),
            (2 * LEASE - 1, Renew("a"), Done),
            (3 * LEASE - 2, Renew("a"), Done),
            (4 * LEASE - 3, Take("b", 1), Full(1)),
            (4 * LEASE - 2, Renew("a"), TooLate),
            (4 * LEASE - 2, Remaining("a"), For(0)),
            (4 * LEASE - 2, Take("b", 1), Left(0)),
            (4 * LEASE - 2, Renew("a"), TooLate),
            (4 * LEASE - 2, Remaining("b"), For(LEASE)),
            (4 * LEASE - 2, Count, Counts(1, 0, 1, 0)),
        ],
    );
}

#[test]
fn renewing_on_a_clock_that_went_back_shortens_nothing() {
    run(
        1,
        Some(LEASE),
        &[
            (LEASE, Take("a", 1), Left(0)),
            (0, Renew("a"), Done),
            (0, Remaining("a"), For(2 * LEASE)),
            (LEASE, Take("b", 1), Full(LEASE)),
        ],
    );
}

#[test]
fn a_reset_on_a_clock_that_stands_keeps_no_lease_and_frees_no_stranger() {
    run(
        2,
        Some(LEASE),
        &[
            (0, Take("a", 1), Left(1)),
            (0, Take("b", 1), Left(0)),
            (0, Reset, Done),
            (0, Count, Counts(0, 0, 0, 0)),
            (0, Remaining("a"), For(0)),
            (0, Renew("a"), TooLate),
            (0, Take("c", 1), Left(1)),
            (0, Take("d", 1), Left(0)),
            (0, Give("a"), Done),
            (0, Give("b"), Done),
            (0, Count, Counts(2, 0, 0, 2)),
            (0, Take("e", 1), Full(LEASE)),
            (0, Reset, Done),
            (0, Reset, Done),
            (0, Take("e", 2), Left(0)),
            (0, Give("c"), Done),
            (0, Count, Counts(2, 0, 0, 3)),
        ],
    );
}

#[test]
fn a_reset_forgets_no_lease_that_ran_out() {
    run(
        2,
        Some(LEASE),
        &[
            (0, Take("a", 1), Left(1)),
            (1, Take("b", 1), Left(0)),
            (LEASE, Count, Counts(1, 1, 1, 0)),
            (LEASE, Reset, Done),
            (LEASE, Count, Counts(0, 0, 1, 0)),
            (LEASE, Give("a"), Done),
            (LEASE, Give("b"), Done),
            (LEASE, Count, Counts(0, 0, 1, 2)),
        ],
    );
}

#[test]
fn a_lowered_cap_drains_and_a_raised_one_opens() {
    run(
        3,
        Some(LEASE),
        &[
            (0, Take("a", 1), Left(2)),
            (1, Take("b", 1), Left(1)),
            (2, Take("c", 1), Left(0)),
            (3, Resize(1), Done),
            (3, Count, Counts(3, 0, 0, 0)),
            // Three must end before one is free.
            (3, Take("d", 1), Full(LEASE - 1)),
            (3, Give("a"), Done),
            (3, Take("d", 1), Full(LEASE - 1)),
            (3, Give("b"), Done),
            (3, Take("d", 1), Full(LEASE - 1)),
            (3, Give("c"), Done),
            (3, Take("d", 1), Left(0)),
            (4, Take("e", 2), Never),
            (4, Resize(0), Done),
            (4, Take("e", 1), Never),
            (4, Count, Counts(1, 0, 0, 0)),
            (5, Resize(3), Done),
            (5, Take("e", 2), Left(0)),
            (6, Resize(MAX_SLOTS), Done),
            (6, Take("f", MAX_SLOTS - 3), Left(0)),
            (6, Take("g", 1), Full(LEASE - 3)),
            (6, Resize(1), Done),
            (6, Count, Counts(MAX_SLOTS, 0, 0, 0)),
            (6, Give("f"), Done),
            (6, Give("e"), Done),
            (6, Take("g", 1), Full(LEASE - 3)),
            (LEASE + 3, Take("g", 1), Left(0)),
        ],
    );
}

#[test]
fn a_cap_of_nothing_refuses_everything_at_once() {
    run(
        0,
        Some(LEASE),
        &[
            (0, Take("a", 0), Never),
            (0, Take("a", 1), Never),
            (0, Take("a", u32::MAX), Never),
            (LEASE, Take("a", 1), Never),
            (LEASE, Count, Counts(0, 0, 0, 0)),
        ],
    );
    assert_eq!(ConcurrencyLimiter::new(0).usage().utilization(), 0.0);
}

#[test]
fn a_weight_is_granted_whole_or_not_at_all() {
    run(
        5,
        Some(LEASE),
        &[
            (0, Take("a", 3), Left(2)),
            (0, Take("b", 6), Never),
            (0, Take("b", u32::MAX), Never),
            (0, Take("b", MAX_SLOTS), Never),
            (1, Take("b", 3), Full(LEASE - 1)),
            (1, Take("b", 2), Left(0)),
            (2, Take("c", 0), Full(LEASE - 2)),
            // The first is not enough.
            (2, Take("c", 4), Full(LEASE - 1)),
            (2, Take("c", 5), Full(LEASE - 1)),
            (2, Give("a"), Done),
            (2, Take("c", 4), Full(LEASE - 1)),
            (2, Take("c", 3), Left(0)),
            (3, Give("b"), Done),
            (3, Take("d", 0), Left(1)),
            (3, Take("e", 0), Left(0)),
        ],
    );
}

#[test]
fn a_forgotten_lease_costs_one_lease_time() {
    run(
        1,
        Some(LEASE),
        &[
            (0, Take("a", 1), Left(0)),
            (0, Forget("a"), Done),
            (LEASE - 1, Take("b", 1), Full(1)),
            (LEASE, Take("b", 1), Left(0)),
            (LEASE, Count, Counts(1, 0, 1, 0)),
        ],
    );
}

#[test]
fn a_lease_without_end_is_held_until_it_is_given_back() {
    run(
        1,
        None,
        &[
            (0, Take("a", 1), Left(0)),
            (0, Take("b", 1), Endless),
            (1_000_000 * LEASE, Take("b", 1), Endless),
            (1_000_000 * LEASE, Remaining("a"), For(u64::MAX)),
            (1_000_000 * LEASE, Renew("a"), Done),
            (1_000_000 * LEASE, Give("a"), Done),
            (1_000_000 * LEASE, Take("b", 1), Left(0)),
            (1_000_000 * LEASE, Count, Counts(1, 0, 0, 0)),
        ],
    );
}

#[test]
fn at_the_end_of_time_a_cap_still_holds() {
    for lease in [None, Some(nanos(LEASE)), Some(Duration::MAX)] {
        let time = VirtualClock::starting_at(Timestamp::MAX);
        let builder = ConcurrencyLimiter::builder(2).clock(time.clock());
        let slots = match lease {
            Some(lease) => builder.lease(lease).build(),
            None => builder.build(),
        };
        let held: Vec<_> = (0..100).filter_map(|_| slots.try_acquire().ok()).collect();
        assert_eq!(held.len(), 2, "{lease:?}");
        assert!(held.iter().all(Lease::is_live), "{lease:?}");
        assert_eq!(slots.usage().in_use, 2, "{lease:?}");
        drop(held);
        let usage = slots.usage();
        assert_eq!((usage.in_use, usage.overdue, usage.late), (0, 0, 0), "{lease:?}");
    }
}

#[test]
fn a_cap_beyond_what_can_be_counted_counts_as_the_most_that_can() {
    let time = VirtualClock::new();
    let slots = slots(u32::MAX, &time);
    assert_eq!(slots.usage().cap, MAX_SLOTS);
    let lease = slots.try_acquire_n(MAX_SLOTS).unwrap();
    assert_eq!(slots.try_acquire_n(MAX_SLOTS + 1).unwrap_err().retry(), Retry::Never);
    assert!(slots.try_acquire().is_err());
    slots.resize(u32::MAX);
    assert_eq!(slots.usage().cap, MAX_SLOTS);
    assert_eq!(slots.usage().utilization(), 1.0);
    drop(lease);
    assert_eq!(slots.usage().in_use, 0);
}

#[test]
fn answers_say_how_the_slots_stand() {
    let time = VirtualClock::new();
    let slots = slots(4, &time);
    let lease = slots.try_acquire_n(3).unwrap();
    slots.resize(2);
    assert_eq!(slots.usage().utilization(), 1.5);
    let denied = slots.try_acquire().unwrap_err();
    assert_eq!((denied.burst(), denied.remaining()), (2, 0));
    drop(lease);
    let denied = slots.try_acquire_n(3).unwrap_err();
    assert_eq!((denied.burst(), denied.remaining(), denied.reset_after()), (2, 2, Duration::ZERO));
}

/// More leases than there are records at first, ended in every order.
#[test]
fn many_leases_end_in_any_order() {
    let time = VirtualClock::new();
    let slots = slots(1000, &time);
    let mut held: Vec<_> = (0..1000).map(|_| slots.try_acquire().unwrap()).collect();
    assert!(slots.try_acquire().is_err());
    for round in 0..1000 {
        let index = round * 7919 % held.len();
        drop(held.swap_remove(index));
        held.push(slots.try_acquire().unwrap());
        assert!(slots.try_acquire().is_err(), "round {round}");
    }
    for left in (0..1000).rev() {
        drop(held.swap_remove(left * 31 % (left + 1)));
        assert_eq!(slots.usage().in_use as usize, left);
    }
    assert_eq!((slots.usage().expired, slots.usage().late), (0, 0));
}

#[test]
fn a_panic_while_holding_gives_back() {
    let time = VirtualClock::new();
    let slots = slots(1, &time);
    let caught = std::panic::catch_unwind(AssertUnwindSafe(|| {
        let _lease = slots.try_acquire().unwrap();
        std::panic::resume_unwind(Box::new("while holding"));
    }));
    assert!(caught.is_err());
    assert_eq!(slots.usage().in_use, 0);
    assert!(slots.try_acquire().is_ok());
}

#[test]
fn a_lease_is_given_back_from_another_thread_and_after_its_limiter_is_gone() {
    let time = VirtualClock::new();
    let slots = slots(1, &time);
    let lease = slots.try_acquire().unwrap();
    std::thread::spawn(move || drop(lease)).join().unwrap();
    assert_eq!(slots.usage().in_use, 0);

    let lease = slots.try_acquire().unwrap();
    drop(slots);
    assert!(lease.is_live());
    assert_eq!(lease.renew(), Ok(()));
    time.advance(nanos(LEASE));
    assert_eq!(lease.renew(), Err(LeaseExpired));
    std::thread::spawn(move || drop(lease)).join().unwrap();

    let keyed: KeyedConcurrencyLimiter<str> =
        ConcurrencyLimiter::builder(1).clock(time.clock()).build_keyed();
    let lease = keyed.try_acquire("k").unwrap();
    drop(keyed);
    assert!(lease.is_live());
}

#[test]
fn leases_work_in_destructors_of_thread_locals() {
    struct AtExit(Arc<ConcurrencyLimiter>, Option<Lease>);
    impl Drop for AtExit {
        fn drop(&mut self) {
            let lease = self.1.take();
            assert!(lease.as_ref().is_some_and(Lease::is_live));
            assert!(self.0.try_acquire_n(2).is_err());
            drop(lease);
            let again = self.0.acquire_n_blocking(2, SECOND).unwrap();
            assert!(self.0.try_acquire().is_err());
            assert_eq!(again.renew(), Ok(()));
        }
    }
    thread_local!(static AT_EXIT: RefCell<Option<AtExit>> = const { RefCell::new(None) });
    let slots = Arc::new(ConcurrencyLimiter::builder(2).lease(300 * SECOND).build());
    let theirs = slots.clone();
    let thread = std::thread::spawn(move || {
        let lease = theirs.try_acquire().unwrap();
        AT_EXIT.with(|at_exit| *at_exit.borrow_mut() = Some(AtExit(theirs, Some(lease))));
    });
    // A panic in such a destructor aborts the process.
    thread.join().unwrap();
    let usage = slots.usage();
    assert_eq!((usage.in_use, usage.late), (0, 0));
    assert_eq!(Arc::strong_count(&slots), 1, "the destructor ran");
}

#[test]
fn debug_works_in_any_state() {
    let time = VirtualClock::new();
    let slots = slots(1, &time);
    let keyed: KeyedConcurrencyLimiter<str> =
        ConcurrencyLimiter::builder(1).clock(time.clock()).build_keyed();
    let shown =
        |lease: Option<&Lease>| format!("{slots:?} {keyed:?} {lease:?} {:?}", slots.usage());
    assert!(shown(None).contains("cap: 1"));
    let lease = slots.try_acquire().unwrap();
    let _keyed_lease = keyed.try_acquire("k").unwrap();
    assert!(shown(Some(&lease)).contains("weight: 1"));
    let waiting = slots.acquire(SECOND);
    let mut waiting = std::pin::pin!(waiting);
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(std::future::Future::poll(waiting.as_mut(), &mut cx).is_pending());
    assert!(shown(Some(&lease)).contains("waiting: 1"));
    time.advance(nanos(LEASE));
    slots.reset();
    assert!(shown(Some(&lease)).contains("expired: 1"));
    assert!(
        format!("{:?} {time:?} {LeaseExpired}", time.sleep(SECOND)).contains("acquire another")
    );
}

fn keyed(cap: u32, time: &VirtualClock) -> KeyedConcurrencyLimiter<u64, FixedState> {
    let builder = ConcurrencyLimiter::builder(cap).lease(nanos(LEASE)).clock(time.clock());
    builder.build_keyed_with(FixedState::default())
}

#[test]
fn keys_are_kept_apart() {
    let time = VirtualClock::starting_at(at(0));
    let keyed = keyed(2, &time);
    let of_7 = [keyed.try_acquire(&7).unwrap(), keyed.try_acquire(&7).unwrap()];
    assert_eq!(
        keyed.try_acquire(&7).unwrap_err().retry(),
        Retry::Unknown { at_latest: Some(nanos(LEASE)) }
    );
    let of_8 = keyed.try_acquire_n(&8, 2).unwrap();
    assert_eq!((keyed.usage(&7).in_use, keyed.usage(&8).in_use, keyed.len()), (2, 2, 2));
    keyed.reset(&7);
    assert!(of_7.iter().all(|lease| !lease.is_live()) && of_8.is_live());
    let again = keyed.try_acquire(&7).unwrap();
    drop(of_7);
    assert_eq!((keyed.usage(&7).in_use, keyed.usage(&7).late), (1, 2));
    time.advance(nanos(LEASE));
    assert_eq!((keyed.usage(&7).overdue, keyed.usage(&8).overdue), (1, 2));
    drop((again, of_8));
    assert!(keyed.is_empty());
    keyed.reset(&9);
    let nothing = keyed.usage(&9);
    assert_eq!((nothing.cap, nothing.in_use, nothing.late, keyed.len()), (2, 0, 0, 0));
}

#[test]
fn keys_of_which_nothing_is_held_are_forgotten() {
    let time = VirtualClock::new();
    for keys in [1, 3, 100, 100_000] {
        let keyed = keyed(1, &time);
        let before = keyed.memory();
        let held: Vec<_> = (0..keys).map(|key| keyed.try_acquire(&key).unwrap()).collect();
        assert_eq!(keyed.len() as u64, keys);
        let during = keyed.memory();
        assert!(during > before);
        println!("{keys} keys: {} bytes each while held", (during - before) as u64 / keys);
        assert!((0..keys).all(|key| keyed.try_acquire(&key).is_err()));
        drop(held);
        assert_eq!((keyed.len(), keyed.memory()), (0, before), "{keys} keys");
    }
}

/// No call asks how many keys there are: new keys alone make the limiter forget the old ones.
#[test]
fn new_keys_forget_those_that_are_idle() {
    let time = VirtualClock::new();
    let keyed = keyed(1, &time);
    let holder = keyed.try_acquire(&u64::MAX).unwrap();
    for key in 0..100_000 {
        drop(keyed.try_acquire(&key).unwrap());
        if key % 10_000 == 0 {
            // Asked for their number it would forget them.
            let shown = format!("{keyed:?}");
            let known = shown.split("known: ").nth(1).and_then(|rest| rest.split(',').next());
            let known: u64 = known.unwrap().parse().unwrap();
            assert!((1..=200).contains(&known), "{known} keys are known");
        }
    }
    assert!(keyed.try_acquire(&u64::MAX).is_err() && holder.is_live());
}

#[test]
fn all_keys_are_resized() {
    let time = VirtualClock::new();
    let keyed = keyed(1, &time);
    let mut held: Vec<_> = (0..100).map(|key| keyed.try_acquire(&key).unwrap()).collect();
    keyed.resize(2);
    held.extend((0..100).map(|key| keyed.try_acquire(&key).unwrap()));
    held.extend([keyed.try_acquire_n(&200, 2).unwrap()]);
    assert!((0..100).all(|key| keyed.try_acquire(&key).is_err()));
    keyed.resize(0);
    let is_never = |key: u64| keyed.try_acquire(&key).is_err_and(|d| d.retry() == Retry::Never);
    assert!((0..300).all(is_never));
    assert_eq!((keyed.usage(&0).in_use, keyed.usage(&0).cap, keyed.usage(&999).cap), (2, 0, 0));
    drop(held);
    keyed.resize(1);
    assert!((0..300).all(|key| keyed.try_acquire(&key).is_ok()));
}

#[test]
fn a_lease_of_no_time_is_over_as_it_begins() {
    let time = VirtualClock::new();
    let slots = ConcurrencyLimiter::builder(1).lease(Duration::ZERO).clock(time.clock()).build();
    let lease = slots.try_acquire().unwrap();
    assert!(!lease.is_live() && lease.renew().is_err());
    assert!(slots.try_acquire().is_ok());
    let usage: Usage = slots.usage();
    assert_eq!(usage.in_use, 0);
    time.advance(NANO);
    drop(lease);
    assert_eq!(slots.usage().expired, 2);
}
