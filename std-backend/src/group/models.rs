//! Group commit under a model checker: every interleaving of a few threads, up to three forced switches in each.
//! The world behind it is two numbers, what is written and what is durable.

use loom::sync::Arc;
use loom::sync::atomic::{AtomicU32, Ordering};
use loom::thread;
use walstone_core::{Mark, SegmentId};

use super::{Group, Notify, Progress};
use crate::error::{Error, Result};

const fn mark(end: u32) -> Mark {
    Mark {
        segment: SegmentId(1),
        end,
    }
}

/// What becomes of the first sync.
#[derive(Clone, Copy, PartialEq)]
enum First {
    Works,
    Fails,
}

struct World {
    group: Group,
    written: AtomicU32,
    durable: AtomicU32,
    syncs: AtomicU32,
    first: First,
}

impl World {
    fn new(first: First) -> Self {
        Self {
            group: Group::new(Progress {
                durable: mark(0),
                through: 0,
            }),
            written: AtomicU32::new(0),
            durable: AtomicU32::new(0),
            syncs: AtomicU32::new(0),
            first,
        }
    }

    fn write(&self) -> u32 {
        self.written.fetch_add(1, Ordering::AcqRel) + 1
    }

    /// One sync: what was written when it began is durable when it ends.
    fn sync(&self) -> Result<Progress> {
        let end = self.written.load(Ordering::Acquire);
        if self.syncs.fetch_add(1, Ordering::AcqRel) == 0 && self.first == First::Fails {
            return Err(Error::Closed);
        }
        assert!(
            self.first != First::Fails,
            "no sync is tried again after one that failed"
        );
        self.durable.fetch_max(end, Ordering::AcqRel);
        Ok(Progress {
            durable: mark(end),
            through: u64::from(end),
        })
    }

    /// Writes, waits, and judges the answer. True: it was acknowledged.
    fn append(&self) -> bool {
        let end = self.write();
        let acknowledged = self.group.wait(mark(end), || self.sync()).is_ok();
        if acknowledged {
            assert!(
                self.durable.load(Ordering::Acquire) >= end,
                "acknowledged before it was durable"
            );
        }
        acknowledged
    }
}

fn check(first: First, threads: usize, act: fn(&World)) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(move || {
        let world = Arc::new(World::new(first));
        let others: Vec<_> = (1..threads)
            .map(|_| {
                let world = Arc::clone(&world);
                thread::spawn(move || act(&world))
            })
            .collect();
        act(&world);
        for other in others {
            other.join().unwrap();
        }
    });
}

/// Nobody is told too early, nobody waits for ever: a lost wake-up ends as a deadlock of the model.
#[test]
fn whoever_wrote_before_a_sync_is_served_by_it() {
    check(First::Works, 2, |world| {
        assert!(world.append());
        assert!(world.append());
    });
    check(First::Works, 3, |world| assert!(world.append()));
}

/// Each waiter gets the failure, whether it led, waited or came later, and nobody syncs again.
#[test]
fn a_failed_sync_is_everybodys() {
    check(First::Fails, 3, |world| assert!(!world.append()));
}

/// Tickets beside a waiting thread: each is told once, and never before it is durable.
#[test]
fn every_ticket_is_told_once() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(|| {
        let world = Arc::new(World::new(First::Works));
        let told = Arc::new(AtomicU32::new(0));
        let submitter = {
            let (world, told) = (Arc::clone(&world), Arc::clone(&told));
            thread::spawn(move || {
                let end = world.write();
                let (inner, told) = (Arc::clone(&world), Arc::clone(&told));
                let tell = Notify::Callback(Box::new(move |outcome: Result<()>| {
                    assert!(outcome.is_ok());
                    assert!(inner.durable.load(Ordering::Acquire) >= end);
                    told.fetch_add(1, Ordering::AcqRel);
                }));
                if world.group.notify(mark(end), tell) {
                    world.group.lead_for_tickets(|| world.sync());
                }
            })
        };
        assert!(world.append());
        submitter.join().unwrap();
        assert_eq!(told.load(Ordering::Acquire), 1);
    });
}

/// A close makes durable what others wait for, and ends all waiting: who wrote before it is acknowledged.
#[test]
fn a_close_acknowledges_what_it_made_durable() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(|| {
        let world = Arc::new(World::new(First::Works));
        let end = world.write();
        let other = {
            let world = Arc::clone(&world);
            thread::spawn(move || assert!(world.group.wait(mark(end), || world.sync()).is_ok()))
        };
        let progress = world.sync().unwrap();
        world.group.doom(progress, Error::Closed);
        world.group.fail(Error::Closed);
        assert!(matches!(world.group.check(mark(end)), Some(Ok(()))));
        assert!(matches!(world.group.check(mark(end + 1)), Some(Err(_))));
        other.join().unwrap();
    });
}
