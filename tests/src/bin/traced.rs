//! Writes a log through `walstone-linux`, to be watched, broken and killed by strace: for the tests `durability` and
//! `faults` of the target `linux`. `traced <root> <buffered|direct> <what>`:
//!
//! - `durable`: many durable appends; what is to be counted stands between two calls of `getppid`.
//! - `written`: groups of appends, each handed over; the same.
//! - `kill`: appends, hands over, then kills itself.
//! - `bulk`: more between two syncs than the buffers hold, rotations; tells as `mixed` does.
//! - `leave`: as much, then ends without a sync.
//! - `front-drop`, `front-close`, `front-panic`: a log of the std backend whose append fails while two writes are on their way;
//!   then it is dropped or closed, or the append panics instead.
//! - `front`: as `mixed`, through the std backend.
//! - `limited`: a file that may not grow as far as it is written.
//! - `settle`: opens what a killed run left, and says so.
//! - `resume`: the same, and goes on durably.
//! - `beside`: two handles hand over the same bytes, and are to fail both.
//! - `mixed`: durable and written appends, deletions, rotations; tells each acknowledgement on a line of its own, `w` or
//!   `d` and the sequence, in the end how many writes were not waited for and what had to be done without, and ends with `done`, or with `failed` at the first error. After one it looks whether the log
//!   refuses to go on where bytes are in doubt.

#[cfg(target_os = "linux")]
fn main() {
    linux::main();
}

#[cfg(not(target_os = "linux"))]
fn main() {}

