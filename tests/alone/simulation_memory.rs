//! What many tasks cost.

use std::future::poll_fn;
use std::task::{Poll, Waker};
use std::time::Duration;
use std::{cell::RefCell, rc::Rc};

use rand::RngExt;
use tollgate::simulation::Simulation;

use crate::ALLOCATOR;

fn bytes() -> usize {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated - stats.bytes_deallocated
}

const TASKS: usize = 100_000;

/// If each wake visited every task, the test would not end.
#[test]
fn a_hundred_thousand_tasks_and_a_million_wakes() {
    alone!(a_hundred_thousand_tasks_and_a_million_wakes);
    let before = bytes();
    let mut simulation = Simulation::new(3);
    for _ in 0..TASKS {
        let handle = simulation.handle();
        simulation.spawn(async move {
            for _ in 0..3 {
                let pause = handle.random().random_range(0..1_000_000);
                handle.sleep(Duration::from_micros(pause)).await;
            }
        });
    }
    assert_eq!(simulation.run_until(tollgate::Timestamp::ZERO), TASKS);
    let each = (bytes() - before) / TASKS;
    assert!(each < 1_024, "{each} bytes a sleeping task");
    assert_eq!(simulation.run(), 0);

    let wakers: Rc<RefCell<Vec<Waker>>> = Rc::default();
    for _ in 0..10 {
        let wakers = wakers.clone();
        simulation.spawn(poll_fn(move |cx| {
            if wakers.borrow().len() < 10 {
                wakers.borrow_mut().push(cx.waker().clone());
            }
            Poll::<()>::Pending
        }));
    }
    simulation.run();
    let idle = bytes();
    for _ in 0..100_000 {
        wakers.borrow().iter().for_each(Waker::wake_by_ref);
    }
    assert!(bytes() <= idle, "wakes of a woken task cost {} bytes", bytes() - idle);
    simulation.run();
    drop((simulation, wakers));
    let left = bytes().saturating_sub(before);
    assert!(left < 1_024, "{left} bytes are left of it");
}
