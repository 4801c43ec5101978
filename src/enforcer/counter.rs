//! Counts that many threads raise, each in cells that only it writes.
//!
//! A thread has one block of cells for all counters, in chunks that it makes when it first counts
//! there, so that an add is a load and a store with no locked instruction. A chunk lists the blocks of
//! the threads that are alive. When a thread ends its cells are added to the rest, which is what
//! nobody's cells hold, and its block is freed. A sum is made under the same lock, and so sees either
//! the cells or what they added, never both. A thread that is being torn down and has no cells any more
//! adds to the rest at once.

use std::cell::OnceCell;

use crate::sync::{Arc, AtomicU64, CachePadded, Mutex, Ordering, global, mutant, per_thread};

/// Counts of one cache line, and lines of the first chunk. Each further chunk has twice as many.
const LINE: usize = if cfg!(tollgate_loom) { 8 } else { 16 };
const LINES: usize = if cfg!(tollgate_loom) { 1 } else { 4 };

/// More chunks than memory has room for.
const CHUNKS: usize = 32;

type CounterLine = CachePadded<[AtomicU64; LINE]>;

pub(crate) struct Counter {
    chunk: Arc<CounterChunk>,
    /// The place of the chunk, and of its cell there.
    number: usize,
    at: usize,
}

/// Cells of as many counters: those of each thread that counted here and is alive, and the rest.
struct CounterChunk {
    number: usize,
    rest: Box<[AtomicU64]>,
    blocks: Mutex<Vec<Arc<[CounterLine]>>>,
}

/// The places of counters.
#[derive(Default)]
struct Places {
    chunks: Vec<Arc<CounterChunk>>,
    /// Places of the last chunk that were given out.
    given: usize,
    /// Places of counters that are gone.
    free: Vec<(usize, usize)>,
}

global! {
    static PLACES: Mutex<Places> = Mutex::new(Places::default());
}

per_thread! {
    static CELLS: ThreadCells = const { ThreadCells([const { OnceCell::new() }; CHUNKS]) };
}

/// The cells of one thread.
struct ThreadCells([OnceCell<Block>; CHUNKS]);

/// Those in one chunk. Dropped when the thread ends.
struct Block {
    lines: Arc<[CounterLine]>,
    chunk: Arc<CounterChunk>,
}

impl Counter {
    #[inline]
    pub(crate) fn add(&self, by: u64) {
        add_each([].into_iter(), self, by);
    }

    /// The first count of a thread in the chunk, or one of a thread that is being torn down.
    #[cold]
    fn add_first(&self, by: u64) {
        let is_counted = CELLS.try_with(|cells| {
            if let Some(place) = cells.0.get(self.number) {
                // If it is there by now this one is dropped, and with it nothing.
                let _ = place.set(Block::new(&self.chunk));
            }
            cells.find(self).map(|cell| raise(cell, by)).is_some()
        });
        if !is_counted.unwrap_or(false) {
            // Relaxed: a count orders nothing.
            self.rest().fetch_add(by, Ordering::Relaxed);
        }
    }

    /// About how much was counted: on this thread, and on those that are gone.
    pub(crate) fn of_thread(&self) -> u64 {
        // Relaxed: as in `add_first`.
        let own = CELLS.try_with(|cells| cells.find(self).map(|cell| cell.load(Ordering::Relaxed)));
        self.rest().load(Ordering::Relaxed) + own.ok().flatten().unwrap_or(0)
    }

    /// Everything that was counted. Of two sums the later one is not smaller.
    pub(crate) fn sum(&self) -> u64 {
        // Held, so that no thread ends meanwhile.
        let blocks = self.chunk.blocks.lock();
        let cells = blocks.iter().filter_map(|lines| cell(lines, self.at));
        // Relaxed: a thread sees each cell only grow, and the lock orders any two sums, so that it is
        // true of both together. What a thread added as it ended is seen, since it held the lock.
        let counted: u64 = cells.map(|cell| cell.load(Ordering::Relaxed)).sum();
        counted + self.rest().load(Ordering::Relaxed)
    }

    fn rest(&self) -> &AtomicU64 {
        &self.chunk.rest[self.at]
    }
}

/// Adds to several counters at once.
#[inline(always)]
pub(crate) fn add_each<'c>(
    mut counters: impl Iterator<Item = &'c Counter>,
    last: &'c Counter,
    by: u64,
) {
    let is_counted = CELLS.try_with(|cells| {
        for counter in &mut counters {
            cells.add(counter, by);
        }
        cells.add(last, by);
    });
    if is_counted.is_err() {
        // The thread is being torn down.
        counters.chain([last]).for_each(|counter| counter.add_first(by));
    }
}

/// Raises a cell of this thread.
#[inline(always)]
fn raise(cell: &AtomicU64, by: u64) {
    // Relaxed, and no read-modify-write: no other thread writes here while the counter is there.
    cell.store(cell.load(Ordering::Relaxed).wrapping_add(by), Ordering::Relaxed);
}

#[inline(always)]
fn cell(lines: &[CounterLine], at: usize) -> Option<&AtomicU64> {
    lines.get(at / LINE)?.get(at % LINE)
}

impl ThreadCells {
    #[inline(always)]
    fn add(&self, counter: &Counter, by: u64) {
        match self.find(counter) {
            Some(cell) => raise(cell, by),
            None => counter.add_first(by),
        }
    }

    #[inline(always)]
    fn find(&self, counter: &Counter) -> Option<&AtomicU64> {
        cell(&self.0.get(counter.number)?.get()?.lines, counter.at)
    }
}

