//! A model of how a table is published, cached by readers and retired, in every order that threads may run in (loom).
//!
//! What is modelled: the protocol of routing-cache's live.rs and updater. One writer swaps the cell and keeps what stood
//! there until nobody else holds it, as long as its list has room; each reader keeps the table that it saw last, and looks
//! with a relaxed load of the address whether that is still the one. Addresses are used again once a table is freed, as an
//! allocator does.
//!
//! What is taken for granted: `arc_swap` itself, whose swap and load are single steps here (a lock), as its documentation
//! promises. Its own algorithm is not under test.
//!
//! The last tests run protocols that are wrong, and must be caught: else the model would prove nothing.

use std::sync::{Arc as StdArc, Mutex as StdMutex};

use loom::{
    model::Builder,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    thread,
};

/// Who dropped which table last.
type Drops = StdArc<StdMutex<Vec<(usize, Who)>>>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    Writer,
    Reader,
}

/// Addresses, the lowest free one first. Its lock is not modelled: an allocator orders nothing between threads.
#[derive(Clone, Default)]
struct Memory(StdArc<StdMutex<Vec<bool>>>);

impl Memory {
    fn take(&self) -> usize {
        let mut taken = self.0.lock().unwrap();
        let address = taken.iter().position(|taken| !taken).unwrap_or(taken.len());
        if address == taken.len() {
            taken.push(true)
        } else {
            taken[address] = true
        }
        address
    }

    fn give_back(&self, address: usize) {
        self.0.lock().unwrap()[address] = false;
    }
}

/// A table: two parts that belong together, written before it is published, in the weakest order there is.
struct Table {
    parts: [AtomicUsize; 2],
    number: usize,
    address: usize,
    memory: Memory,
    drops: Drops,
    writer: thread::ThreadId,
}

impl Table {
    fn number(&self) -> usize {
        let [one, other] = self.parts.each_ref().map(|part| part.load(Relaxed));
        assert_eq!((one, other), (self.number, self.number), "a torn table");
        one
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        let who = if thread::current().id() == self.writer { Who::Writer } else { Who::Reader };
        self.drops.lock().unwrap().push((self.number, who));
        self.memory.give_back(self.address);
    }
}

/// The one cell.
struct Cell {
    address: AtomicUsize,
    table: Mutex<Arc<Table>>,
}

impl Cell {
    fn swap(&self, next: Arc<Table>) -> Arc<Table> {
        let mut table = self.table.lock().unwrap();
        self.address.store(next.address, Relaxed);
        std::mem::replace(&mut table, next)
    }

    fn load(&self) -> Arc<Table> {
        Arc::clone(&self.table.lock().unwrap())
    }
}

/// A `CachedReader`.
struct Reader {
    cell: Arc<Cell>,
    cached: Arc<Table>,
}

impl Reader {
    fn load(&mut self) -> &Table {
        if self.cached.address != self.cell.address.load(Relaxed) {
            self.cached = self.cell.load();
        }
        &self.cached
    }
}

/// The updater's end.
struct Writer {
    cell: Arc<Cell>,
    retired: Vec<Arc<Table>>,
    room: usize,
    memory: Memory,
    drops: Drops,
}

impl Writer {
    fn new(room: usize) -> Self {
        let (memory, drops) = (Memory::default(), Drops::default());
        let first = Arc::new(table(0, &memory, &drops));
        let cell = Cell { address: AtomicUsize::new(first.address), table: Mutex::new(first) };
        Self { cell: Arc::new(cell), retired: Vec::new(), room, memory, drops }
    }

    fn reader(&self) -> Reader {
        Reader { cell: Arc::clone(&self.cell), cached: self.cell.load() }
    }

    fn publish(&mut self, number: usize) {
        let next = table(number, &self.memory, &self.drops);
        let old = self.cell.swap(Arc::new(next));
        self.retired.push(old);
        self.tick();
    }

    /// `drop_retired`: lets go of the oldest where there are too many, and of what nobody else holds.
    fn tick(&mut self) {
        let too_many = self.retired.len().saturating_sub(self.room);
        self.retired.drain(..too_many);
        self.retired.retain(|table| Arc::strong_count(table) > 1);
    }
}

