//! Batches and their pauses, on virtual time.

use std::cell::Cell;
use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::sync::mpsc;
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use tollgate::pacer::{Batches, BatchesWhenFree, Pacer};
use tollgate::{Clock, ConcurrencyLimiter, Lease, NoTimer, Timestamp, VirtualClock, WaitError};

const PAUSE: Duration = Duration::from_secs(2);
const NANO: Duration = Duration::from_nanos(1);

fn secs(n: u64) -> Timestamp {
    Timestamp::from_secs(n)
}

fn poll<F: Future>(future: F) -> Poll<F::Output> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

/// Asks once and gives up if it would wait: a caller that is cancelled.
fn ask<I: Iterator>(batches: &mut Batches<I>) -> Poll<Option<Vec<I::Item>>> {
    poll(batches.next()).map(|batch| batch.expect("the clock has a timer"))
}

#[test]
fn a_batch_is_handed_out_no_sooner_than_the_pause_after_the_one_before() {
    let time = VirtualClock::new();
    let mut batches = Pacer::new(2, PAUSE).clock(time.clock()).batches(0..5);
    assert_eq!(ask(&mut batches), Poll::Ready(Some(vec![0, 1])));
    assert_eq!(ask(&mut batches), Poll::Pending);
    time.advance(PAUSE - NANO);
    assert_eq!(ask(&mut batches), Poll::Pending);
    time.advance(NANO);
    assert_eq!(ask(&mut batches), Poll::Ready(Some(vec![2, 3])));
    time.advance(PAUSE);
    assert_eq!(ask(&mut batches), Poll::Ready(Some(vec![4])));
    // No pause after the last.
    assert_eq!(ask(&mut batches), Poll::Ready(None));
    assert_eq!(ask(&mut batches), Poll::Ready(None));
}

#[test]
fn a_slow_consumer_builds_up_no_credit() {
    let time = VirtualClock::new();
    let mut batches = Pacer::new(1, PAUSE).clock(time.clock()).batches(0..);
    assert_eq!(ask(&mut batches), Poll::Ready(Some(vec![0])));
    time.advance(Duration::from_secs(7));
    assert_eq!(ask(&mut batches), Poll::Ready(Some(vec![1])));
    assert_eq!(ask(&mut batches), Poll::Pending);
    // Counted from 7 s, not from 6 s.
    time.advance(PAUSE - NANO);
    assert_eq!(ask(&mut batches), Poll::Pending);
    time.advance(NANO);
    assert_eq!(ask(&mut batches), Poll::Ready(Some(vec![2])));
}

#[test]
fn a_cancelled_wait_loses_no_item_and_begins_no_new_pause() {
    let time = VirtualClock::new();
    let mut batches = Pacer::new(2, PAUSE).clock(time.clock()).batches(0..4);
    assert_eq!(ask(&mut batches), Poll::Ready(Some(vec![0, 1])));
    for _ in 0..4 {
        assert_eq!(ask(&mut batches), Poll::Pending);
        time.advance(PAUSE / 4);
    }
    assert_eq!(ask(&mut batches), Poll::Ready(Some(vec![2, 3])));
}

#[test]
fn items_are_taken_when_they_are_handed_out() {
    let time = VirtualClock::new();
    let taken = Rc::new(Cell::new(0));
    let items = (0..6).inspect(|_| taken.set(taken.get() + 1));
    let mut batches = Pacer::new(3, PAUSE).clock(time.clock()).batches(items);
    assert_eq!(taken.get(), 0);
    assert!(ask(&mut batches).is_ready());
    assert_eq!(taken.get(), 3);
    assert!(ask(&mut batches).is_pending());
    assert_eq!(taken.get(), 4, "one, to see that there is a batch");
    time.advance(PAUSE);
    assert!(ask(&mut batches).is_ready());
    assert_eq!(taken.get(), 6);
}

#[test]
fn the_pause_begins_once_the_items_are_taken() {
    let time = VirtualClock::new();
    // Each item takes a second to make.
    let items = (0..4).inspect(|_| time.advance(Duration::from_secs(1)));
    let mut batches = Pacer::new(2, PAUSE).clock(time.clock()).batches(items);
    assert!(ask(&mut batches).is_ready());
    assert_eq!(time.now(), secs(2));
    assert!(ask(&mut batches).is_pending());
    assert_eq!(time.now(), secs(3));
    time.advance(Duration::from_secs(1) - NANO);
    assert!(ask(&mut batches).is_pending());
    time.advance(NANO);
    assert!(ask(&mut batches).is_ready());
}

