//! Forks with a log open, for the test `forks` of the target `std_backend`: `fork <root> <mapped|buffered|direct>`.
//!
//! The child has a copy of everything but the other threads. What they held at that moment is held for ever, so all that
//! the child may get is a refusal, or an answer that takes no lock; and it must be able to end.

use std::future::Future;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::pin::pin;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, mpsc};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use walstone::seam::{Call, Observer, Verdict};
use walstone::{
    Appended, BackgroundSync, Batch, Durability, Error, Options, OptionsBuilder, Region, Result, Ticket, View, Wal,
};

/// Times that the process forks while other threads come and go in the log.
const ROUNDS: usize = 20;

const SEGMENT_LEN: u32 = 1 << 20;

/// Holds threads of the parent where they hold locks: the background thread in a sync, then one in an append and one in the
/// making of a region.
#[derive(Default)]
struct Hold {
    syncs: AtomicBool,
    armed: AtomicBool,
    held: AtomicUsize,
}

impl Observer for Hold {
    fn before(&self, call: &Call<'_>) -> io::Result<Verdict> {
        let held_by = match call {
            Call::SyncFile { .. } => &self.syncs,
            Call::Store { .. } | Call::MakeDir { .. } => &self.armed,
            _ => return Ok(Verdict::Proceed),
        };
        if held_by.load(Ordering::Acquire) {
            self.held.fetch_add(1, Ordering::AcqRel);
            while held_by.load(Ordering::Acquire) {
                thread::yield_now();
            }
        }
        Ok(Verdict::Proceed)
    }
}

/// What the child has a copy of.
struct Handles {
    wal: Wal,
    reader: Wal,
    region: Region,
    copy: Region,
    view: View,
    unread: View,
    /// All of a log whose background thread runs, and its lock: what ends with the last handle ends in the child too.
    own: Wal,
    tickets: Vec<Ticket>,
}

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let path = PathBuf::from(arguments.next().expect("a root"));
    let write_path = arguments.next().expect("how segments are written");
    let hold = Arc::new(Hold::default());
    let unheld = || {
        let options = Options::builder().segment_len(SEGMENT_LEN);
        let soon = BackgroundSync::Interval(Duration::from_millis(1));
        written(options.background_sync(soon), &write_path)
    };
    let options = || unheld().observer(hold.clone()).build().expect("they work");
    let wal = Wal::open(&path, options()).expect("a new log");
    let region = wal.create_region(7).expect("a new region");
    let mut batch = Batch::new();
    batch.push(1, b"from the parent");
    // Starts the worker.
    let ticket = region.submit(&batch, Durability::Durable).expect("room");
    let (tell, told) = mpsc::channel();
    ticket.on_complete(move |resolved| tell.send(resolved.is_ok()).expect("somebody listens"));
    assert!(told.recv().expect("the worker lives"));

    let own_path = path.with_extension("own");
    let handles = |wal: &Wal, region: &Region| {
        let reader = Wal::open_read_only(&path, options()).expect("a root");
        let copy = reader.region(7).expect("a region");
        let view = region.view().expect("open");
        assert_eq!(view.scan().count(), view.scan().filter(Result::is_ok).count());
        let ticket = |_| region.submit(&batch, Durability::Durable).expect("room");
        let own = Wal::open(&own_path, unheld().build().expect("they work")).expect("the last one is gone");
        let own_region = own.region_or_create(1).expect("room");
        own_region
            .append_with(1, b"watched", Durability::Written)
            .expect("room");
        Handles {
            own,
            tickets: (0..3).map(ticket).collect(),
            unread: region.view().expect("open"),
            wal: wal.clone(),
            region: region.clone(),
            view,
            reader,
            copy,
        }
    };

    // Locks that are held long are held now.
    let watched = wal.create_region(5).expect("room");
    watched.append(1, b"begun").expect("room");
    let copies = handles(&wal, &region);
    let held = |count| {
        while hold.held.load(Ordering::Acquire) < count {
            thread::yield_now();
        }
    };
    hold.syncs.store(true, Ordering::Release);
    watched
        .append_with(1, b"synced soon", Durability::Written)
        .expect("room");
    held(1);
    hold.armed.store(true, Ordering::Release);
    thread::scope(|scope| {
        let before = hold.held.load(Ordering::Acquire);
        scope.spawn(|| region.append(1, b"held in a store").expect("room"));
        scope.spawn(|| wal.create_region(9).expect("room"));
        held(before + 2);
        let ended = fork(|| child(copies, &batch));
        hold.syncs.store(false, Ordering::Release);
        hold.armed.store(false, Ordering::Release);
        assert!(ended, "a child hangs or fails beside held locks");
    });

    // Those that are held for a moment are met by chance.
    for _ in 0..ROUNDS {
        let copies = handles(&wal, &region);
        let mut kept = Some(copies.own.clone());
        let (stop, started) = (AtomicBool::new(false), Barrier::new(4));
        let busy = |work: &dyn Fn()| {
            started.wait();
            while !stop.load(Ordering::Relaxed) {
                work();
            }
        };
        thread::scope(|scope| {
            scope.spawn(|| busy(&|| assert!(region.append_with(1, b"busy", Durability::Written).is_ok())));
            scope.spawn(|| busy(&|| drop(region.submit(&batch, Durability::Durable).expect("room").check())));
            scope.spawn(|| busy(&|| drop(region.view().expect("open").get(1, 1))));
            started.wait();
            let ended = fork(|| {
                drop(kept.take());
                child(copies, &batch);
            });
            stop.store(true, Ordering::Relaxed);
            assert!(ended, "a child hangs or fails beside busy threads");
        });
        // The lock is shared with the child, whose last handle is gone, and which could give it back for both.
        let refused = Wal::open(&own_path, options());
        assert!(matches!(refused, Err(Error::Locked { .. })), "{refused:?}");
    }

    let last = region
        .append(1, b"from the parent at last")
        .expect("the parent goes on")
        .last;
    wal.close().expect("the parent closes");
    drop((wal, region));
    let wal = Wal::open(&path, options()).expect("the child left no lock");
    let region = wal.region(7).expect("the region is sound");
    assert_eq!(region.last_sequence(), last);
    let view = region.view().expect("open");
    for record in view.scan() {
        assert!(record.expect("sound").value != b"from the child");
    }
    println!("the parent went on");
    ExitCode::SUCCESS
}

