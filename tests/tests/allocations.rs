//! In steady state appends and reads do not allocate, and an open region keeps little for each of its segments: counted
//! by the allocator of this program.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, PoisonError};

use walstone::{Batch, Durability, Options, Region, Wal};

struct Counting;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

/// Bytes that are allocated now, by all threads.
static LIVE: AtomicI64 = AtomicI64::new(0);

/// What is alive is counted for the whole program, so one test runs at a time.
static ALONE: Mutex<()> = Mutex::new(());

fn count(more: usize, less: usize) {
    // A thread that ends has no counter any more.
    let _ = COUNT.try_with(|count| count.set(count.get() + 1));
    live(more, less);
}

fn live(more: usize, less: usize) {
    LIVE.fetch_add(more as i64 - less as i64, Ordering::Relaxed);
}

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 0);
        // SAFETY: the caller keeps the promises of this very function.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        live(0, layout.size());
        // SAFETY: the pointer came from `System` with this layout.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_len: usize) -> *mut u8 {
        count(new_len, layout.size());
        // SAFETY: the pointer came from `System` with this layout; the rest is the caller's promise.
        unsafe { System.realloc(pointer, layout, new_len) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Allocations of this thread during `body`.
fn allocations(body: impl FnOnce()) -> u64 {
    let before = COUNT.with(Cell::get);
    body();
    COUNT.with(Cell::get) - before
}

#[test]
fn steady_appends_and_reads_allocate_nothing() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    assert_eq!(
        allocations(|| drop(std::hint::black_box(Box::new(1)))),
        1,
        "the counter counts"
    );
    let dir = tempfile::tempdir().unwrap();
    let options = Options::builder().segment_len(8 << 20).build().unwrap();
    let wal = Wal::open(dir.path(), options).unwrap();
    let region = wal.create_region(7).unwrap();
    let value = [7; 256];
    let mut batch = Batch::new();
    for table in 0..8 {
        batch.push(table, &value);
    }
    let append = |count| {
        for _ in 0..count {
            region.append_with(3, &value, Durability::Written).unwrap();
            region.append_batch_with(&batch, Durability::Written).unwrap();
        }
    };
    // The first round meets each table for the first time and claims the first space.
    append(50);
    assert_eq!(allocations(|| append(1000)), 0, "written appends");
    let durable = || {
        for _ in 0..50 {
            region.append(3, &value).unwrap();
        }
    };
    durable();
    assert_eq!(allocations(durable), 0, "durable appends");
    let rebuilt = allocations(|| {
        batch.clear();
        for table in 0..8 {
            batch.push(table, &value);
        }
    });
    assert_eq!(rebuilt, 0, "a batch that is used again");

    let view = region.view().unwrap();
    let mut seen = 0;
    let mut read = || {
        seen = view.scan().map(|record| record.unwrap().value.len()).sum::<usize>();
        seen += view.read(3, 100..).count();
    };
    read();
    assert_eq!(allocations(&mut read), 0, "records");
    assert!(seen > 2_000_000);
    let last = region.last_sequence();
    let one = || assert!(view.get(3, last).unwrap().is_some());
    one();
    assert_eq!(allocations(one), 0, "one record");
}

/// What an open region may keep for each of its segments, in bytes.
const PER_SEGMENT: f64 = 64.0;

/// Long enough for a manifest that lists all the segments of the test.
const SEGMENT_LEN: u32 = 256 << 10;

/// Appends records of which one fits a segment, until there is one in each of so many.
fn grow(region: &Region, segments: u64) {
    let value = vec![7; SEGMENT_LEN as usize / 2];
    while region.last_sequence() < segments {
        region.append_with(3, &value, Durability::Written).unwrap();
    }
    region.sync().unwrap();
}

fn read_all(region: &Region) -> u64 {
    let view = region.view().unwrap();
    view.scan().filter(|record| record.is_ok()).count() as u64
}

/// A handle on a closed segment is some hundred bytes; once one was kept for each segment ever met.
#[test]
fn an_open_region_keeps_little_for_each_segment() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    // Every segment is made durable, and it is not the device that is tested.
    let shm = Path::new("/dev/shm");
    let dir = if shm.is_dir() {
        tempfile::tempdir_in(shm).unwrap()
    } else {
        tempfile::tempdir().unwrap()
    };
    let path = dir.path().join("wal");
    let options = || Options::builder().segment_len(SEGMENT_LEN).max_open_segments(4);
    let options = || options().build().unwrap();
    drop(Wal::open(&path, options()).unwrap().create_region(7).unwrap());

    // Each figure is what there is more than before the log was opened.
    let at = |segments: u64| {
        let before = LIVE.load(Ordering::Relaxed);
        let more = || LIVE.load(Ordering::Relaxed) - before;
        let wal = Wal::open(&path, options()).unwrap();
        let region = wal.region(7).unwrap();
        grow(&region, segments);
        let written = more();
        assert_eq!(read_all(&region), segments);
        let written_and_read = more();
        wal.close().unwrap();
        drop((region, wal));

        let wal = Wal::open(&path, options()).unwrap();
        let opened = more();
        let region = wal.region(7).unwrap();
        assert_eq!(read_all(&region), segments);
        let read = more();
        wal.close().unwrap();
        [written, written_and_read, opened, read]
    };
    let (few, many) = (200, 1600);
    let (less, more) = (at(few), at(many));
    let each = less
        .iter()
        .zip(more)
        .map(|(less, more)| (more - less) as f64 / (many - few) as f64);
    for (what, each) in ["written", "written and read", "opened", "read"].iter().zip(each) {
        println!("{what}: {each:.1} bytes for each segment");
        assert!(each <= PER_SEGMENT, "{what}: {each} bytes");
    }
}