#[test]
fn sizes_and_pauses_at_their_edges() {
    let time = VirtualClock::new();
    let batches = |size, pause, items| Pacer::new(size, pause).clock(time.clock()).batches(items);
    let mut none = batches(3, PAUSE, 0..0);
    assert_eq!(ask(&mut none), Poll::Ready(None));
    let mut zero = batches(0, Duration::ZERO, 0..2);
    assert_eq!(ask(&mut zero), Poll::Ready(Some(vec![0])));
    assert_eq!(ask(&mut zero), Poll::Ready(Some(vec![1])));
    assert_eq!(ask(&mut zero), Poll::Ready(None));
    let mut all = batches(usize::MAX, Duration::MAX, 0..3);
    assert_eq!(ask(&mut all), Poll::Ready(Some(vec![0, 1, 2])));
    assert_eq!(ask(&mut all), Poll::Ready(None));
    let mut whole = batches(2, PAUSE, 0..2);
    assert_eq!(ask(&mut whole), Poll::Ready(Some(vec![0, 1])));
    assert_eq!(ask(&mut whole), Poll::Ready(None));
    let mut forever = batches(1, Duration::MAX, 0..2);
    assert!(ask(&mut forever).is_ready());
    time.advance(Duration::from_secs(86_400 * 366 * 100));
    assert!(ask(&mut forever).is_pending());

    // An iterator that lies about its size.
    struct Liar(u8);
    impl Iterator for Liar {
        type Item = u8;
        fn next(&mut self) -> Option<u8> {
            self.0 = self.0.checked_sub(1)?;
            Some(self.0)
        }
        fn size_hint(&self) -> (usize, Option<usize>) {
            (usize::MAX, None)
        }
    }
    let mut lied = Pacer::new(usize::MAX, PAUSE).clock(time.clock()).batches(Liar(3));
    assert_eq!(ask(&mut lied), Poll::Ready(Some(vec![2, 1, 0])));
}

#[test]
fn an_iterator_that_has_ended_is_not_asked_again() {
    let time = VirtualClock::new();
    let mut calls = 0;
    let items = std::iter::from_fn(|| {
        calls += 1;
        (calls != 2).then_some(calls)
    });
    let mut batches = Pacer::new(5, Duration::ZERO).clock(time.clock()).batches(items);
    assert_eq!(ask(&mut batches), Poll::Ready(Some(vec![1])));
    assert_eq!(ask(&mut batches), Poll::Ready(None));
}

#[test]
fn size_hints_count_batches() {
    let time = VirtualClock::new();
    let pacer = Pacer::new(25, PAUSE).clock(time.clock());
    for (items, count) in [(0, 0), (1, 1), (25, 1), (26, 2), (100, 4)] {
        assert_eq!(pacer.batches(0..items).size_hint(), (count, Some(count)), "{items} items");
    }
    assert_eq!(pacer.batches((0..100).filter(|_| true)).size_hint(), (0, Some(4)));
    assert_eq!(pacer.batches(std::iter::repeat(0)).size_hint(), (usize::MAX.div_ceil(25), None));
    let mut batches = pacer.batches(0..51);
    assert!(ask(&mut batches).is_ready());
    assert_eq!(batches.size_hint(), (2, Some(2)));
    assert!(ask(&mut batches).is_pending());
    assert_eq!(batches.size_hint(), (2, Some(2)), "the item looked at counts");
}

#[test]
fn a_clock_without_a_timer_is_an_error_at_once() {
    let mut batches = Pacer::new(1, PAUSE).batches([1]);
    assert_eq!(poll(batches.next()), Poll::Ready(Err(NoTimer)));
    let mut batches = Pacer::new(1, PAUSE).clock(Clock::coarse()).batches([0; 0]);
    assert_eq!(poll(batches.next()), Poll::Ready(Err(NoTimer)));
    // Blocking needs none.
    let mut batches = Pacer::new(2, Duration::ZERO).batches([1, 2, 3]);
    assert_eq!(batches.next_blocking(), Ok(Some(vec![1, 2])));
    assert_eq!(batches.next_blocking(), Ok(Some(vec![3])));
    assert_eq!(batches.next_blocking(), Ok(None));
}

