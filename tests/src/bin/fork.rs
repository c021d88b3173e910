//! Forks with a log open, for the test `forks` of the target `std_backend`: `fork <root>`.
//!
//! The child has a copy of everything, the worker's handle included, but not the worker. All it may get is a refusal;
//! and it must be able to end.

use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use walstone::{Batch, Durability, Error, Options, Region, Wal};

fn main() -> ExitCode {
    let path = std::env::args_os().nth(1).expect("a root");
    let options = || Options::builder().segment_len(4096).build().expect("they work");
    let wal = Wal::open(&path, options()).expect("a new log");
    let region = wal.create_region(7).expect("a new region");
    let mut batch = Batch::new();
    batch.push(1, b"from the parent");
    // Starts the worker.
    let ticket = region.submit(&batch, Durability::Durable).expect("room");
    let (tell, told) = std::sync::mpsc::channel();
    ticket.on_complete(move |resolved| tell.send(resolved.is_ok()).expect("somebody listens"));
    assert!(told.recv().expect("the worker lives"));

    // SAFETY: the child calls nothing but the log, the allocator and standard output. The only other thread waits for
    // work, so it holds none of their locks.
    match unsafe { libc::fork() } {
        0 => {
            child(wal, region, &batch);
            println!("the child was refused");
            ExitCode::SUCCESS
        }
        child => {
            assert!(ended(child), "the child hangs");
            region.append(1, b"from the parent again").expect("the parent goes on");
            wal.close().expect("the parent closes");
            drop((wal, region));
            let wal = Wal::open(&path, options()).expect("the child left no lock");
            let region = wal.region(7).expect("the region is sound");
            let view = region.view().expect("open");
            let values: Vec<_> = view
                .scan()
                .map(|record| record.expect("sound").value.to_vec())
                .collect();
            assert_eq!(values, [&b"from the parent"[..], b"from the parent again"]);
            println!("the parent went on");
            ExitCode::SUCCESS
        }
    }
}

fn child(wal: Wal, region: Region, batch: &Batch<'_>) {
    for _ in 0..2 {
        for answer in [
            region.append(1, b"from the child").map(drop),
            region.append_batch(batch).map(drop),
            region.submit(batch, Durability::Written).map(drop),
            region.delete_up_to(1, 1),
            region.sync(),
            region.reclaim(),
            wal.create_region(8).map(drop),
        ] {
            assert!(matches!(answer, Err(Error::Forked)), "{answer:?}");
        }
        let view = region.view().expect("reading goes on");
        assert_eq!(view.scan().count(), 1);
    }
    assert!(matches!(wal.close(), Err(Error::Forked)));
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