#[cfg(target_os = "linux")]
mod linux {
    use std::ffi::CString;
    use std::fmt::Display;
    use std::io::Write;
    use std::path::Path;
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicU32, Ordering};

    use walstone::{Durability, PoisonCause, Wal};
    use walstone_core::{Capacity, Checksum, Error, Geometry, Log, Mark, Options, SegmentId, SharedStorage, Storage};
    use walstone_linux::sys::{Call, Errno, Verdict, Watcher, watch};
    use walstone_linux::{LinuxError, LinuxStorage, Memory, RegionFiles, Root, WritePath};

    type LinuxLog<'f, 'm> = Log<'static, LinuxStorage<'m, &'f RegionFiles<'m>>>;

    const REGION: u64 = 7;
    /// Records in front of those that are counted: behind them there is space for more.
    const BEFORE: u64 = 750;
    const COUNTED: u64 = 500;
    const GROUP: u64 = 5;

    pub(super) fn main() {
        let arguments: Vec<String> = std::env::args().collect();
        let [_, root, path, what] = arguments.as_slice() else {
            panic!("traced <root> <buffered|direct> <what>");
        };
        if let Some(end) = what.strip_prefix("front-") {
            return front_ends(Path::new(root), end);
        }
        if what == "front" {
            let path = match path.as_str() {
                "direct" => walstone::WritePath::Direct,
                _ => walstone::WritePath::Buffered,
            };
            return tell(front(Path::new(root), path));
        }
        let path = match path.as_str() {
            "direct" => WritePath::Direct,
            _ => WritePath::Buffered,
        };
        let segment_len = match what.as_str() {
            "mixed" => 16 << 10,
            "bulk" => 256 << 10,
            _ => 8 << 20,
        };
        let root = CString::new(root.as_str()).expect("no NUL");
        let run = |files: &RegionFiles<'_>| -> Result<(), Error<LinuxError>> {
            match what.as_str() {
                "beside" => return beside(files).map_err(Error::Storage),
                "limited" => return limited(files).map_err(Error::Storage),
                _ => {}
            }
            let options = Options {
                checksum: Checksum::BYTEWISE,
                ..Options::new(REGION, 42)
            };
            let mut log = Log::open(LinuxStorage::new(files), Capacity::heap(4096), options)?;
            match what.as_str() {
                "durable" => durable(&mut log),
                "written" => written(&mut log),
                "kill" => kill(&mut log),
                "bulk" => bulk(&mut log),
                "leave" => gather(&mut log).map(drop),
                "settle" => {
                    say(&format!("d {}", log.last_sequence()));
                    Ok(())
                }
                "resume" => resume(&mut log),
                _ => mixed(&mut log),
            }
        };
        let all = || -> Result<(), Error<LinuxError>> {
            let root = Root::open(&root)?;
            let geometry = Geometry::new(segment_len).expect("it works");
            let made = root.create_region(REGION, geometry, path, Memory::map(8 << 10), |files| {
                let options = Options::new(REGION, 42);
                Log::create(LinuxStorage::new(files), Capacity::heap(4096), options).map(drop)
            });
            match made {
                Err(Error::Storage(error)) if error.cause() == walstone_linux::Cause::Exists => {}
                made => made?,
            }
            run(&root.region(REGION, geometry, path, Memory::map(8 << 10))?)
        };
        tell(all());
    }

    /// How it ended.
    fn tell(ended: Result<(), impl Display>) {
        match ended {
            Ok(()) => say("done"),
            Err(error) => {
                eprintln!("{error}");
                say("failed");
            }
        }
    }

    fn say(line: &str) {
        // Not gathered: what was said before a kill was said.
        let _ = std::io::stdout().write_all(format!("{line}\n").as_bytes());
    }

    fn value(sequence: u64, len: usize) -> Vec<u8> {
        (0..len).map(|at| (sequence as usize * 7 + at) as u8).collect()
    }

    fn mark_counted() {
        // SAFETY: it takes nothing and always answers.
        unsafe { libc::getppid() };
    }

    fn durable(log: &mut LinuxLog<'_, '_>) -> Result<(), Error<LinuxError>> {
        for sequence in 0..BEFORE + COUNTED {
            if sequence == BEFORE {
                mark_counted();
            }
            log.append(1, &value(sequence, 256))?;
            log.sync()?;
        }
        mark_counted();
        Ok(())
    }

    fn written(log: &mut LinuxLog<'_, '_>) -> Result<(), Error<LinuxError>> {
        for sequence in 0..BEFORE + COUNTED {
            if sequence == BEFORE {
                log.sync()?;
                mark_counted();
            }
            log.append(1, &value(sequence, 256))?;
            if sequence % GROUP == GROUP - 1 {
                log.hand_over()?;
            }
        }
        mark_counted();
        Ok(())
    }

    fn kill(log: &mut LinuxLog<'_, '_>) -> Result<(), Error<LinuxError>> {
        for sequence in 1..=1000 {
            log.append(1, &value(sequence, 100))?;
        }
        log.hand_over()?;
        say("w 1000");
        let this = std::process::id() as libc::pid_t;
        // SAFETY: it ends this process.
        unsafe { libc::kill(this, libc::SIGKILL) };
        Ok(())
    }

    fn resume(log: &mut LinuxLog<'_, '_>) -> Result<(), Error<LinuxError>> {
        for _ in 0..3 {
            let sequence = log.last_sequence() + 1;
            let synced = log.append(1, &value(sequence, 100)).and_then(|_| log.sync());
            if let Err(error) = synced {
                in_doubt(log);
                return Err(error);
            }
            say(&format!("d {sequence}"));
        }
        log.close()
    }

    /// Appends more than the buffers hold; the last sequence.
    fn gather(log: &mut LinuxLog<'_, '_>) -> Result<u64, Error<LinuxError>> {
        for _ in 0..12 {
            let sequence = log.last_sequence() + 1;
            log.append(1, &value(sequence, 5000 + sequence as usize % 700))?;
        }
        Ok(log.last_sequence())
    }

    fn bulk(log: &mut LinuxLog<'_, '_>) -> Result<(), Error<LinuxError>> {
        for _ in 0..10 {
            let synced = gather(log).and_then(|last| log.sync().map(|()| last));
            match synced {
                Ok(last) => say(&format!("d {last}")),
                Err(error) => {
                    in_doubt(log);
                    return Err(error);
                }
            }
        }
        log.close()?;
        tell_stats(log);
        Ok(())
    }

    fn tell_stats(log: &LinuxLog<'_, '_>) {
        let stats = log.storage().files().stats();
        say(&format!("flights {}", stats.flights));
        for (refused, what) in [
            (stats.direct_refused, "direct"),
            (stats.durable_writes_refused, "durable"),
            (stats.allocate_refused, "allocate"),
            (stats.flights_refused, "flights"),
        ] {
            if refused {
                say(&format!("without {what}"));
            }
        }
    }

    /// A write that nobody waits for fails, and with it whatever comes next.
    fn limited(files: &RegionFiles<'_>) -> Result<(), LinuxError> {
        const LIMIT: u32 = 100_000;
        let segment = SegmentId(1000);
        let mut storage = LinuxStorage::new(files);
        storage.create(segment, &[1; 64])?;
        let end = 300_000;
        storage.claim_exactly(Mark { segment, end }, true)?;
        storage.write(segment, 64, &[&[7; 1000]])?;
        storage.sync(Mark { segment, end: 1064 })?;
        let limit = libc::rlimit {
            rlim_cur: LIMIT.into(),
            rlim_max: libc::RLIM_INFINITY,
        };
        // SAFETY: the limit is borrowed for the call; the signal that tells of it is not wanted.
        let limited = unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) != libc::SIG_ERR };
        // SAFETY: as above.
        let limited = limited && unsafe { libc::setrlimit(libc::RLIMIT_FSIZE, &raw const limit) } == 0;
        assert!(limited, "no limit");
        let mut written = Ok(());
        let mut at = 1064;
        while at < end && written.is_ok() {
            written = storage.write(segment, at, &[&[7; 5000]]);
            at += 5000;
        }
        let synced = storage.sync(Mark { segment, end: at });
        assert!(synced.is_err(), "synced up to {at}");
        assert!(storage.hand_over(Mark { segment, end: at }).is_err(), "handed over");
        assert!(storage.write(segment, at, &[&[7; 5000]]).is_err(), "written");
        assert!(storage.pin(segment, LIMIT - 4, LIMIT + 4).is_err(), "lent");
        assert!(storage.read(segment, LIMIT, 64, &mut [0; 64]).is_err(), "read");
        assert_eq!(*storage.pin(segment, 64, 1064)?, [7; 1000], "what was durable before");
        let stats = files.stats();
        assert!(stats.flights > 0 || stats.flights_refused || !stats.direct, "{stats:?}");
        Ok(())
    }

    fn beside(files: &RegionFiles<'_>) -> Result<(), LinuxError> {
        let segment = SegmentId(1000);
        let to = Mark { segment, end: 1064 };
        let mut one = LinuxStorage::new(files);
        one.create(segment, &[1; 64])?;
        one.write(segment, 64, &[&[7; 1000]])?;
        let mut two = one.clone();
        let begun = Barrier::new(2);
        let failed = std::thread::scope(|scope| {
            let other = scope.spawn(|| {
                // Calls are counted for each thread: from here on each has one write behind it, whoever comes first.
                two.create(SegmentId(1001), &[1; 64]).expect("it is created");
                begun.wait();
                two.hand_over(to).is_err()
            });
            begun.wait();
            [one.hand_over(to).is_err(), other.join().expect("no panic")]
        });
        assert_eq!(failed, [true; 2], "handed over");
        assert!(one.pin(segment, 64, 1064).is_err(), "lent");
        assert!(one.read(segment, 1000, 64, &mut [0; 64]).is_err(), "read");
        assert_eq!(*one.pin(segment, 0, 64)?, [1; 64]);
        Ok(())
    }

    /// A log that ends while two writes of it are on their way: the third one cannot be sent.
    fn front_ends(root: &Path, end: &str) {
        static SENT: AtomicU32 = AtomicU32::new(0);
        fn before(call: &Call<'_>) -> Result<Verdict, Errno> {
            match call {
                Call::Submit { .. } if SENT.fetch_add(1, Ordering::Relaxed) >= 2 => Err(Errno::EIO),
                Call::Write { .. } if SENT.load(Ordering::Relaxed) > 2 => Err(Errno::EIO),
                _ => Ok(Verdict::Proceed),
            }
        }
        fn before_panic(call: &Call<'_>) -> Result<Verdict, Errno> {
            let refused = before(call);
            assert!(refused.is_ok(), "no more");
            refused
        }
        const BUFFER_LEN: usize = 20 << 10;
        let options = walstone::Options::builder().write_path(walstone::WritePath::Direct);
        let options = options.buffer_len(BUFFER_LEN).build().expect("it works");
        let wal = Wal::open(root, options).expect("it opens");
        let region = wal.create_region(REGION).expect("there is room");
        region.append(1, b"durable").expect("there is room");
        watch(Watcher {
            before: if end == "panic" { before_panic } else { before },
            after: |_, _| {},
            next: |_| 0,
        });
        let closes = end == "close";
        let ended = std::thread::spawn(move || {
            let appended = region.append_with(1, &[7; 5 * BUFFER_LEN], Durability::Written);
            assert!(appended.is_err(), "{appended:?}");
            // Of two failures the first is told: no sync was asked for.
            for _ in 0..2 {
                assert_eq!(region.poisoned(), Some(PoisonCause::Write));
                let refused = region.append_with(1, b"more", Durability::Written);
                assert!(matches!(refused, Err(walstone::Error::Poisoned { .. })), "{refused:?}");
            }
            if closes {
                assert!(wal.close().is_err(), "it was poisoned");
            }
        });
        assert_eq!(ended.join().is_err(), end == "panic");
        assert!(SENT.load(Ordering::Relaxed) > 2, "two are on their way");
        say("done");
    }

    fn front(root: &Path, path: walstone::WritePath) -> walstone::Result<()> {
        let options = walstone::Options::builder().segment_len(16 << 10).write_path(path);
        let wal = Wal::open(root, options.build().expect("it works"))?;
        let region = wal.region_or_create(REGION)?;
        for step in 0..120u64 {
            if let Err(error) = front_one(&region, step) {
                if region.poisoned().is_some() {
                    let refused = region.append_with(1, b"more", Durability::Written);
                    assert!(matches!(refused, Err(walstone::Error::Poisoned { .. })), "{refused:?}");
                    let refused = region.sync();
                    assert!(matches!(refused, Err(walstone::Error::Poisoned { .. })), "{refused:?}");
                    say("poisoned");
                }
                return Err(error);
            }
        }
        wal.close()
    }

    fn front_one(region: &walstone::Region, step: u64) -> walstone::Result<()> {
        let sequence = region.last_sequence() + 1;
        let value = value(sequence, 20 + (step as usize * 131) % 1500);
        let (durability, sign) = match step % 3 {
            0 => (Durability::Durable, 'd'),
            _ => (Durability::Written, 'w'),
        };
        let last = region.append_with(1, &value, durability)?.last;
        say(&format!("{sign} {last}"));
        if step % 40 == 39 {
            region.delete_up_to(1, last - 20)?;
            region.reclaim()?;
            region.sync()?;
            say(&format!("x {}", last - 20));
        }
        Ok(())
    }

    fn mixed(log: &mut LinuxLog<'_, '_>) -> Result<(), Error<LinuxError>> {
        for step in 0..120u64 {
            if let Err(error) = one(log, step) {
                in_doubt(log);
                return Err(error);
            }
        }
        log.close()?;
        tell_stats(log);
        Ok(())
    }

    fn one(log: &mut LinuxLog<'_, '_>, step: u64) -> Result<(), Error<LinuxError>> {
        let len = 20 + (step as usize * 131) % 1500;
        let last = log.append(1, &value(log.last_sequence() + 1, len))?.last;
        if step.is_multiple_of(3) {
            log.sync()?;
            say(&format!("d {last}"));
        } else {
            log.hand_over()?;
            say(&format!("w {last}"));
        }
        if step % 40 == 39 {
            log.delete_up_to(1, last - 20)?;
            log.reclaim()?;
            log.sync()?;
            say(&format!("x {}", last - 20));
        }
        Ok(())
    }

    /// After a failed write or sync nothing more is written, and nobody is told that anything is durable.
    fn in_doubt(log: &mut LinuxLog<'_, '_>) {
        if log.poisoned().is_none() {
            return;
        }
        assert!(matches!(log.append(1, b"more"), Err(Error::Poisoned(_))));
        assert!(matches!(log.sync(), Err(Error::Poisoned(_))));
        assert!(matches!(log.hand_over(), Err(Error::Poisoned(_))));
        say("poisoned");
    }
}