#[test]
fn a_blocked_thread_takes_its_batch_when_another_moves_the_time() {
    let time = VirtualClock::new();
    let clock = time.clock();
    let (handed, taken) = mpsc::channel();
    let thread = thread::spawn(move || {
        let mut batches = Pacer::new(25, PAUSE).clock(clock.clone()).batches(0..100);
        while let Ok(Some(batch)) = batches.next_blocking() {
            handed.send((clock.now(), batch.len())).unwrap();
        }
    });
    assert_eq!(taken.recv(), Ok((secs(0), 25)));
    for second in [2, 4, 6] {
        time.advance(PAUSE - NANO);
        time.advance(NANO);
        // Its stamp tells if it was handed out a nanosecond early.
        assert_eq!(taken.recv(), Ok((secs(second), 25)));
    }
    thread.join().unwrap();
    assert!(taken.recv().is_err());
}

/// The items of a batch and the slots with them.
type Leased = Vec<(i32, Lease)>;

fn ask_free<I: Iterator<Item = i32>>(batches: &mut BatchesWhenFree<'_, I>) -> Poll<Option<Leased>> {
    poll(batches.next()).map(|batch| batch.expect("slots can be waited for"))
}

fn items(batch: Poll<Option<Leased>>) -> (Vec<i32>, Vec<Lease>) {
    let Poll::Ready(Some(batch)) = batch else { panic!("{batch:?}") };
    batch.into_iter().unzip()
}

#[test]
fn a_batch_goes_as_soon_as_slots_are_free() {
    let time = VirtualClock::new();
    let slots = ConcurrencyLimiter::builder(4).clock(time.clock()).build();
    let pacer = Pacer::new(3, Duration::ZERO).clock(time.clock());
    let mut batches = pacer.batches_when_free(0..8, &slots);
    let (first, mut held) = items(ask_free(&mut batches));
    assert_eq!((first, held.len()), (vec![0, 1, 2], 3));
    let (second, more) = items(ask_free(&mut batches));
    assert_eq!((second, slots.usage().in_use), (vec![3], 4));
    held.extend(more);
    // Cancelled in line: neither an item nor a slot is lost.
    assert!(ask_free(&mut batches).is_pending());
    assert!(ask_free(&mut batches).is_pending());
    assert_eq!(slots.usage().waiting, 0);
    held.truncate(2);
    let (third, more) = items(ask_free(&mut batches));
    assert_eq!(third, [4, 5]);
    drop((held, more));
    let (last, held) = items(ask_free(&mut batches));
    // No slot is taken without an item.
    assert_eq!((last, slots.usage().in_use), (vec![6, 7], 2));
    assert!(matches!(ask_free(&mut batches), Poll::Ready(None)));
    drop(held);
    assert_eq!(slots.usage().in_use, 0);
}

#[test]
fn a_batch_with_slots_waits_for_its_pause_too() {
    let time = VirtualClock::new();
    let slots = ConcurrencyLimiter::builder(4).clock(time.clock()).build();
    let mut batches = Pacer::new(1, PAUSE).clock(time.clock()).batches_when_free(0..3, &slots);
    let _held = items(ask_free(&mut batches));
    time.advance(PAUSE - NANO);
    assert!(ask_free(&mut batches).is_pending());
    assert_eq!(slots.usage().in_use, 1, "a slot was held during the pause");
    time.advance(NANO);
    assert_eq!(items(ask_free(&mut batches)).0, [1]);
    assert!(ask_free(&mut batches).is_pending());
}

#[test]
fn slots_that_cannot_be_had_are_an_error_that_loses_no_item() {
    let time = VirtualClock::new();
    let slots = ConcurrencyLimiter::builder(0).clock(time.clock()).build();
    let pacer = Pacer::new(2, Duration::ZERO).clock(time.clock());
    let mut batches = pacer.batches_when_free([7], &slots);
    assert!(matches!(poll(batches.next()), Poll::Ready(Err(WaitError::Denied(_)))));
    assert!(matches!(batches.next_blocking(), Err(WaitError::Denied(_))));
    slots.resize(1);
    let batch = batches.next_blocking().unwrap().unwrap();
    assert_eq!(batch[0].0, 7);
    let mut batches = Pacer::new(2, Duration::ZERO).batches_when_free([7], &slots);
    assert!(matches!(poll(batches.next()), Poll::Ready(Err(WaitError::NoTimer))));
}

