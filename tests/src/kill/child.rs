//! The process that is killed.

use std::path::Path;
use std::sync::Arc;
use std::thread;

use walstone::{Batch, Durability, Error, Options, Region, Wal};

use super::end::Killer;
use super::line::{Line, Task, Value};
use super::{OWN, Random, SEGMENT_LEN, SHARED, THREADS};

/// Tasks of each thread; then the child ends by itself.
const TASKS: u32 = 60;

/// Appends to the root until it is killed: `work <root> <life> <seed> <ending>`.
///
/// # Errors
/// Which argument is wrong.
///
/// # Panics
/// Where the log refuses.
pub fn work(arguments: &[String]) -> Result<(), String> {
    let [root, life, seed, ending] = arguments else {
        return Err("a child wants root, life, seed, ending".into());
    };
    let number = |text: &String| text.parse::<u64>().map_err(|error| format!("{text}: {error}"));
    let (life, seed) = (number(life)? as u32, number(seed)?);
    let killer: Killer = ending.parse()?;
    let options = super::written(Options::builder())
        .segment_len(SEGMENT_LEN)
        .max_open_segments(3)
        .observer(Arc::new(killer))
        .build()
        .expect("they work");
    let wal = Wal::open(Path::new(root), options).expect("what a dead process left opens");
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let worker = Worker {
                wal: wal.clone(),
                life,
                thread,
                random: Random::new(seed ^ u64::from(thread) << 32),
                number: 0,
            };
            scope.spawn(move || worker.run());
        }
    });
    // Every other child leaves without a word.
    if seed.is_multiple_of(2) {
        Line::Begin(0, Task::Keep).tell();
        wal.close().expect("nothing failed");
        Line::End(0, 0).tell();
    }
    Ok(())
}

struct Worker {
    wal: Wal,
    life: u32,
    thread: u32,
    random: Random,
    number: u32,
}

impl Worker {
    fn run(mut self) {
        let shared = self.shared();
        for _ in 0..TASKS {
            match self.random.below(if self.thread == 0 { 12 } else { 9 }) {
                0 => self.keep(|| shared.reclaim()),
                1 => self.keep(|| shared.sync()),
                9 => self.make_or_remove(),
                10 | 11 => self.append_to_own(),
                kind => self.append(&shared, kind == 2),
            }
        }
    }

    /// The region that all threads use; whoever comes first makes it.
    fn shared(&self) -> Region {
        Line::Begin(self.thread, Task::Make(SHARED)).tell();
        let region = self.wal.region_or_create(SHARED).expect("the region is sound");
        Line::End(self.thread, 0).tell();
        region
    }

    fn keep(&self, act: impl FnOnce() -> walstone::Result<()>) {
        Line::Begin(self.thread, Task::Keep).tell();
        act().expect("nothing failed");
        Line::End(self.thread, 0).tell();
    }

    fn append(&mut self, region: &Region, deletes: bool) {
        let table = u64::from(self.thread);
        let count = 1 + self.random.below(3) as u32;
        let delete_to = if deletes { region.last_sequence() } else { 0 };
        let task = Task::Put {
            region: region.id(),
            number: self.number,
            count,
            delete_to,
        };
        let mut batch = Batch::new();
        if deletes {
            batch.delete_up_to(table, delete_to);
        }
        for number in self.number..self.number + count {
            let (life, thread) = (self.life, self.thread);
            batch.push(table, &Value { life, thread, number }.bytes());
        }
        self.number += count;
        let durability = match self.random.below(3) {
            0 => Durability::Durable,
            _ => Durability::Written,
        };
        Line::Begin(self.thread, task).tell();
        let appended = region.append_batch_with(&batch, durability).expect("nothing failed");
        Line::End(self.thread, appended.first).tell();
    }

    fn append_to_own(&mut self) {
        match self.wal.region(OWN) {
            Ok(region) => self.append(&region, false),
            Err(Error::NoRegion { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }

    fn make_or_remove(&self) {
        let is_there = self.wal.regions().contains(&OWN);
        let task = if is_there { Task::Remove(OWN) } else { Task::Make(OWN) };
        Line::Begin(self.thread, task).tell();
        match task {
            Task::Remove(_) => self.wal.remove_region(OWN).expect("nothing failed"),
            _ => drop(self.wal.create_region(OWN).expect("nothing failed")),
        }
        Line::End(self.thread, 0).tell();
    }
}
