//! Writes a log through `walstone-linux`, to be watched, broken and killed by strace: for the tests `durability` and
//! `faults` of the target `linux`. `traced <root> <buffered|direct> <what>`:
//!
//! - `durable`: many durable appends; what is to be counted stands between two calls of `getppid`.
//! - `written`: groups of appends, each handed over; the same.
//! - `kill`: appends, hands over, then kills itself.
//! - `beside`: two handles hand over the same bytes, and are to fail both.
//! - `mixed`: durable and written appends, deletions, rotations; tells each acknowledgement on a line of its own, `w` or
//!   `d` and the sequence, and ends with `done`, or with `failed` at the first error. After one it looks whether the log
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
    use std::io::Write;

    use walstone_core::{Capacity, Checksum, Error, Geometry, Log, Mark, Options, SegmentId, SharedStorage, Storage};
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
        let path = match path.as_str() {
            "direct" => WritePath::Direct,
            _ => WritePath::Buffered,
        };
        let segment_len = if what == "mixed" { 16 << 10 } else { 8 << 20 };
        let root = CString::new(root.as_str()).expect("no NUL");
        let run = |files: &RegionFiles<'_>| -> Result<(), Error<LinuxError>> {
            if what == "beside" {
                beside(files).map_err(Error::Storage)?;
                return Ok(());
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
        match all() {
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

    fn beside(files: &RegionFiles<'_>) -> Result<(), LinuxError> {
        let segment = SegmentId(1000);
        let to = Mark { segment, end: 1064 };
        let mut one = LinuxStorage::new(files);
        one.create(segment, &[1; 64])?;
        one.write(segment, 64, &[&[7; 1000]])?;
        let mut two = one.clone();
        let failed = std::thread::scope(|scope| {
            let other = scope.spawn(|| two.hand_over(to).is_err());
            [one.hand_over(to).is_err(), other.join().expect("no panic")]
        });
        assert_eq!(failed, [true; 2], "handed over");
        assert!(one.pin(segment, 64, 1064).is_err(), "lent");
        assert!(one.read(segment, 1000, 64, &mut [0; 64]).is_err(), "read");
        assert_eq!(*one.pin(segment, 0, 64)?, [1; 64]);
        Ok(())
    }

    fn mixed(log: &mut LinuxLog<'_, '_>) -> Result<(), Error<LinuxError>> {
        for step in 0..120u64 {
            if let Err(error) = one(log, step) {
                in_doubt(log);
                return Err(error);
            }
        }
        log.close()
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
