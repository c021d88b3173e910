//! Runs the program `traced` under strace, and looks at what it left behind.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use walstone_core::{Capacity, Checksum, Geometry, Log, Options};
use walstone_linux::{LinuxStorage, Memory, WritePath};

use crate::place::{REGION, open, skipped};
use crate::processes::run as run_program;

/// Whether processes can be traced here; says so if not.
pub(crate) fn is_traceable() -> bool {
    let traced = run_program(Command::new("strace").args(["-qq", "-o", "/dev/null", "true"]));
    let traceable = traced.as_ref().is_ok_and(|output| output.status.success());
    if !traceable {
        skipped(&format!("cannot trace here: {traced:?}"), &["WALSTONE_REQUIRE_TOOLS"]);
    }
    traceable
}

/// What strace is told to break. None: only to watch.
pub(crate) fn run(root: &Path, path: WritePath, what: &str, inject: Option<&str>) -> (Output, String) {
    let trace = root.with_extension("trace");
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-o"]).arg(&trace);
    if let Some(inject) = inject {
        command.args(["-e", &format!("inject={inject}")]);
    }
    command.arg(env!("CARGO_BIN_EXE_traced")).arg(root).arg(match path {
        WritePath::Direct => "direct",
        _ => "buffered",
    });
    let output = run_program(command.arg(what)).unwrap();
    (output, fs::read_to_string(&trace).unwrap())
}

/// The calls between the two marks, by name.
pub(crate) fn counted(trace: &str) -> BTreeMap<String, u64> {
    let lines = trace
        .lines()
        .map(|line| line.split_once(' ').unwrap_or_default().1.trim_start());
    let between = lines.skip_while(|line| !line.starts_with("getppid(")).skip(1);
    let mut calls = BTreeMap::new();
    let mut ended = false;
    for line in between {
        if line.starts_with("getppid(") {
            ended = true;
            break;
        }
        *calls
            .entry(line.split('(').next().unwrap_or_default().to_owned())
            .or_default() += 1;
    }
    assert!(ended, "there is a second mark");
    calls
}

/// What a run acknowledged.
#[derive(Debug, Default)]
pub(crate) struct Told {
    pub(crate) acknowledged: u64,
    pub(crate) deleted: u64,
    pub(crate) done: bool,
    pub(crate) poisoned: bool,
    /// Writes that were not waited for.
    pub(crate) flights: u64,
    /// What had to be done without.
    pub(crate) without: Vec<String>,
}

pub(crate) fn told(output: &Output) -> Told {
    let mut told = Told::default();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        match line.split_once(' ') {
            Some(("w" | "d", sequence)) => told.acknowledged = sequence.parse().unwrap(),
            Some(("x", sequence)) => told.deleted = sequence.parse().unwrap(),
            Some(("flights", count)) => told.flights = count.parse().unwrap(),
            Some(("without", what)) => told.without.push(what.to_owned()),
            _ if line == "done" => told.done = true,
            _ if line == "poisoned" => told.poisoned = true,
            _ => {}
        }
    }
    told
}

/// Opens what a run left; the sequences that it holds, whose values are what was appended.
pub(crate) fn recovered(root: &Path, path: WritePath, segment_len: u32) -> Vec<u64> {
    let root = open(root).unwrap();
    let geometry = Geometry::new(segment_len).unwrap();
    let files = root.region(REGION, geometry, path, Memory::default()).unwrap();
    let options = Options {
        checksum: Checksum::BYTEWISE,
        ..Options::new(REGION, 43)
    };
    let mut log = Log::open(LinuxStorage::new(&files), Capacity::heap(8192), options).unwrap();
    let mut found = Vec::new();
    let mut records = log.read(Some(1), ..);
    while let Some(record) = records.next() {
        let record = record.unwrap();
        let expect = (0..record.value.len()).map(|at| (record.sequence as usize * 7 + at) as u8);
        assert!(
            record.value.iter().copied().eq(expect),
            "the value of {}",
            record.sequence
        );
        found.push(record.sequence);
    }
    // It goes on.
    log.append(2, b"after").unwrap();
    log.sync().unwrap();
    log.close().unwrap();
    found
}
