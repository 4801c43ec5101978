//! [`Counter`]: a count that many threads raise, each in a cell that only this thread writes. An
//! add is a load and a store, without a locked instruction. What the limits count is in
//! `limit_counters`.

use std::cell::OnceCell;

use crate::sync::{Arc, AtomicU64, CachePadded, Mutex, Ordering, global, per_thread};

/// The number of cells in a line, and of lines in a thread's block of the first chunk. The latter
/// doubles with each chunk.
const LINE: usize = if cfg!(tollgate_loom) { 8 } else { 16 };
const LINES: usize = if cfg!(tollgate_loom) { 1 } else { 4 };

/// An upper bound: memory does not have room for this many chunks.
const CHUNKS: usize = 32;

type CounterLine = CachePadded<[AtomicU64; LINE]>;

pub(crate) struct Counter {
    chunk: Arc<CounterChunk>,
    /// The number of the chunk, and the place of the counter's cell in it.
    number: usize,
    at: usize,
}

/// The cells of some counters: one block for each live thread that has counted here, and `rest`,
/// which holds everything that is in no block. When a thread ends, it adds its cells to `rest` and
/// removes its block, under the lock of `blocks`. A sum takes the same lock, so it counts each cell
/// exactly once. A thread that is being torn down and has lost its cells adds to `rest` directly.
struct CounterChunk {
    number: usize,
    rest: Box<[AtomicU64]>,
    blocks: Mutex<Vec<Arc<[CounterLine]>>>,
}

/// The places of all counters.
#[derive(Default)]
struct Places {
    chunks: Vec<Arc<CounterChunk>>,
    /// How many places of the last chunk are in use or in `free`.
    given: usize,
    /// Places of counters that were dropped.
    free: Vec<(usize, usize)>,
}

global! {
    static PLACES: Mutex<Places> = Mutex::new(Places::default());
}

per_thread! {
    static CELLS: ThreadCells = const { ThreadCells([const { OnceCell::new() }; CHUNKS]) };
}

/// The cells of one thread: a block for each chunk, made when the thread first counts there.
struct ThreadCells([OnceCell<Block>; CHUNKS]);

/// The cells of one thread in one chunk. Dropped when the thread ends.
struct Block {
    lines: Arc<[CounterLine]>,
    chunk: Arc<CounterChunk>,
}

impl Counter {
    #[inline]
    pub(crate) fn add(&self, by: u64) {
        add_each([].into_iter(), self, by);
    }

    /// Adds when the thread has no cell: for the first time in the chunk, or while it is torn down.
    #[cold]
    fn add_first(&self, by: u64) {
        let is_counted = CELLS.try_with(|cells| {
            if let Some(place) = cells.0.get(self.number) {
                // If a block is there by now, the new one is dropped; all its cells are 0.
                let _ = place.set(Block::new(&self.chunk));
            }
            cells.find(self).map(|cell| raise(cell, by)).is_some()
        });
        if !is_counted.unwrap_or(false) {
            // Relaxed: a count; no other data is published with it.
            self.rest().fetch_add(by, Ordering::Relaxed);
        }
    }

    /// About how much this thread and threads that ended have counted.
    pub(crate) fn of_thread(&self) -> u64 {
        // Relaxed: as in `add_first`.
        let own = CELLS.try_with(|cells| cells.find(self).map(|cell| cell.load(Ordering::Relaxed)));
        self.rest().load(Ordering::Relaxed) + own.ok().flatten().unwrap_or(0)
    }

    /// The total. Of two sums, the later one is not smaller.
    pub(crate) fn sum(&self) -> u64 {
        // The lock keeps threads from ending meanwhile.
        let blocks = self.chunk.blocks.lock();
        let cells = blocks.iter().filter_map(|lines| cell(lines, self.at));
        // Relaxed: each cell only grows, and the lock orders any two sums, so coherence of each
        // cell makes the later sum at least as large. The adds of a thread that ended are visible,
        // since it made them in `Block::drop` under the same lock.
        let counted: u64 = cells.map(|cell| cell.load(Ordering::Relaxed)).sum();
        counted + self.rest().load(Ordering::Relaxed)
    }

    fn rest(&self) -> &AtomicU64 {
        &self.chunk.rest[self.at]
    }
}

/// Adds `by` to each of `counters` and to `last`, with one access to the thread-local `CELLS` if the
/// thread has counted there before.
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

/// Raises a cell of the current thread.
#[inline(always)]
fn raise(cell: &AtomicU64, by: u64) {
    // Relaxed, and not a read-modify-write: only this thread writes the cell while the counter
    // exists.
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
            // Relaxed: this thread wrote the cell itself, and the next `sum` reads `rest` after it
            // took the lock that is held here.
            match cell.load(Ordering::Relaxed) {
                0 => {}
                count => {
                    rest.fetch_add(count, Ordering::Relaxed);
                }
            }
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
        // Relaxed: no thread adds any more, since every add came before the last owner dropped the
        // counter. The next counter gets this place from `PLACES`, whose lock makes these stores
        // visible to it.
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
        // Threads of other tests may be alive.
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
        // The thread's cells and `LAST` are dropped in either order. One of the two cases counts
        // after the cells are gone.
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
        // Other tests have fewer than half as many counters at the same time.
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