impl CounterChunk {
    fn new(number: usize) -> CounterChunk {
        let counters = (LINES * LINE) << number;
        CounterChunk {
            number,
            rest: (0..counters).map(|_| AtomicU64::default()).collect(),
            blocks: Mutex::default(),
        }
    }
}

impl Block {
    fn new(chunk: &Arc<CounterChunk>) -> Block {
        let lines: Arc<[CounterLine]> =
            (0..LINES << chunk.number).map(|_| CounterLine::default()).collect();
        chunk.blocks.lock().push(lines.clone());
        Block { lines, chunk: chunk.clone() }
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        let mut blocks = self.chunk.blocks.lock();
        let cells = self.lines.iter().flat_map(|line| line.iter());
        for (cell, rest) in cells.zip(&self.chunk.rest) {
            // Relaxed: this thread wrote the cell, and the next sum comes after this lock.
            match cell.load(Ordering::Relaxed) {
                0 => {}
                count => {
                    rest.fetch_add(count, Ordering::Relaxed);
                }
            }
        }
        if mutant("fold_unlocked") {
            drop(blocks);
            blocks = self.chunk.blocks.lock();
        }
        if let Some(place) = blocks.iter().position(|lines| Arc::ptr_eq(lines, &self.lines)) {
            blocks.swap_remove(place);
        }
    }
}

impl Default for Counter {
    fn default() -> Self {
        let mut places = PLACES.lock();
        let (number, at) = places.next();
        Counter { chunk: places.chunks[number].clone(), number, at }
    }
}

impl Places {
    fn next(&mut self) -> (usize, usize) {
        if let Some(free) = self.free.pop() {
            return free;
        }
        let last = self.chunks.last().map(|chunk| (chunk.number, chunk.rest.len()));
        let number = match last {
            Some((number, counters)) if self.given < counters => number,
            _ => {
                let number = self.chunks.len();
                self.chunks.push(Arc::new(CounterChunk::new(number)));
                self.given = 0;
                number
            }
        };
        self.given += 1;
        (number, self.given - 1)
    }
}

impl Drop for Counter {
    fn drop(&mut self) {
        // Relaxed: nobody counts here any more. Each add was before the last owner let go, and the
        // next counter has its place from the list below, behind a lock.
        let blocks = self.chunk.blocks.lock();
        for cell in blocks.iter().filter_map(|lines| cell(lines, self.at)) {
            cell.store(0, Ordering::Relaxed);
        }
        self.rest().store(0, Ordering::Relaxed);
        drop(blocks);
        PLACES.lock().free.push((self.number, self.at));
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::thread;

    use super::*;
    use crate::sync::AtomicBool;

    #[test]
    fn threads_that_end_leave_their_counts_and_nothing_else() {
        const THREADS: u64 = 10_000;
        let counter = Arc::new(Counter::default());
        let is_over = Arc::new(AtomicBool::new(false));
        let scrape = thread::spawn({
            let (counter, is_over) = (counter.clone(), is_over.clone());
            move || {
                let mut last = 0;
                while !is_over.load(Ordering::Relaxed) {
                    let sum = counter.sum();
                    assert!((last..=2 * THREADS).contains(&sum), "{sum} after {last}");
                    last = sum;
                }
            }
        });
        for _ in 0..THREADS / 20 {
            let threads = [(); 20].map(|()| {
                let counter = counter.clone();
                thread::spawn(move || {
                    counter.add(1);
                    counter.add(1);
                })
            });
            threads.into_iter().for_each(|thread| thread.join().unwrap());
        }
        is_over.store(true, Ordering::Relaxed);
        scrape.join().unwrap();
        assert_eq!(counter.sum(), 2 * THREADS);
        assert_eq!(counter.of_thread(), 2 * THREADS);
        // Those of other tests are alive.
        let blocks = counter.chunk.blocks.lock().len();
        assert!(blocks < 1_000, "{blocks} blocks are left");
    }

    #[test]
    fn a_thread_counts_while_it_is_torn_down() {
        struct Limiter(Arc<Counter>);
        impl Drop for Limiter {
            fn drop(&mut self) {
                self.0.add(1);
            }
        }
        std::thread_local!(static LAST: RefCell<Option<Limiter>> = const { RefCell::new(None) });
        let counter = Arc::new(Counter::default());
        // Of the two one is dropped after the thread's cells, whichever order that is in.
        for counts_first in [true, false] {
            let counter = counter.clone();
            let counts = thread::spawn(move || {
                if counts_first {
                    counter.add(1);
                }
                LAST.with(|last| *last.borrow_mut() = Some(Limiter(counter.clone())));
                counter.add(if counts_first { 1 } else { 2 });
            });
            counts.join().unwrap();
        }
        assert_eq!(counter.sum(), 6);
    }

    #[test]
    fn a_counter_starts_at_zero_where_another_was() {
        for round in 0..100_000 {
            let counter = Counter::default();
            assert_eq!((counter.sum(), counter.of_thread()), (0, 0));
            counter.add(1);
            if round % 100 == 0 {
                thread::scope(|scope| {
                    scope.spawn(|| counter.add(2));
                });
                assert_eq!(counter.sum(), 3);
            }
        }
        // Of other tests there are not half as many at once.
        let places: usize = PLACES.lock().chunks.iter().map(|chunk| chunk.rest.len()).sum();
        assert!(places < 50_000, "places of counters that are gone are not given out again");
    }

    #[test]
    fn many_counters_are_told_apart() {
        let counters: Vec<Counter> = (0..5_000).map(|_| Counter::default()).collect();
        let count = || (0..).zip(&counters).for_each(|(count, counter)| counter.add(count));
        count();
        thread::scope(|scope| {
            scope.spawn(count);
        });
        assert!((0..).zip(&counters).all(|(count, counter)| counter.sum() == 2 * count));
    }
}