fn table(number: usize, memory: &Memory, drops: &Drops) -> Table {
    let table = Table {
        parts: [AtomicUsize::new(0), AtomicUsize::new(0)],
        number,
        address: memory.take(),
        memory: memory.clone(),
        drops: StdArc::clone(drops),
        writer: thread::current().id(),
    };
    table.parts.iter().for_each(|part| part.store(number, Relaxed));
    table
}

/// Every order of steps, but for those that need more than `switches` forced changes between threads.
fn explore(switches: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound = Some(switches);
    builder.check(model);
}

/// Loads a few times: whole tables, and never one older than the last.
fn read(mut reader: Reader, loads: usize) {
    let mut last = 0;
    for _ in 0..loads {
        let number = reader.load().number();
        assert!(number >= last, "{number} after {last}");
        last = number;
    }
}

/// A writer that publishes `tables` with a tick after each, and readers beside it.
fn run(room: usize, readers: usize, tables: usize) -> Vec<(usize, Who)> {
    let mut writer = Writer::new(room);
    let threads: Vec<_> = (0..readers)
        .map(|_| {
            let reader = writer.reader();
            thread::spawn(move || read(reader, 2))
        })
        .collect();
    for number in 1..=tables {
        writer.publish(number);
        writer.tick();
    }
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    writer.tick();
    let drops = StdArc::clone(&writer.drops);
    assert!(writer.retired.is_empty(), "nobody holds them any more");
    let dropped = drops.lock().unwrap().clone();
    let mut numbers: Vec<_> = dropped.iter().map(|(number, _)| *number).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..tables).collect::<Vec<_>>(), "all but the last one are gone, each once");
    dropped
}

#[test]
fn readers_see_whole_tables_that_never_go_back_and_free_none_while_there_is_room() {
    explore(3, || {
        let dropped = run(2, 2, 2);
        assert!(dropped.iter().all(|(_, who)| *who == Who::Writer), "{dropped:?}");
    });
}

#[test]
fn one_reader_sees_every_order_of_three_tables() {
    explore(5, || {
        let dropped = run(3, 1, 3);
        assert!(dropped.iter().all(|(_, who)| *who == Who::Writer), "{dropped:?}");
    });
}

#[test]
fn without_room_a_reader_may_free_a_table_but_sees_nothing_else_than_before() {
    explore(3, || drop(run(0, 1, 2)));
}

#[test]
#[should_panic(expected = "Reader")]
fn the_model_shows_a_reader_that_frees_a_table_where_there_is_no_room() {
    explore(3, || {
        let dropped = run(0, 1, 2);
        assert!(dropped.iter().all(|(_, who)| *who == Who::Writer), "{dropped:?}");
    });
}

/// A reader that remembers an address and does not hold the table takes a new table at that address for the one it knows.
#[test]
#[should_panic(expected = "an address that was used again")]
fn the_model_shows_that_a_reader_has_to_hold_what_it_caches() {
    explore(3, || {
        let mut writer = Writer::new(0);
        let Reader { cell, cached } = writer.reader();
        let (address, known) = (cached.address, cached.number());
        drop(cached);
        let reader = thread::spawn(move || {
            if cell.address.load(Relaxed) == address {
                assert_eq!(cell.load().number(), known, "an address that was used again");
            }
        });
        for number in 1..=2 {
            writer.publish(number);
            writer.tick();
        }
        reader.join().unwrap();
    });
}

/// Parts that are written after the table was published are seen torn, or not at all.
#[test]
#[should_panic(expected = "a torn table")]
fn the_model_shows_a_table_that_is_changed_after_it_was_published() {
    explore(3, || {
        let writer = Writer::new(2);
        let reader = writer.reader();
        let thread = thread::spawn(move || read(reader, 2));
        let mut next = table(1, &writer.memory, &writer.drops);
        next.parts = [AtomicUsize::new(0), AtomicUsize::new(0)];
        let (next, old) = (Arc::new(next), writer.cell.load());
        drop(writer.cell.swap(Arc::clone(&next)));
        next.parts.iter().for_each(|part| part.store(1, Relaxed));
        thread.join().unwrap();
        drop(old);
    });
}
