//! Background syncs of written records, by count, bytes and time.

use std::num::{NonZeroU32, NonZeroU64};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use walstone::{BackgroundSync, Clock, Durability, Region, Wal};

use crate::root::{Root, value};

/// A clock that moves when it is told.
#[derive(Debug, Default)]
struct Hand(AtomicU64);

impl Hand {
    fn advance(&self, by: Duration) {
        self.0.fetch_add(by.as_nanos() as u64, Ordering::SeqCst);
    }
}

impl Clock for Hand {
    fn now(&self) -> Duration {
        Duration::from_nanos(self.0.load(Ordering::SeqCst))
    }
}

/// A region under this policy that has begun to write and has nothing unsynced.
fn open(root: &Root, policy: BackgroundSync, clock: &Arc<Hand>) -> (Wal, Region) {
    let options = root.options().segment_len(64 << 10).durability(Durability::Written);
    let wal = root
        .open_with(options.background_sync(policy).clock(clock.clone()))
        .unwrap();
    let region = wal.create_region(7).unwrap();
    region.append(1, b"begin").unwrap();
    region.sync().unwrap();
    root.watch.wait_quiet();
    (wal, region)
}

fn write(region: &Region) {
    region.append(1, &value(0, 100)).unwrap();
}

/// Waits for what the background thread does behind a sync that was seen to begin.
fn wait_until(holds: impl Fn() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(60), "it never comes");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn never_means_never() {
    let (root, clock) = (Root::new(), Arc::default());
    let (wal, region) = open(&root, BackgroundSync::Never, &clock);
    let before = root.watch.syncs_of("seg_");
    for _ in 0..100 {
        write(&region);
        clock.advance(Duration::from_secs(1));
        wal.tick();
    }
    root.watch.wait_quiet();
    assert_eq!(root.watch.syncs_of("seg_"), before);
    assert_eq!(region.durable_through(), 1);
}

#[test]
fn every_nth_write_is_followed_by_a_sync() {
    let (root, clock) = (Root::new(), Arc::default());
    let policy = BackgroundSync::Writes(NonZeroU32::new(10).unwrap());
    let (_wal, region) = open(&root, policy, &clock);
    let before = root.watch.syncs();
    for group in 1..=4 {
        for _ in 0..9 {
            write(&region);
        }
        root.watch.wait_quiet();
        assert_eq!(root.watch.syncs(), before + group - 1);
        write(&region);
        root.watch.wait_syncs(before + group);
        wait_until(|| region.durable_through() == 1 + 10 * group as u64);
    }
}

/// The first record after a sync counts too.
#[test]
fn so_many_bytes_are_followed_by_a_sync() {
    let (root, clock) = (Root::new(), Arc::default());
    let policy = BackgroundSync::Bytes(NonZeroU64::new(1000).unwrap());
    let (_wal, region) = open(&root, policy, &clock);
    let before = root.watch.syncs();
    // A frame of a hundred bytes takes some 130; eight of them are more than a thousand.
    for group in 1..=3 {
        for _ in 0..7 {
            write(&region);
        }
        root.watch.wait_quiet();
        assert_eq!(root.watch.syncs(), before + group - 1);
        write(&region);
        root.watch.wait_syncs(before + group);
        wait_until(|| region.durable_through() == 1 + 8 * group as u64);
    }
    region.append(1, &value(0, 2000)).unwrap();
    root.watch.wait_syncs(before + 4);
}

#[test]
fn an_interval_is_followed_by_a_sync_and_idleness_by_none() {
    let (root, clock) = (Root::new(), Arc::default());
    let policy = BackgroundSync::Interval(Duration::from_secs(3600));
    let (wal, region) = open(&root, policy, &clock);
    let before = root.watch.syncs();
    let tick = |by| {
        clock.advance(Duration::from_secs(by));
        wal.tick();
        root.watch.syncs() - before
    };
    assert_eq!(tick(0), 0);
    write(&region);
    assert_eq!(tick(3599), 0);
    write(&region);
    assert_eq!(tick(1), 1, "from the first write on");
    assert_eq!(region.durable_through(), 3);
    assert_eq!(tick(7200), 1, "nothing to sync");
    write(&region);
    assert_eq!(tick(3599), 1);
    // Somebody else syncs: the interval begins anew with the next write.
    region.sync().unwrap();
    write(&region);
    assert_eq!(tick(3599), 2);
    assert_eq!(tick(1), 3);
    assert_eq!(region.durable_through(), 5);
}

/// Written and durable appends take turns: the region is watched once, not once more for each.
#[test]
fn the_background_thread_keeps_the_interval_by_itself() {
    let root = Root::new();
    let options = root.options().segment_len(64 << 10).durability(Durability::Written);
    let policy = BackgroundSync::Interval(Duration::from_millis(5));
    let wal = root.open_with(options.background_sync(policy)).unwrap();
    let regions: Vec<Region> = (0..3).map(|id| wal.create_region(id).unwrap()).collect();
    for round in 1..=30u64 {
        for region in &regions {
            write(region);
        }
        for region in &regions {
            wait_until(|| region.durable_through() >= round);
        }
    }
}

#[test]
fn a_failed_background_sync_poisons() {
    let (root, clock) = (Root::new(), Arc::default());
    let policy = BackgroundSync::Writes(NonZeroU32::new(2).unwrap());
    let (_wal, region) = open(&root, policy, &clock);
    root.watch.fail_syncs("/7/seg_");
    let before = root.watch.syncs();
    write(&region);
    write(&region);
    root.watch.wait_syncs(before + 1);
    wait_until(|| region.poisoned().is_some());
    assert!(matches!(region.append(1, b"x"), Err(walstone::Error::Poisoned { .. })));
}
