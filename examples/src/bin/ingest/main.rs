//! Reads a file or the standard input line by line into a region, from several threads, each line acknowledged.
//!
//! ```text
//! ingest [--root DIR] [--region N] [--threads N] [--durability written|durable] [--segment-len BYTES] [--acks] [FILE]
//! ingest --read [--root DIR] [--region N]
//! ```
//!
//! A record is one line with its end, and its index is the number of the line: the threads' lines come to stand in
//! any order. Killed at any moment, it goes on where it was with the same command: it reads the input from the
//! start, compares the lines that the log holds and appends exactly the others. An input that is not the one it was
//! is refused. `--acks` prints the number of each line to the standard output once it is acknowledged; `--read`
//! prints the lines in order. The root is `target/ingest` in the current directory unless given, and the region 1.

mod held;
mod progress;
mod source;

use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::{fs, thread};

use walstone::{Durability, NewRecord, Options, Region, Wal};
use walstone_examples::arguments::{Argument, Arguments, Failure, end, unknown};

use held::Held;
use progress::Progress;
use source::Source;

const USAGE: &str = "usage: ingest [--root DIR] [--region N] [--threads N] [--durability written|durable] \
                     [--segment-len BYTES] [--acks] [FILE]\n       ingest --read [--root DIR] [--region N]";
/// The table of the lines.
const LINES: u64 = 1;

fn main() -> ExitCode {
    let result = Command::parse().and_then(|command| if command.read { read(&command) } else { ingest(&command) });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => end("ingest", &failure),
    }
}

struct Command {
    root: PathBuf,
    region: u64,
    threads: usize,
    durability: Durability,
    segment_len: Option<u32>,
    acks: bool,
    read: bool,
    file: Option<PathBuf>,
}

impl Command {
    fn parse() -> Result<Self, Failure> {
        let mut command = Self {
            root: PathBuf::from("target/ingest"),
            region: 1,
            threads: 32,
            durability: Durability::Durable,
            segment_len: None,
            acks: false,
            read: false,
            file: None,
        };
        let mut arguments = Arguments::of_process();
        while let Some(argument) = arguments.next() {
            match argument {
                Argument::Option(name) => match name.as_str() {
                    "--root" => command.root = arguments.value(&name)?.into(),
                    "--region" => command.region = arguments.parsed(&name)?,
                    "--threads" => command.threads = arguments.parsed(&name)?,
                    "--segment-len" => command.segment_len = Some(arguments.parsed(&name)?),
                    "--acks" => command.acks = true,
                    "--read" => command.read = true,
                    "--durability" => {
                        command.durability = match arguments.parsed::<String>(&name)?.as_str() {
                            "written" => Durability::Written,
                            "durable" => Durability::Durable,
                            other => return Err(format!("--durability {other}: neither written nor durable").into()),
                        }
                    }
                    _ => return Err(unknown(&name, USAGE)),
                },
                Argument::Operand(file) if command.file.is_none() => command.file = Some(file.into()),
                Argument::Operand(_) => return Err(format!("more than one file\n{USAGE}").into()),
            }
        }
        if command.threads == 0 {
            return Err("--threads 0: at least one thread appends".into());
        }
        if command.read && command.file.is_some() {
            return Err(format!("--read takes no file\n{USAGE}").into());
        }
        Ok(command)
    }

    fn options(&self) -> Result<Options, Failure> {
        let mut options = Options::builder().durability(self.durability);
        if let Some(segment_len) = self.segment_len {
            options = options.segment_len(segment_len);
        }
        Ok(options.build()?)
    }

    /// The input, and its length where it is a file.
    fn input(&self) -> Result<(Box<dyn BufRead + Send>, Option<u64>), Failure> {
        match self.file.as_deref() {
            None => Ok((Box::new(BufReader::new(io::stdin())), None)),
            Some(path) if path == Path::new("-") => Ok((Box::new(BufReader::new(io::stdin())), None)),
            Some(path) => {
                let named = |error| format!("{}: {error}", path.display());
                let file = fs::File::open(path).map_err(named)?;
                let metadata = file.metadata().map_err(named)?;
                if metadata.is_dir() {
                    return Err(format!("{}: a directory", path.display()).into());
                }
                let len = metadata.is_file().then_some(metadata.len());
                Ok((Box::new(BufReader::with_capacity(1 << 16, file)), len))
            }
        }
    }
}

/// Appends the lines that the log does not hold.
fn ingest(command: &Command) -> Result<(), Failure> {
    // The input first: where there is none, no log is made.
    let (input, len) = command.input()?;
    let wal = Wal::open(&command.root, command.options()?)?;
    let region = wal.region_or_create(command.region)?;
    let view = region.view()?;
    let held = Held::of(&view)?;
    let progress = Progress::new(held.count(), len);
    let source = Mutex::new(Source::new(
        input,
        &held,
        source::max_line_len(region.report().geometry),
    ));
    let outcome = append_all(command, &region, &source, &progress);
    drop(source);
    let syncs = region.counters().syncs;
    wal.close()?;
    outcome?;
    progress.summary(syncs, &command.root, command.region);
    Ok(())
}

fn append_all(
    command: &Command,
    region: &Region,
    source: &Mutex<Source<'_>>,
    progress: &Progress,
) -> Result<(), Failure> {
    thread::scope(|scope| {
        let bar = scope.spawn(|| progress.show());
        let appenders: Vec<_> = (0..command.threads)
            .map(|_| {
                scope.spawn(|| {
                    let result = append_some(command, region, source, progress);
                    if result.is_err() {
                        lock(source).stop();
                    }
                    result
                })
            })
            .collect();
        let results = appenders.into_iter().map(|appender| match appender.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        // All of them end before the first failure is told.
        let results: Vec<_> = results.collect();
        progress.end();
        let _ = bar.join();
        results.into_iter().collect()
    })
}

/// What one thread does: takes the next line that the log does not hold, appends it, says so.
fn append_some(
    command: &Command,
    region: &Region,
    source: &Mutex<Source<'_>>,
    progress: &Progress,
) -> Result<(), Failure> {
    let mut line = Vec::new();
    loop {
        let next = {
            let mut source = lock(source);
            let next = source.next(&mut line)?;
            progress.read_to(source.bytes());
            next
        };
        let Some(number) = next else { return Ok(()) };
        let record = NewRecord {
            index: Some(number),
            ..NewRecord::new(LINES, &line)
        };
        region
            .append_record_with(&record, command.durability)
            .map_err(|error| format!("line {number}: {error}"))?;
        progress.acknowledged();
        if command.acks {
            // One write of a whole line: a reader sees it even if this process dies right behind it.
            io::stdout()
                .write_all(format!("{number}\n").as_bytes())
                .map_err(|error| format!("cannot tell of line {number}: {error}"))?;
        }
    }
}

fn lock<'a, 'h>(source: &'a Mutex<Source<'h>>) -> MutexGuard<'a, Source<'h>> {
    source.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Prints the lines that the log holds, in order.
fn read(command: &Command) -> Result<(), Failure> {
    let wal = Wal::open_read_only(&command.root, command.options()?)?;
    let view = wal.region(command.region)?.view()?;
    let held = Held::of(&view)?;
    let mut out = BufWriter::new(io::stdout().lock());
    for (_, line) in held.lines() {
        out.write_all(line)?;
    }
    out.flush()?;
    if let Some(missing) = held.first_gap() {
        eprintln!("ingest: line {missing} is not there yet, later ones are: run ingest again with the same input");
    }
    Ok(())
}
