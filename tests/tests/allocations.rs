//! In steady state appends and reads do not allocate: counted by the allocator of this program, on the thread that
//! appends and reads.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use walstone::{Batch, Durability, Options, Wal};

struct Counting;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

fn count() {
    // A thread that ends has no counter any more.
    let _ = COUNT.try_with(|count| count.set(count.get() + 1));
}

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the promises of this very function.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the pointer came from `System` with this layout.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_len: usize) -> *mut u8 {
        count();
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
