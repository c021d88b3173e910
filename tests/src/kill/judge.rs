//! The parent: what must be there, from what the children said.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use walstone::{Options, Wal};

use super::end::Ending;
use super::line::{Line, Task, Value};
use super::{SEGMENT_LEN, THREADS};

/// What a region holds: by sequence, the table and the value.
type Live = BTreeMap<u64, (u64, Value)>;

/// A region, and the last sequence that was acknowledged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Region {
    live: Live,
    last: u64,
}

/// How a round went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Tasks that the child said were acknowledged.
    pub acknowledged: u64,
    /// It was killed, and did not come to its end.
    pub was_killed: bool,
    /// Tasks that were under way, and are there.
    pub survived: u64,
}

/// Knows what a root must hold.
#[derive(Debug)]
pub struct Judge {
    program: PathBuf,
    root: PathBuf,
    regions: BTreeMap<u64, Region>,
    lives: u32,
}

/// One life of a child, as it told of it.
#[derive(Debug, Default)]
struct Told {
    under_way: [Option<Task>; THREADS as usize],
    acknowledged: u64,
}

impl Judge {
    /// For a root that is not there yet; `program` is the one that [`super::work`]s when its first argument is
    /// `kill-child`.
    #[must_use]
    pub fn new(program: &Path, root: &Path) -> Self {
        Self {
            program: program.into(),
            root: root.into(),
            regions: BTreeMap::new(),
            lives: 0,
        }
    }

    /// Lets a child append until it ends, then opens the root and compares.
    ///
    /// # Errors
    /// What differs.
    pub fn round(&mut self, seed: u64, ending: &Ending) -> Result<Outcome, String> {
        self.lives += 1;
        let mut told = Told::default();
        let was_killed = self.watch(seed, ending, &mut told)?;
        let found = self.look()?;
        let survived = self.settle(&told, &found)?;
        self.compare(&found)?;
        self.go_on()?;
        Ok(Outcome {
            acknowledged: told.acknowledged,
            was_killed,
            survived,
        })
    }

