//! Tickets: waited for, polled, told to a callback, dropped; resolved whatever becomes of the sync.

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

use walstone::{Appended, Batch, Durability, Error, Region, Result, Ticket};

use crate::root::{Root, scan};

const PATIENCE: Duration = Duration::from_secs(20);

fn submit(region: &Region) -> Ticket {
    let mut batch = Batch::new();
    batch.push(1, b"ticket");
    region.submit(&batch, Durability::Durable).unwrap()
}

/// Unparks a thread, and counts.
struct Unpark(thread::Thread, AtomicUsize);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.1.fetch_add(1, Ordering::SeqCst);
        self.0.unpark();
    }
}

/// A runtime in four lines.
fn block_on(ticket: Ticket) -> Result<Appended> {
    let unpark = Arc::new(Unpark(thread::current(), AtomicUsize::new(0)));
    let waker = Waker::from(unpark);
    let mut ticket = pin!(ticket);
    loop {
        match ticket.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(resolved) => return resolved,
            Poll::Pending => thread::park_timeout(PATIENCE),
        }
    }
}

#[test]
fn every_kind_of_waiting_is_told() {
    let root = Root::new();
    let wal = root.open();
    let region = wal.create_region(7).unwrap();
    assert_eq!(submit(&region).wait().unwrap().last, 1);
    assert_eq!(region.durable_through(), 1);
    assert_eq!(block_on(submit(&region)).unwrap().last, 2);
    assert_eq!(region.durable_through(), 2);
    let (tell, told) = mpsc::channel();
    submit(&region).on_complete(move |resolved| tell.send(resolved).unwrap());
    assert_eq!(told.recv_timeout(PATIENCE).unwrap().unwrap().last, 3);
    let ticket = submit(&region);
    assert_eq!(ticket.appended().last, 4);
    assert!(ticket.check().is_none());
    drop(ticket);
    assert_eq!(region.durable_through(), 3);
    region.sync().unwrap();
    assert_eq!(region.durable_through(), 4);
    // Resolved before anybody asks.
    let ticket = submit(&region);
    region.sync().unwrap();
    let (tell, told) = mpsc::channel();
    ticket.on_complete(move |resolved| tell.send(resolved).unwrap());
    assert_eq!(told.try_recv().unwrap().unwrap().last, 5);
}

#[test]
fn one_sync_serves_many_tickets() {
    let root = Root::new();
    let wal = root.open();
    let region = wal.create_region(7).unwrap();
    submit(&region).wait().unwrap();
    let before = root.watch.syncs();
    let tickets: Vec<Ticket> = (0..10).map(|_| submit(&region)).collect();
    let (last, rest) = tickets
        .into_iter()
        .rev()
        .fold((None, Vec::new()), |(last, mut rest), ticket| {
            if last.is_none() {
                return (Some(ticket), rest);
            }
            rest.push(ticket);
            (last, rest)
        });
    last.unwrap().wait().unwrap();
    assert_eq!(root.watch.syncs(), before + 1);
    for ticket in rest {
        ticket.check().unwrap().unwrap();
    }
}

#[test]
fn a_written_ticket_is_resolved_at_once() {
    let root = Root::new();
    let wal = root.open();
    let region = wal.create_region(7).unwrap();
    region.append(1, b"begin").unwrap();
    let before = root.watch.syncs();
    let mut batch = Batch::new();
    batch.push(1, b"written");
    let ticket = region.submit(&batch, Durability::Written).unwrap();
    assert_eq!(ticket.check().unwrap().unwrap().last, 2);
    assert_eq!(block_on(ticket).unwrap().last, 2);
    assert_eq!(root.watch.syncs(), before);
    assert_eq!(region.durable_through(), 1);
}

#[test]
fn a_failed_sync_resolves_them_all() {
    let root = Root::new();
    let wal = root.open();
    let region = wal.create_region(7).unwrap();
    region.append(1, b"begin").unwrap();
    root.watch.hold_syncs("/7/seg_");
    root.watch.fail_syncs("/7/seg_");
    let (tell, told) = mpsc::channel();
    let called = submit(&region);
    let dropped = submit(&region);
    let waited = submit(&region);
    let polled = submit(&region);
    let checked = submit(&region);
    drop(dropped);
    called.on_complete(move |resolved| tell.send(resolved).unwrap());
    thread::scope(|scope| {
        let waiting = scope.spawn(|| waited.wait());
        let polling = scope.spawn(|| block_on(polled));
        root.watch.wait_held(1);
        assert!(checked.check().is_none());
        root.watch.release();
        let failed = |resolved: Result<Appended>| assert!(matches!(resolved, Err(Error::Storage(_))), "{resolved:?}");
        failed(waiting.join().unwrap());
        failed(polling.join().unwrap());
        failed(told.recv_timeout(PATIENCE).unwrap());
        failed(checked.check().unwrap());
    });
    assert!(matches!(region.append(1, b"x"), Err(Error::Poisoned { .. })));
}

