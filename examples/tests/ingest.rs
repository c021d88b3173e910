//! The program `ingest` from outside: killed at any moment it loses no acknowledged line and repeats none.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use walstone::{Durability, NewRecord, Options, Wal};

/// A generator of numbers that look random, the same in every run.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % below
    }
}

fn ingest(root: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ingest"));
    command.arg("--root").arg(root);
    command
}

fn run(command: &mut Command) -> Output {
    command.stdin(Stdio::null()).output().unwrap()
}

#[track_caller]
fn succeeds(command: &mut Command) -> Output {
    let output = run(command);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output
}

/// Runs with a file and expects a refusal that says so.
#[track_caller]
fn refuses(root: &Path, file: &Path, input: &[u8], words: &str) {
    fs::write(file, input).unwrap();
    let output = run(ingest(root).arg(file));
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains(words), "{said}");
}

#[track_caller]
fn reads(root: &Path, input: &[u8]) {
    let output = succeeds(ingest(root).arg("--read"));
    assert!(
        output.stdout == input,
        "{} bytes came back of {}",
        output.stdout.len(),
        input.len()
    );
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// The numbers of the lines in the log, each once and with the right content.
fn held(root: &Path, lines: &[&[u8]]) -> BTreeSet<u64> {
    let mut held = BTreeSet::new();
    let wal = match Wal::open_read_only(root, Options::default()) {
        // Killed before there was a directory.
        Err(_) if !root.exists() => return held,
        wal => wal.unwrap(),
    };
    assert!(wal.report().failed.is_empty(), "{:?}", wal.report().failed);
    let Ok(region) = wal.region(1) else { return held };
    let view = region.view().unwrap();
    for record in view.scan() {
        let record = record.unwrap();
        let number = record.index.unwrap();
        assert_eq!(record.value, lines[number as usize - 1], "line {number}");
        assert!(held.insert(number), "line {number} is there twice");
    }
    held
}

fn kill_again_and_again(durability: &str, seed: u64) {
    let dir = tempfile::tempdir().unwrap();
    let (root, file) = (dir.path().join("root"), dir.path().join("input"));
    let mut numbers = Numbers(seed);
    let mut input = Vec::new();
    let mut acknowledged = BTreeSet::new();
    // Small segments, so that many kills meet a rotation.
    let start = |file: &Path| {
        let mut command = ingest(&root);
        command
            .args(["--segment-len", "16384", "--threads", "4", "--durability", durability])
            .arg(file);
        command
    };
    for _ in 0..20 {
        for _ in 0..1 + numbers.next(200) {
            let len = numbers.next(120);
            input.extend((0..len).map(|_| numbers.next(256) as u8).filter(|&byte| byte != b'\n'));
            input.push(b'\n');
        }
        fs::write(&file, &input).unwrap();
        let lines: Vec<_> = input.split_inclusive(|&byte| byte == b'\n').collect();

        let before = held(&root, &lines).len() as u64;
        let missing = lines.len() as u64 - before;
        let mut child = start(&file)
            .arg("--acks")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let kill_after = numbers.next(missing + 1);
        let mut acks = BufReader::new(child.stdout.take().unwrap());
        let mut told = 0;
        loop {
            if told == kill_after {
                child.kill().unwrap();
            }
            // What it told before it died still stands in the pipe.
            let mut ack = String::new();
            acks.read_line(&mut ack).unwrap();
            let Some(number) = ack.strip_suffix('\n') else { break };
            let number = number.parse().unwrap();
            assert!(acknowledged.insert(number), "line {number} was appended twice");
            told += 1;
        }
        let output = child.wait_with_output().unwrap();
        assert!(
            output.status.code().is_none_or(|code| code == 0),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );

        let held = held(&root, &lines);
        assert!(
            acknowledged.is_subset(&held),
            "lost: {:?}",
            acknowledged.difference(&held)
        );
        // A line that was appended and not told of before the kill is skipped as well as one that was.
        acknowledged = held;
    }
    // The last line has no end.
    input.extend_from_slice(b"the end");
    fs::write(&file, &input).unwrap();
    succeeds(&mut start(&file));
    reads(&root, &input);
    let again = succeeds(&mut start(&file));
    let said = String::from_utf8_lossy(&again.stderr);
    assert!(said.starts_with("0 lines appended, "), "{said}");
    reads(&root, &input);
}

#[test]
fn killed_at_any_moment_durable_lines_stay() {
    kill_again_and_again("durable", 0x5eed);
}

#[test]
fn killed_at_any_moment_written_lines_stay() {
    kill_again_and_again("written", 0xacc);
}

/// A log that holds these lines, as appenders may have left it that were killed.
fn leave(root: &Path, lines: &[(u64, &[u8])]) {
    let wal = Wal::open(root, Options::default()).unwrap();
    let region = wal.region_or_create(1).unwrap();
    for &(number, line) in lines {
        let record = NewRecord {
            index: Some(number),
            ..NewRecord::new(1, line)
        };
        region.append_record_with(&record, Durability::Written).unwrap();
    }
    wal.close().unwrap();
}

#[test]
fn exactly_the_missing_lines_are_appended() {
    let dir = tempfile::tempdir().unwrap();
    let (root, file) = (dir.path().join("root"), dir.path().join("input"));
    leave(&root, &[(5, b"five\n"), (2, b"two\n"), (3, b"two\n")]);
    let output = succeeds(ingest(&root).arg("--read"));
    assert_eq!(output.stdout, b"two\ntwo\nfive\n");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("line 1 is not there yet"), "{said}");

    let input = b"one\ntwo\ntwo\nfour\nfive\nsix\n";
    fs::write(&file, input).unwrap();
    let output = succeeds(ingest(&root).arg("--acks").arg(&file));
    let mut acks: Vec<_> = output.stdout.split_inclusive(|&byte| byte == b'\n').collect();
    acks.sort_unstable();
    assert_eq!(acks, [b"1\n", b"4\n", b"6\n"]);
    reads(&root, input);
}