#[cfg(target_os = "linux")]
fn written(options: OptionsBuilder, path: &str) -> OptionsBuilder {
    options.write_path(match path {
        "direct" => walstone::WritePath::Direct,
        "buffered" => walstone::WritePath::Buffered,
        _ => walstone::WritePath::Mapped,
    })
}

#[cfg(not(target_os = "linux"))]
fn written(options: OptionsBuilder, _path: &str) -> OptionsBuilder {
    options
}

/// Runs `body` in a child; whether that ends within some seconds, and well.
fn fork(body: impl FnOnce()) -> bool {
    // SAFETY: the child calls nothing but the log, the allocator, whose locks the C library hands to it free, and
    // standard error, which no other thread writes to.
    match unsafe { libc::fork() } {
        0 => {
            let failed = catch_unwind(AssertUnwindSafe(body)).is_err();
            // SAFETY: ends the process; nothing of the parent's is to be run here.
            unsafe { libc::_exit(failed.into()) }
        }
        child => ended(child),
    }
}

fn child(handles: Handles, batch: &Batch<'_>) {
    let Handles {
        wal,
        reader,
        region,
        copy,
        view,
        unread,
        own,
        tickets,
    } = handles;
    let forked = |what: &str, answer: Result<()>| {
        assert!(matches!(answer, Err(Error::Forked)), "{what}: {answer:?}");
    };
    // The last one named is the one that hangs.
    let asked = |what: &str| eprintln!("the child asks for {what}");
    macro_rules! refused {
        ($($answer:expr),+ $(,)?) => {$(
            asked(stringify!($answer));
            forked(stringify!($answer), $answer.map(drop));
        )+};
    }
    for _ in 0..2 {
        refused![
            region.append(1, b"from the child"),
            region.append_batch(batch),
            region.submit(batch, Durability::Written),
            region.delete_up_to(1, 1),
            region.truncate_from(1, 1),
            region.sync(),
            region.reclaim(),
            region.view(),
            unread.get(1, 1),
            unread.first(1),
            wal.region(7),
            wal.create_region(8),
            wal.region_or_create(8),
            wal.close_region(7),
            wal.remove_region(7),
            wal.stats(),
            wal.close(),
            copy.view(),
            reader.region(7),
            reader.stats(),
            reader.close(),
        ];
        asked("what is known without a lock");
        assert!(region.last_sequence() >= region.durable_through());
        assert!(region.durable_through() >= 1 && copy.last_sequence() >= 1);
        assert_eq!((region.poisoned(), copy.poisoned()), (None, None));
        assert_eq!((wal.regions(), reader.regions()), (vec![], vec![]));
        assert!(region.counters().appends >= 1 && region.report().geometry.segment_len() == SEGMENT_LEN);
        wal.tick();
        asked("what is pinned");
        assert_eq!(view.get(1, 1).expect("pinned").expect("live").value, b"from the parent");
        asked("debugging");
        let _ = format!("{wal:?} {region:?} {view:?} {tickets:?}");
    }
    let resolved = |answer: Result<Appended>| matches!(answer, Err(Error::Forked));
    let mut tickets = tickets.into_iter();
    let mut next = || tickets.next().expect("three");
    asked("Ticket::check and wait");
    let ticket = next();
    assert!(ticket.check().is_some_and(resolved));
    assert!(resolved(ticket.wait()));
    asked("Ticket::poll");
    let polled = pin!(next()).poll(&mut Context::from_waker(Waker::noop()));
    assert!(polled.map(resolved) == Poll::Ready(true));
    asked("Ticket::on_complete");
    let (tell, told) = mpsc::channel();
    next().on_complete(move |answer| tell.send(resolved(answer)).expect("somebody listens"));
    assert_eq!(told.try_recv(), Ok(true));
    asked("the end of all handles");
    drop((view, unread));
    drop((region, copy));
    drop((wal, reader, own));
    asked("nothing more");
}

/// Whether the child ends within some seconds, and well.
fn ended(child: libc::pid_t) -> bool {
    for _ in 0..1000 {
        let mut status = 0;
        // SAFETY: `status` is valid for a write.
        let waited = unsafe { libc::waitpid(child, &raw mut status, libc::WNOHANG) };
        if waited == child {
            return status == 0;
        }
        thread::sleep(Duration::from_millis(10));
    }
    // SAFETY: it is a child of this process that was not waited for yet.
    unsafe { libc::kill(child, libc::SIGKILL) };
    false
}
