//! A fault at every call through the seam: what was durable stays, nothing half-made keeps a final name.

use std::fs;
use std::sync::Arc;

use tempfile::TempDir;
use walstone::files::{Cause, FileError, Root};
use walstone::seam::{Call, Observer, Seam, Verdict};
use walstone_core::SegmentId;
use walstone_core::{Fault, Found, Storage, StorageError};

use crate::observers::{Breaker, Gate, Recorder, Step, Trouble};
use crate::{Bench, HEADER, REGION, SEGMENT_LEN, append, listed, mark, read};

const EINTR: i32 = 4;
const EIO: i32 = 5;
const EMFILE: i32 = 24;
const ENOSPC: i32 = 28;

/// What got through before the first error.
#[derive(Default)]
struct Progress {
    durable: u32,
    segment_2: bool,
    removed_1: bool,
}

/// A short life of a region, up to the first error.
fn live(root: &Root, progress: &mut Progress) -> Result<(), FileError> {
    let mut storage = root.region(REGION, SEGMENT_LEN)?;
    listed(&mut storage)?;
    storage.extent(SegmentId(1))?;
    storage.settle(SegmentId(1), 0, 64)?;
    for round in 0..4 {
        append(&mut storage, 1, 64 + round * 3000, &[1; 3000])?;
        storage.sync(mark(1, 64 + (round + 1) * 3000))?;
        progress.durable = (round + 1) * 3000;
    }
    storage.create(SegmentId(2), &HEADER)?;
    progress.segment_2 = true;
    append(&mut storage, 2, 64, b"second")?;
    storage.sync(mark(2, 70))?;
    storage.remove(SegmentId(1))?;
    progress.removed_1 = true;
    Ok(())
}

/// What must hold after a life with a fault in it.
fn check_after(bench: &Bench, progress: &Progress, what: &str) {
    let root = Root::open(Seam::new(), bench.path(), 4).unwrap();
    let mut storage = root.region(REGION, SEGMENT_LEN).unwrap();
    let found = listed(&mut storage).unwrap();
    for met in &found {
        if let Found::Segment(id) = met {
            storage.extent(*id).unwrap();
            assert_eq!(read(&mut storage, id.0, 0, 64), HEADER, "{what}: {id}");
        }
    }
    let has = |id| found.contains(&Found::Segment(SegmentId(id)));
    assert!(has(2) || !progress.segment_2, "{what}");
    assert!(!has(1) || !progress.removed_1, "{what}");
    if has(1) {
        let durable = progress.durable;
        let bytes = read(&mut storage, 1, 64, durable);
        assert!(bytes.iter().all(|byte| *byte == 1), "{what}: {durable}");
    } else {
        assert!(progress.segment_2, "{what}: removed too early");
    }
    let slots: Vec<u32> = found
        .iter()
        .filter_map(|met| match met {
            Found::Unreadable { slot } => Some(*slot),
            Found::Segment(_) => None,
        })
        .collect();
    assert!(
        slots.is_empty(),
        "{what}: a failed create leaves nothing while unlink works"
    );
    // It can be lived in again.
    if !progress.removed_1 && has(1) {
        if has(2) {
            storage.remove(SegmentId(2)).unwrap();
        }
        drop(storage);
        live(&root, &mut Progress::default()).unwrap();
    }
}

#[test]
fn a_fault_at_every_call_loses_nothing() {
    for errno in [EIO, ENOSPC, EMFILE] {
        let mut nth = 0;
        loop {
            let breaker = Arc::new(Breaker::nth(nth, |_| true));
            let bench = Bench::with(Seam::observed(breaker.clone()), 2);
            let root = bench.root();
            breaker.arm(Some(Trouble::Errno(errno)));
            let mut progress = Progress::default();
            let outcome = live(&root, &mut progress);
            drop(root);
            if breaker.hits() == 0 {
                outcome.unwrap();
                break;
            }
            let what = format!("errno {errno} at call {nth}: {outcome:?}");
            // The number that came in comes out.
            if let Err(error) = &outcome {
                let Cause::Io(cause) = error.cause() else {
                    panic!("{what}")
                };
                assert_eq!(cause.raw_os_error(), Some(errno), "{what}");
            }
            check_after(&bench, &progress, &what);
            nth += 1;
        }
        assert!(nth > 40, "only {nth} calls");
    }
}

