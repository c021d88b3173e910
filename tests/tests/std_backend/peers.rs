//! Published failures of other logs that share work among threads, each by its story.

use std::sync::Barrier;
use std::thread;

use walstone::{Durability, Region, Wal};

use crate::root::Root;

/// A leader that left by an error kept the flag that says that somebody leads: everybody after it waited for ever.
#[test]
fn leader_flag_left_set_after_an_error() {
    let root = Root::new();
    let wal = root.open();
    let failing = wal.create_region(7).unwrap();
    failing.append(1, b"durable").unwrap();
    root.watch.fail_syncs("/7/seg_");
    // One after the other and side by side: whoever comes gets an answer.
    for _ in 0..3 {
        failing.append(1, b"doomed").unwrap_err();
    }
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| failing.append(1, b"doomed").unwrap_err());
        }
    });
    failing.sync().unwrap_err();
    // Who leads in another region is led by nobody's error.
    let other = wal.create_region(8).unwrap();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| other.append(1, b"durable").unwrap());
        }
    });
    assert_eq!(other.durable_through(), 4);
}

type Doing = fn(&Wal, &Region);

/// Two threads took the same locks in another order, or one left by an error with a lock held, and a server stood still.
#[test]
fn lock_order_deadlock() {
    let doings: [Doing; 9] = [
        |_, region| drop(region.append(1, &[1; 200])),
        |_, region| drop(region.append_with(1, &[2; 200], Durability::Written)),
        |_, region| drop(region.delete_up_to(1, region.last_sequence())),
        |_, region| drop(region.reclaim()),
        |_, region| drop(region.sync()),
        |_, region| drop(region.view().map(|view| view.scan().count())),
        |wal, _| drop(wal.stats()),
        |wal, _| drop(wal.region_or_create(9).and_then(|region| region.append(1, b"x"))),
        |wal, _| drop(wal.close_region(9)),
    ];
    let root = Root::new();
    let wal = root.open();
    let region = wal.create_region(7).unwrap();
    for one in doings {
        for other in doings {
            let begin = Barrier::new(2);
            let run = |doing: Doing| {
                begin.wait();
                (0..20).for_each(|_| doing(&wal, &region));
            };
            thread::scope(|scope| {
                scope.spawn(|| run(one));
                scope.spawn(|| run(other));
            });
        }
    }
    region.append(1, b"goes on").unwrap();
}