fn is_send<T: Send>(value: T) -> T {
    value
}

#[test]
fn a_wait_can_move_to_another_thread() {
    let time = VirtualClock::new();
    let mut batches = is_send(Pacer::new(1, PAUSE).clock(time.clock()).batches([1]));
    let next = Box::pin(is_send(batches.next()));
    assert_eq!(poll(next), Poll::Ready(Ok(Some(vec![1]))));
}

#[cfg(feature = "simulation")]
mod simulated {
    use super::*;
    use tollgate::InSimulation;
    use tollgate::simulation::Simulation;

    #[test]
    fn a_hundred_items_by_25_and_2_s() {
        let mut simulation = Simulation::new(0);
        let clock = simulation.clock();
        let task = simulation.spawn(async move {
            let mut batches = Pacer::new(25, PAUSE).clock(clock.clone()).batches(0..100);
            let mut handed = Vec::new();
            while let Some(batch) = batches.next().await? {
                handed.push((clock.now(), batch[0], batch.len()));
            }
            Ok::<_, NoTimer>((handed, clock.now()))
        });
        assert_eq!(simulation.run(), 0);
        let expected =
            vec![(secs(0), 0, 25), (secs(2), 25, 25), (secs(4), 50, 25), (secs(6), 75, 25)];
        assert_eq!(task.output(), Some(Ok((expected, secs(6)))));
    }

    #[test]
    fn work_in_slots_is_never_more_than_they_are() {
        let mut simulation = Simulation::new(0);
        let (clock, handle) = (simulation.clock(), simulation.handle());
        let task = simulation.spawn(async move {
            let slots = ConcurrencyLimiter::builder(10).clock(clock.clone()).build();
            let pacer = Pacer::new(4, Duration::ZERO).clock(clock.clone());
            let mut batches = pacer.batches_when_free(0..30, &slots);
            let mut handed = Vec::new();
            while let Some(batch) = batches.next().await? {
                assert!(slots.usage().in_use <= 10);
                handed.push((clock.now().as_nanos() / 1_000_000_000, batch.len()));
                // Each takes as many seconds as the batch has items.
                let (sleeper, length) = (handle.clone(), batch.len() as u64);
                handle.spawn(async move {
                    sleeper.sleep(Duration::from_secs(length)).await;
                    drop(batch);
                });
            }
            Ok::<_, WaitError>(handed)
        });
        assert_eq!(simulation.run(), 0);
        let at_4_s = [(4, 4), (4, 4), (4, 2)];
        let expected =
            [&[(0, 4), (0, 4), (0, 2), (2, 2)][..], &at_4_s, &[(6, 2), (8, 4), (8, 2)]].concat();
        assert_eq!(task.output().unwrap().unwrap(), expected);
    }

    #[test]
    fn a_blocking_call_is_an_error_and_takes_nothing() {
        let mut simulation = Simulation::new(0);
        let mut batches = Pacer::new(1, PAUSE).clock(simulation.clock()).batches([1]);
        let task = simulation.spawn(async move { (batches.next_blocking(), batches) });
        simulation.run();
        let (inside, mut batches) = task.output().unwrap();
        assert_eq!(inside, Err(InSimulation));
        assert_eq!(batches.next_blocking(), Ok(Some(vec![1])));
        // On any clock and even if there is nothing to wait for: what fails, fails always.
        let mut batches = Pacer::new(1, PAUSE).batches([0; 0]);
        let task = simulation.spawn(async move { batches.next_blocking() });
        simulation.run();
        assert_eq!(task.output(), Some(Err(InSimulation)));
    }
}

#[cfg(feature = "stream")]
mod streams {
    use super::*;
    use futures_util::stream::{self, Stream, StreamExt};
    use std::collections::VecDeque;

    /// Items that are there now; more may come.
    #[derive(Clone, Default)]
    struct Source(Rc<std::cell::RefCell<(VecDeque<u32>, bool)>>);

    impl Source {
        fn give(&self, items: impl IntoIterator<Item = u32>) {
            self.0.borrow_mut().0.extend(items);
        }
        fn end(&self) {
            self.0.borrow_mut().1 = true;
        }
        fn stream(&self) -> impl Stream<Item = u32> + use<> {
            let source = self.clone();
            stream::poll_fn(move |_| {
                let (items, ended) = &mut *source.0.borrow_mut();
                match items.pop_front() {
                    Some(item) => Poll::Ready(Some(item)),
                    None if *ended => Poll::Ready(None),
                    None => Poll::Pending,
                }
            })
        }
    }