#[test]
fn a_log_that_is_none_of_lines_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (twice, other, file) = (
        dir.path().join("twice"),
        dir.path().join("other"),
        dir.path().join("input"),
    );
    leave(&twice, &[(1, b"one\n"), (2, b"two\n"), (1, b"one\n")]);
    refuses(&twice, &file, b"one\ntwo\n", "the log holds line 1 twice");
    leave(&other, &[(0, b"one\n")]);
    refuses(&other, &file, b"one\n", "record 1 is not a line");
}

#[test]
fn any_bytes_come_back() {
    let inputs: [&[u8]; 7] = [
        b"",
        b"\n",
        b"no end",
        b"\n\n\none\r\n\r\ntwo\r\n",
        b"\xff\xfe\x00\n\x80\n\xc3\x28",
        b"a\rb\n\x00\n\x1b[2K\n",
        "gr\u{fc}\u{df}e\n".as_bytes(),
    ];
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    for (region, input) in (1..).zip(inputs) {
        let file = dir.path().join("input");
        fs::write(&file, input).unwrap();
        let region = format!("{region}");
        succeeds(ingest(&root).args(["--region", &region]).arg(&file));
        let output = succeeds(ingest(&root).args(["--read", "--region", &region]));
        assert_eq!(output.stdout, input, "region {region}");
    }
}

#[test]
fn the_standard_input_is_an_input() {
    let dir = tempfile::tempdir().unwrap();
    for input in ["one\ntwo\n", "one\ntwo\nthree"] {
        let mut child = ingest(dir.path())
            .stdin(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success());
        reads(dir.path(), input.as_bytes());
    }
}

#[test]
fn another_input_is_refused_with_the_line() {
    let dir = tempfile::tempdir().unwrap();
    let (root, file) = (dir.path().join("root"), dir.path().join("input"));
    let input = b"one\ntwo\nthree\nend";
    fs::write(&file, input).unwrap();
    let output = succeeds(ingest(&root).arg(&file));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.starts_with("4 lines appended, 0 skipped; "), "{said}");

    refuses(
        &root,
        &file,
        b"one\nTwo\nthree\nend",
        "line 2 is not the one that the log holds",
    );
    refuses(
        &root,
        &file,
        b"one\ntwo\nthree\nend of it\nmore\n",
        "line 4 is not the one that the log holds",
    );
    refuses(
        &root,
        &file,
        b"one\ntwo\n",
        "the input ends behind line 2, and the log holds line 4",
    );
    refuses(
        &root,
        &file,
        b"",
        "the input ends behind line 0, and the log holds line 4",
    );
    reads(&root, input);
}

#[test]
fn a_line_that_fits_no_segment_is_refused_with_the_line() {
    let dir = tempfile::tempdir().unwrap();
    let (root, file) = (dir.path().join("root"), dir.path().join("input"));
    let refused = run(ingest(&root).args(["--segment-len", "16384"]).arg({
        fs::write(&file, [b"one\n".as_slice(), &[b'x'; 16384]].concat()).unwrap();
        &file
    }));
    let said = String::from_utf8(refused.stderr).unwrap();
    let max = said
        .split_once("line 2 is longer than ")
        .unwrap()
        .1
        .split_once(" bytes")
        .unwrap()
        .0;
    let max: usize = max.parse().unwrap();
    reads(&root, b"one\n");

    // Nor is its rest a line for the next thread that asks, which was so in one run of ten.
    for round in 0..50 {
        let root = dir.path().join(round.to_string());
        let refused = run(ingest(&root).args(["--segment-len", "16384"]).arg(&file));
        assert_eq!(refused.status.code(), Some(2));
        reads(&root, b"one\n");
    }

    let longest = vec![b'x'; max];
    refuses(
        &root,
        &file,
        &[b"one\n".as_slice(), &longest, b"\n"].concat(),
        "line 2 is longer than",
    );
    let input = [b"one\n".as_slice(), &longest[1..], b"\ntwo"].concat();
    fs::write(&file, &input).unwrap();
    succeeds(ingest(&root).arg(&file));
    reads(&root, &input);
}

#[test]
fn without_an_input_no_log_is_made() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    for arguments in [
        &["missing"][..],
        &["--threads", "0"],
        &["--no"],
        &["--read"],
        &["a", "b"],
    ] {
        let output = run(ingest(&root).args(arguments));
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(!root.exists(), "{arguments:?}");
    }
}