#[test]
fn a_fault_while_a_region_is_made_or_removed_leaves_a_leftover_at_most() {
    for errno in [EIO, ENOSPC] {
        let mut nth = 0;
        loop {
            let breaker = Arc::new(Breaker::nth(nth, |_| true));
            let dir = TempDir::new().unwrap();
            let root = Root::open(Seam::observed(breaker.clone()), dir.path(), 2).unwrap();
            breaker.arm(Some(Trouble::Errno(errno)));
            let made = crate::make_region(&root);
            let removed = root.remove_region_dir(REGION);
            let hits = breaker.hits();
            breaker.arm(None);
            let what = format!("errno {errno} at call {nth}: {made:?} {removed:?}");
            let listing = root.list_regions().unwrap();
            assert!(listing.foreign.is_empty(), "{what}");
            if made.is_err() {
                assert!(listing.regions.is_empty(), "{what}");
            }
            if made.is_ok() && removed.is_ok() {
                assert!(listing.regions.is_empty() && listing.leftovers.is_empty(), "{what}");
            }
            if let [region] = listing.regions[..] {
                assert_eq!(root.list_region(region).unwrap().segments, [SegmentId(1)], "{what}");
                root.remove_region_dir(region).unwrap();
            }
            crate::make_region(&root).unwrap();
            assert_eq!(root.list_regions().unwrap().leftovers, [], "{what}");
            if hits == 0 {
                break;
            }
            nth += 1;
        }
        assert!(nth > 15, "only {nth} calls");
    }
}