/// The log and its region are dropped right after: the callback is called even so, and the record is durable.
#[test]
fn a_callback_outlives_every_handle() {
    let root = Root::new();
    for round in 1..=20 {
        let wal = root.open();
        let region = wal.region_or_create(7).unwrap();
        let (tell, told) = mpsc::channel();
        let ticket = submit(&region);
        if round % 2 == 0 {
            drop(region);
            drop(wal);
            ticket.on_complete(move |resolved| tell.send(resolved).unwrap());
        } else {
            ticket.on_complete(move |resolved| tell.send(resolved).unwrap());
            drop(wal);
            drop(region);
        }
        assert_eq!(told.recv_timeout(PATIENCE).unwrap().unwrap().last, round);
        // The last handle goes with the callback, on the thread that called it.
        while root.try_open().is_err() {
            thread::yield_now();
        }
    }
    assert_eq!(scan(&root.open().region(7).unwrap()).len(), 20);
}

/// The log is dropped and a handle lives on: its tickets are resolved all the same.
#[test]
fn a_handle_that_outlives_the_log_has_its_tickets_resolved() {
    let root = Root::new();
    let wal = root.open();
    let region = wal.create_region(7).unwrap();
    drop(wal);
    assert_eq!(block_on(submit(&region)).unwrap().last, 1);
    let (tell, told) = mpsc::channel();
    submit(&region).on_complete(move |resolved| tell.send(resolved).unwrap());
    assert_eq!(told.recv_timeout(PATIENCE).unwrap().unwrap().last, 2);
}

#[test]
fn closing_resolves_what_is_pending() {
    let root = Root::new();
    let wal = root.open();
    let region = wal.create_region(7).unwrap();
    region.append(1, b"begin").unwrap();
    root.watch.hold_syncs("/7/seg_");
    let (tell, told) = mpsc::channel();
    submit(&region).on_complete(move |resolved| tell.send(resolved).unwrap());
    root.watch.wait_held(1);
    thread::scope(|scope| {
        let close = scope.spawn(|| wal.close());
        thread::sleep(Duration::from_millis(20));
        root.watch.release();
        close.join().unwrap().unwrap();
    });
    assert_eq!(told.recv_timeout(PATIENCE).unwrap().unwrap().last, 2);
}

/// Else a callback that panics would leave others waiting for ever, and the log without its background thread.
#[test]
fn a_callback_that_panics_harms_nobody_else() {
    let root = Root::new();
    let wal = root.open();
    let region = wal.create_region(7).unwrap();
    region.append(1, b"begin").unwrap();
    let (tell, told) = mpsc::channel();
    for _ in 0..2 {
        root.watch.hold_syncs("/7/seg_");
        for at in 0..4 {
            let tell = tell.clone();
            submit(&region).on_complete(move |resolved| {
                assert!(at != 0, "of the user");
                tell.send(resolved.map(drop)).unwrap();
            });
        }
        root.watch.release();
        for _ in 1..4 {
            told.recv_timeout(PATIENCE).unwrap().unwrap();
        }
    }
    submit(&region).wait().unwrap();
}

#[test]
fn polling_again_leaves_one_waker_behind() {
    let root = Root::new();
    let wal = root.open();
    let region = wal.create_region(7).unwrap();
    region.append(1, b"begin").unwrap();
    root.watch.hold_syncs("/7/seg_");
    let unpark = Arc::new(Unpark(thread::current(), AtomicUsize::new(0)));
    let waker = Waker::from(Arc::clone(&unpark));
    let mut ticket = pin!(submit(&region));
    for _ in 0..100 {
        assert!(ticket.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    }
    root.watch.release();
    region.sync().unwrap();
    let Poll::Ready(resolved) = ticket.as_mut().poll(&mut Context::from_waker(&waker)) else {
        panic!("not resolved");
    };
    resolved.unwrap();
    wal.close().unwrap();
    assert_eq!(unpark.1.load(Ordering::SeqCst), 1);
}