    #[test]
    fn a_batch_waits_until_it_is_full_or_the_stream_has_ended() {
        let time = VirtualClock::new();
        let source = Source::default();
        let mut batches = Pacer::new(3, PAUSE).clock(time.clock()).stream(source.stream());
        source.give([1, 2]);
        assert_eq!(poll(batches.next()), Poll::Pending);
        time.advance(10 * PAUSE);
        assert_eq!(poll(batches.next()), Poll::Pending);
        assert_eq!(batches.size_hint(), (1, None));
        source.give([3, 4, 5, 6, 7]);
        assert_eq!(poll(batches.next()), Poll::Ready(Some(Ok(vec![1, 2, 3]))));
        assert_eq!(poll(batches.next()), Poll::Pending);
        time.advance(PAUSE - NANO);
        assert_eq!(poll(batches.next()), Poll::Pending);
        time.advance(NANO);
        assert_eq!(poll(batches.next()), Poll::Ready(Some(Ok(vec![4, 5, 6]))));
        time.advance(PAUSE);
        assert_eq!(poll(batches.next()), Poll::Pending);
        source.end();
        assert_eq!(poll(batches.next()), Poll::Ready(Some(Ok(vec![7]))));
        assert_eq!(poll(batches.next()), Poll::Ready(None));
        assert_eq!(poll(batches.next()), Poll::Ready(None));
    }

    #[test]
    fn items_gather_during_the_pause() {
        let time = VirtualClock::new();
        let source = Source::default();
        let mut batches = Pacer::new(2, PAUSE).clock(time.clock()).stream(source.stream());
        source.give([1, 2, 3]);
        assert_eq!(poll(batches.next()), Poll::Ready(Some(Ok(vec![1, 2]))));
        assert_eq!(poll(batches.next()), Poll::Pending);
        time.advance(PAUSE / 2);
        source.give([4]);
        assert_eq!(poll(batches.next()), Poll::Pending);
        time.advance(PAUSE / 2);
        assert_eq!(poll(batches.next()), Poll::Ready(Some(Ok(vec![3, 4]))));
    }

    #[test]
    fn size_hints_promise_at_most() {
        let time = VirtualClock::new();
        let pacer = Pacer::new(25, PAUSE).clock(time.clock());
        assert_eq!(pacer.stream(stream::iter(0..0)).size_hint(), (0, Some(0)));
        let mut batches = pacer.stream(stream::iter(0..51));
        assert_eq!(batches.size_hint(), (0, Some(3)));
        assert!(poll(batches.next()).is_ready());
        assert!(poll(batches.next()).is_pending());
        assert_eq!(batches.size_hint(), (1, Some(2)));
    }

    #[test]
    fn a_clock_without_a_timer_is_one_error_and_the_end() {
        let mut batches = Pacer::new(1, PAUSE).stream(stream::iter(0..3));
        assert_eq!(poll(batches.next()), Poll::Ready(Some(Err(NoTimer))));
        assert_eq!(batches.size_hint(), (0, Some(0)));
        assert_eq!(poll(batches.next()), Poll::Ready(None));
    }

    #[cfg(feature = "simulation")]
    #[test]
    fn a_slow_stream_in_a_simulation() {
        use tollgate::simulation::Simulation;
        let mut simulation = Simulation::new(0);
        let (clock, handle) = (simulation.clock(), simulation.handle());
        // One item each half second, ten of them.
        let items = stream::unfold(0, move |item| {
            let sleep = handle.sleep(Duration::from_millis(500));
            async move {
                sleep.await;
                (item < 10).then_some((item, item + 1))
            }
        });
        let task = simulation.spawn(async move {
            let mut batches = Pacer::new(3, PAUSE).clock(clock.clone()).stream(items);
            let mut handed = Vec::new();
            while let Some(Ok(batch)) = batches.next().await {
                handed.push((clock.now().as_nanos() / 1_000_000, batch.len()));
            }
            handed
        });
        assert_eq!(simulation.run(), 0);
        // Full at 1.5, 3 and 5 s and ended at 6.5 s, all but the first within a pause.
        assert_eq!(task.output(), Some(vec![(1_500, 3), (3_500, 3), (5_500, 3), (7_500, 1)]));
    }
}