fn at(applies: fn(&Call<'_>) -> bool) -> (Arc<Breaker>, Bench) {
    let breaker = Arc::new(Breaker::every(applies));
    let bench = Bench::with(Seam::observed(breaker.clone()), 4);
    (breaker, bench)
}

/// A failed create leaves no name behind and is no reason to stop; a failed sync says so whatever the number,
/// for then bytes may be lost.
#[test]
fn full_is_said_only_where_nothing_changed() {
    let (breaker, bench) = at(|call| matches!(call, Call::SyncFile { .. }));
    let mut storage = bench.open();
    append(&mut storage, 1, 64, b"x").unwrap();
    breaker.arm(Some(Trouble::Errno(ENOSPC)));
    assert_eq!(storage.create(SegmentId(2), &HEADER).unwrap_err().fault(), Fault::Full);
    assert_eq!(bench.names(), ["seg_1"]);
    assert_eq!(storage.sync(mark(1, 65)).unwrap_err().fault(), Fault::Device);

    let (breaker, bench) = at(|call| matches!(call, Call::Write { .. }));
    let mut storage = bench.open();
    storage.claim(SegmentId(1), 4096).unwrap();
    breaker.arm(Some(Trouble::Errno(ENOSPC)));
    assert_eq!(storage.claim(SegmentId(1), 5000).unwrap_err().fault(), Fault::Full);
    assert_eq!(storage.create(SegmentId(2), &HEADER).unwrap_err().fault(), Fault::Full);
    assert_eq!(bench.names(), ["seg_1"]);
    // What was claimed before is claimed still, and no more.
    storage.write(SegmentId(1), 4095, &[b"x"]).unwrap();
    assert!(storage.write(SegmentId(1), 4096, &[b"x"]).is_err());
    breaker.arm(Some(Trouble::Errno(EIO)));
    assert_eq!(storage.claim(SegmentId(1), 5000).unwrap_err().fault(), Fault::Device);
    breaker.arm(None);
    storage.claim(SegmentId(1), 5000).unwrap();
    storage.write(SegmentId(1), 4096, &[b"x"]).unwrap();
}

/// A step ahead that does not fit is no reason to refuse what was asked for.
#[test]
fn a_claim_goes_less_far_ahead_when_the_rest_does_not_fit() {
    let (breaker, bench) = at(|call| matches!(call, Call::Write { offset, .. } if *offset >= 12288));
    let mut storage = bench.open();
    storage.claim(SegmentId(1), 4097).unwrap();
    breaker.arm(Some(Trouble::Errno(ENOSPC)));
    storage.claim(SegmentId(1), 8193).unwrap();
    assert!(breaker.hits() > 0);
    assert_eq!(storage.claim(SegmentId(1), 12289).unwrap_err().fault(), Fault::Full);
    storage.write(SegmentId(1), 12280, &[b"12345678"]).unwrap();
}

/// The kernel drops pages whose write-back failed, so after a failed sync nothing claimed is believed, and
/// settling writes the bytes again instead of asking a second time.
#[test]
fn a_failed_sync_is_settled_by_writing_again() {
    let (breaker, bench) = at(|call| matches!(call, Call::SyncFile { .. }));
    let mut storage = bench.open();
    append(&mut storage, 1, 64, b"in doubt").unwrap();
    breaker.arm(Some(Trouble::Errno(EIO)));
    let error = storage.sync(mark(1, 72)).unwrap_err();
    assert_eq!(error.fault(), Fault::Device);
    breaker.arm(None);
    assert_eq!(crate::descriptors_below(bench.path()), 1, "not durable, so still open");
    let error = storage.write(SegmentId(1), 72, &[b"x"]).unwrap_err();
    assert!(matches!(error.cause(), Cause::Unclaimed { claimed: 0, .. }), "{error}");
    drop(storage);

    let recorder = Arc::new(Recorder::default());
    let bench = Bench {
        seam: Seam::observed(recorder.clone()),
        ..bench
    };
    let mut storage = bench.open();
    recorder.take();
    storage.settle(SegmentId(1), 64, 5000).unwrap();
    let steps = recorder.take();
    let mut written = vec![0; SEGMENT_LEN as usize];
    let mut ranges = Vec::new();
    for step in &steps {
        if let Step::Write(_, offset, data) = step {
            written[*offset as usize..][..data.len()].copy_from_slice(data);
            ranges.push((*offset, data.len()));
        }
    }
    assert_eq!(ranges, [(64, 4032), (4096, 904)]);
    assert_eq!(written[64..5000], fs::read(bench.segment_path(1)).unwrap()[64..5000]);
    assert!(matches!(steps.last(), Some(Step::SyncFile(_))), "{steps:?}");
    storage.claim(SegmentId(1), 80).unwrap();
    storage.write(SegmentId(1), 72, &[b"goes on"]).unwrap();
}

#[test]
fn short_transfers_go_on_where_they_stopped() {
    for len in [1, 63, 4095] {
        let (breaker, bench) = at(|_| true);
        breaker.arm(Some(Trouble::Short(len)));
        let mut storage = bench.open();
        storage.create(SegmentId(2), &HEADER).unwrap();
        append(&mut storage, 2, 64, &[5; 5000]).unwrap();
        storage.sync(mark(2, 5064)).unwrap();
        assert_eq!(read(&mut storage, 2, 0, 64), HEADER, "by {len}");
        assert_eq!(read(&mut storage, 2, 64, 5001)[4999..], [5, 0], "by {len}");
    }
    let (breaker, bench) = at(|_| true);
    let mut storage = bench.open();
    storage.claim(SegmentId(1), 100).unwrap();
    breaker.arm(Some(Trouble::Short(0)));
    for error in [
        storage.create(SegmentId(2), &HEADER).unwrap_err(),
        storage.write(SegmentId(1), 64, &[b"x"]).unwrap_err(),
    ] {
        assert_eq!(error.fault(), Fault::Device, "{error}");
        assert!(error.to_string().contains("took no byte"), "{error}");
    }
    assert_eq!(bench.names(), ["seg_1"]);
}

/// An interrupted sync is a failed one: nobody knows what it wrote. Everything else is tried again.
#[test]
fn interruptions_are_retried_except_for_syncs() {
    let is_sync = |call: &Call<'_>| matches!(call, Call::SyncFile { .. } | Call::SyncDir { .. });
    let mut nth = 0;
    let mut failed = 0;
    loop {
        let breaker = Arc::new(Breaker::nth(nth, |_| true));
        let seen = Arc::new(LastBroken::new(breaker.clone(), is_sync));
        let bench = Bench::with(Seam::observed(seen.clone()), 2);
        let root = bench.root();
        breaker.arm(Some(Trouble::Errno(EINTR)));
        let outcome = live(&root, &mut Progress::default());
        if breaker.hits() == 0 {
            break;
        }
        assert_eq!(outcome.is_err(), seen.broke_a_sync(), "call {nth}: {outcome:?}");
        failed += usize::from(outcome.is_err());
        nth += 1;
    }
    assert!(failed > 5 && nth > failed + 20, "{failed} of {nth}");
}

/// Remembers whether the broken call was one of a kind.
struct LastBroken {
    inner: Arc<Breaker>,
    kind: fn(&Call<'_>) -> bool,
    broke: std::sync::atomic::AtomicBool,
}

impl LastBroken {
    fn new(inner: Arc<Breaker>, kind: fn(&Call<'_>) -> bool) -> Self {
        Self {
            inner,
            kind,
            broke: false.into(),
        }
    }

    fn broke_a_sync(&self) -> bool {
        self.broke.load(std::sync::atomic::Ordering::Relaxed)
    }
}

impl Observer for LastBroken {
    fn before(&self, call: &Call<'_>) -> std::io::Result<walstone::seam::Verdict> {
        let result = self.inner.before(call);
        if result.is_err() && (self.kind)(call) {
            self.broke.store(true, std::sync::atomic::Ordering::Relaxed);
        }
        result
    }
}

/// Holds one call and breaks others.
struct HoldAndBreak(Gate, Breaker);

impl Observer for HoldAndBreak {
    fn before(&self, call: &Call<'_>) -> std::io::Result<Verdict> {
        self.0.before(call)?;
        self.1.before(call)
    }
}

/// The first claim of a segment begins where nothing is known to be claimed, which is also what a failed sync leaves: a
/// claim that was under way meanwhile said that its blocks are there.
#[test]
fn a_sync_that_fails_during_a_claim_leaves_nothing_claimed() {
    let observer = Arc::new(HoldAndBreak(
        Gate::new(|call| matches!(call, Call::Write { .. })),
        Breaker::every(|call| matches!(call, Call::SyncFile { .. })),
    ));
    let bench = Bench::with(Seam::observed(observer.clone()), 4);
    let mut storage = bench.open();
    let mut claimer = storage.clone();
    observer.0.during(
        || claimer.claim(SegmentId(1), 10_000).unwrap(),
        || {
            observer.1.arm(Some(Trouble::Errno(EIO)));
            storage.sync(mark(1, 64)).unwrap_err();
            observer.1.arm(None);
        },
    );
    let refused = storage.write(SegmentId(1), 64, &[b"x"]).unwrap_err();
    assert!(
        matches!(refused.cause(), Cause::Unclaimed { claimed: 0, .. }),
        "{refused}"
    );
}

/// Two handles claim the same space: the slower one would write zeros over what was stored on the word of the faster one,
/// or say less to be claimed than there is.
#[test]
fn a_claim_waits_for_the_one_that_fills_the_same_space() {
    let gate = Arc::new(Gate::new(|call| matches!(call, Call::Write { .. })));
    let bench = Bench::with(Seam::observed(gate.clone()), 4);
    let mut storage = bench.open();
    let (mut far, mut near) = (storage.clone(), storage.clone());
    storage.claim(SegmentId(1), 64).unwrap();
    std::thread::scope(|scope| {
        gate.during(
            || far.claim_ahead(mark(1, 60_000), 0).unwrap(),
            || {
                scope.spawn(|| {
                    near.claim_ahead(mark(1, 20_000), 0).unwrap();
                    storage.write(SegmentId(1), 19_000, &[b"stored"]).unwrap();
                });
                // One that did not wait is done by then.
                std::thread::sleep(std::time::Duration::from_millis(100));
            },
        );
    });
    assert_eq!(read(&mut storage, 1, 19_000, 7), b"stored\0");
    storage.write(SegmentId(1), 59_000, &[b"claimed"]).unwrap();
}
