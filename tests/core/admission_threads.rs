//! A policy of rates and slots under threads that admit, wait, cancel, reload and change modes:
//! nothing above a cap, no slot lost, no thread stuck.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

use tollgate::future::Admission;
use tollgate::{Enforcer, Limit, Mode, Permit, Policy, Quota, VirtualClock};

const ORGS: u32 = 2;
const CAP_OF_ORG: u32 = 2;
const CAP: u32 = 3;

fn policy(more: u64) -> Policy {
    let hour = Duration::from_secs(3_600);
    let calls = Quota::per_second(1 + more).burst(1 << 40);
    Policy::new()
        .limit(Limit::new("calls", calls).key(["org"]).wait(hour))
        .limit(Limit::concurrent("org", CAP_OF_ORG).key(["org"]).wait(hour))
        .limit(Limit::concurrent("watched", 1).mode(Mode::Shadow))
        .limit(Limit::concurrent("all", CAP).wait(hour))
}

/// Counts the requests in flight, of each organization and of all.
#[derive(Default)]
struct Inside {
    of_org: [AtomicU32; ORGS as usize],
    all: AtomicU32,
}

impl Inside {
    fn visit(&self, org: u32) {
        let of_org = &self.of_org[org as usize];
        let now = (of_org.fetch_add(1, Ordering::SeqCst), self.all.fetch_add(1, Ordering::SeqCst));
        assert!(now.0 < CAP_OF_ORG && now.1 < CAP, "{now:?}");
        thread::yield_now();
        self.all.fetch_sub(1, Ordering::SeqCst);
        of_org.fetch_sub(1, Ordering::SeqCst);
    }
}

fn poll(admission: &mut Admission) -> Poll<Option<Permit>> {
    let polled = Pin::new(admission).poll(&mut Context::from_waker(Waker::noop()));
    polled.map(Result::ok)
}

#[test]
fn nothing_is_lost_while_all_changes() {
    const TURNS: usize = 400;
    let time = VirtualClock::new();
    let enforcer = Enforcer::builder(policy(0)).clock(time.clock()).build().unwrap();
    let (inside, is_over) = (Inside::default(), AtomicBool::new(false));
    let admitted = AtomicUsize::new(0);
    thread::scope(|scope| {
        let mut workers = Vec::new();
        for worker in 0..4_u32 {
            let (enforcer, inside, admitted) = (&enforcer, &inside, &admitted);
            workers.push(scope.spawn(move || {
                for turn in 0..TURNS {
                    let org = (worker + turn as u32) % ORGS;
                    let facts = [("org", org)];
                    let permit = match turn % 4 {
                        0 | 1 => Some(enforcer.admit_blocking(&facts, 1).unwrap()),
                        2 => enforcer.admit(&facts, 1).ok(),
                        _ => {
                            // Waits, and mostly leaves.
                            let mut admission = enforcer.admit_waiting(&facts, 1);
                            match poll(&mut admission) {
                                Poll::Ready(permit) => permit,
                                Poll::Pending => {
                                    thread::yield_now();
                                    drop(admission);
                                    None
                                }
                            }
                        }
                    };
                    if let Some(permit) = permit {
                        inside.visit(org);
                        admitted.fetch_add(1, Ordering::SeqCst);
                        if turn % 3 == 0 { permit.cancel() } else { drop(permit) }
                    }
                }
            }));
        }
        let (enforcer, is_over) = (&enforcer, &is_over);
        scope.spawn(move || {
            let mut turn = 0;
            while !is_over.load(Ordering::SeqCst) {
                turn += 1;
                enforcer.reload(policy(turn % 3)).unwrap();
                let mode = if turn % 2 == 0 { Mode::Shadow } else { Mode::Off };
                enforcer.set_mode("watched", mode).unwrap();
                enforcer.reset_key("calls", &[("org", 0)]).unwrap();
                assert!(enforcer.limits().iter().all(|status| status.waiting <= 4));
                thread::yield_now();
            }
        });
        for worker in workers {
            let _ = worker.join().map_err(|panic| {
                is_over.store(true, Ordering::SeqCst);
                std::panic::resume_unwind(panic)
            });
        }
        is_over.store(true, Ordering::SeqCst);
    });
    assert!(admitted.into_inner() >= 4 * TURNS / 2);
    for status in enforcer.limits() {
        assert_eq!(status.waiting, 0, "{status:?}");
        assert_eq!(status.slots.map_or(0, |slots| slots.in_use), 0, "{status:?}");
    }
    let all: Vec<Permit> = [0, 0, 1].map(|org| enforcer.admit(&[("org", org)], 1).unwrap()).into();
    assert_eq!(enforcer.admit(&[("org", 1)], 1).unwrap_err().limit(), "all");
    drop(all);
}

/// Does everything with its enforcer when it is woken.
struct Meddler {
    enforcer: Arc<Enforcer>,
    held: Mutex<Vec<Permit>>,
    woken: AtomicUsize,
}

impl Wake for Meddler {
    fn wake(self: Arc<Self>) {
        self.woken.fetch_add(1, Ordering::SeqCst);
        let given_back = self.held.lock().unwrap().pop();
        drop(given_back);
        let enforcer = &self.enforcer;
        let facts = [("org", 1)];
        drop(enforcer.admit(&facts, 1));
        let mut admission = enforcer.admit_waiting(&facts, 1);
        drop(poll(&mut admission));
        drop(admission);
        enforcer.set_mode("watched", Mode::Off).unwrap();
        enforcer.reload(policy(1)).unwrap();
        enforcer.reset("calls").unwrap();
        enforcer.limits();
    }
}

#[test]
fn a_waker_that_meddles_with_its_enforcer_deadlocks_nothing() {
    let time = VirtualClock::new();
    let enforcer = Arc::new(Enforcer::builder(policy(0)).clock(time.clock()).build().unwrap());
    let admit = |org| enforcer.admit(&[("org", org)], 1).unwrap();
    let held = Mutex::new(vec![admit(0), admit(0)]);
    let last = admit(1);
    let woken = AtomicUsize::new(0);
    let meddler = Arc::new(Meddler { enforcer: enforcer.clone(), held, woken });
    let waker = Waker::from(meddler.clone());
    let mut waiting: Vec<Admission> =
        (0..6).map(|n| enforcer.admit_waiting(&[("org", n % ORGS)], 1)).collect();
    for waiting in &mut waiting {
        assert!(Pin::new(waiting).poll(&mut Context::from_waker(&waker)).is_pending());
    }
    drop(last);
    // Each that is woken gives one more back: three go, the others are behind them.
    let mut went = Vec::new();
    while !waiting.is_empty() {
        let before = waiting.len();
        waiting.retain_mut(|waiting| match poll(waiting) {
            Poll::Ready(permit) => {
                went.push(permit.unwrap());
                false
            }
            Poll::Pending => true,
        });
        assert!(waiting.len() < before, "{before} are stranded");
        assert!(went.len() <= CAP as usize);
        went.clear();
    }
    assert!(meddler.woken.load(Ordering::SeqCst) > 0);
    drop(meddler);
    for status in enforcer.limits() {
        assert_eq!(status.waiting, 0, "{status:?}");
        assert_eq!(status.slots.map_or(0, |slots| slots.in_use), 0, "{status:?}");
    }
}