    /// Whether the child was killed.
    fn watch(&mut self, seed: u64, ending: &Ending, told: &mut Told) -> Result<bool, String> {
        let mut command = match ending {
            Ending::SystemCall { name, nth } => {
                let mut command = Command::new("strace");
                let inject = format!("inject={name}:signal=KILL:when={nth}");
                command
                    .args(["-f", "-o", "/dev/null", "-e", &inject])
                    .arg(&self.program);
                command
            }
            _ => Command::new(&self.program),
        };
        command.arg("kill-child").arg(&self.root);
        command.args([self.lives.to_string(), seed.to_string(), ending.argument()]);
        let mut child = command
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("{command:?}: {error}"))?;
        let lines = BufReader::new(child.stdout.take().ok_or("no pipe")?).lines();
        for line in lines {
            let line = line.map_err(|error| error.to_string())?;
            self.hear(line.parse()?, told)?;
            if *ending == Ending::Killed(told.acknowledged) {
                let _ = child.kill();
            }
        }
        let status = child.wait().map_err(|error| error.to_string())?;
        // `strace` ends as what it traced did.
        match (status.signal(), status.success()) {
            (Some(9), _) => Ok(true),
            (None, true) => Ok(false),
            _ => Err(format!("the child ended with {status}")),
        }
    }

    fn hear(&mut self, line: Line, told: &mut Told) -> Result<(), String> {
        match line {
            Line::Begin(thread, task) => told.under_way[thread as usize] = Some(task),
            Line::End(thread, first) => {
                let task = told.under_way[thread as usize]
                    .take()
                    .ok_or("an end without a beginning")?;
                told.acknowledged += 1;
                self.apply(thread, task, first)?;
            }
        }
        Ok(())
    }

    /// A task is done: from now on this must be there.
    fn apply(&mut self, thread: u32, task: Task, first: u64) -> Result<(), String> {
        match task {
            Task::Put {
                region,
                number,
                count,
                delete_to,
            } => {
                let table = u64::from(thread);
                let life = self.lives;
                let region = self.regions.get_mut(&region).ok_or("an append to no region")?;
                region.live.retain(|&at, &mut (of, _)| of != table || at > delete_to);
                for (at, number) in (number..number + count).enumerate() {
                    let sequence = first + at as u64;
                    let value = Value { life, thread, number };
                    if region.live.insert(sequence, (table, value)).is_some() {
                        return Err(format!("sequence {sequence} was given twice"));
                    }
                    region.last = region.last.max(sequence);
                }
            }
            Task::Make(region) => drop(self.regions.entry(region).or_default()),
            Task::Remove(region) => drop(self.regions.remove(&region)),
            Task::Keep => {}
        }
        Ok(())
    }

    fn open(&self) -> Result<Wal, String> {
        let options = super::written(Options::builder())
            .segment_len(SEGMENT_LEN)
            .build()
            .map_err(|error| error.to_string())?;
        let wal = Wal::open(&self.root, options).map_err(|error| format!("the root does not open: {error}"))?;
        match wal.report().failed.first() {
            Some((region, error)) => Err(format!("region {region} does not open: {error}")),
            None => Ok(wal),
        }
    }

    /// What is there.
    fn look(&self) -> Result<BTreeMap<u64, Region>, String> {
        let wal = self.open()?;
        let mut found = BTreeMap::new();
        for id in wal.regions() {
            let region = wal.region(id).map_err(|error| error.to_string())?;
            let view = region.view().map_err(|error| error.to_string())?;
            let mut live = Live::new();
            for record in view.scan() {
                let record = record.map_err(|error| format!("region {id}: {error}"))?;
                let value = Value::parse(record.value).ok_or("a value that nobody appended")?;
                if live.insert(record.sequence, (record.table, value)).is_some() {
                    return Err(format!("sequence {} is there twice", record.sequence));
                }
            }
            let last = region.last_sequence();
            found.insert(id, Region { live, last });
        }
        Ok(found)
    }

    /// Takes in what was under way: it is there as a whole, or not at all.
    fn settle(&mut self, told: &Told, found: &BTreeMap<u64, Region>) -> Result<u64, String> {
        let mut survived = 0;
        let under_way = told.under_way.iter().enumerate();
        // A region that was being made is there before anything else in it can be.
        let (makes, others): (Vec<_>, Vec<_>) = under_way.partition(|(_, task)| matches!(task, Some(Task::Make(_))));
        for (thread, task) in makes.into_iter().chain(others) {
            let Some(task) = *task else { continue };
            let thread = thread as u32;
            let first = match task {
                Task::Put { region, number, .. } => {
                    let value = Value {
                        life: self.lives,
                        thread,
                        number,
                    };
                    let live = found.get(&region).map(|region| &region.live);
                    live.and_then(|live| live.iter().find(|(_, (_, of))| *of == value))
                        .map(|(&at, _)| at)
                }
                Task::Make(region) => found.contains_key(&region).then_some(0),
                Task::Remove(region) => (!found.contains_key(&region)).then_some(0),
                Task::Keep => None,
            };
            if let Some(first) = first {
                survived += 1;
                self.apply(thread, task, first)?;
            }
        }
        Ok(survived)
    }

    fn compare(&mut self, found: &BTreeMap<u64, Region>) -> Result<(), String> {
        if !found.keys().eq(self.regions.keys()) {
            let expected: Vec<_> = self.regions.keys().collect();
            return Err(format!("regions {:?}, not {expected:?}", found.keys()));
        }
        for (id, expected) in &self.regions {
            let found = &found[id];
            if found.live != expected.live {
                let lost = expected
                    .live
                    .iter()
                    .find(|(at, record)| found.live.get(at) != Some(record));
                let foreign = found
                    .live
                    .iter()
                    .find(|(at, record)| expected.live.get(at) != Some(record));
                return Err(format!(
                    "region {id}: lost {lost:?}, found {foreign:?} in its place or beside it"
                ));
            }
            if found.last < expected.last {
                return Err(format!(
                    "region {id}: sequences went back from {} to {}",
                    expected.last, found.last
                ));
            }
        }
        Ok(())
    }

    /// The root takes appends again.
    fn go_on(&mut self) -> Result<(), String> {
        let wal = self.open()?;
        let (life, thread) = (self.lives, THREADS);
        for (id, region) in &mut self.regions {
            let value = Value {
                life,
                thread,
                number: 0,
            };
            let handle = wal.region(*id).map_err(|error| error.to_string())?;
            let first = handle
                .append(thread.into(), &value.bytes())
                .map_err(|error| error.to_string())?
                .first;
            if first <= region.last {
                return Err(format!("region {id}: sequence {first} was given before"));
            }
            region.live.insert(first, (thread.into(), value));
            region.last = first;
        }
        // Every other child finds a log that was closed.
        if life.is_multiple_of(2) {
            wal.close().map_err(|error| error.to_string())?;
        }
        Ok(())
    }
}
