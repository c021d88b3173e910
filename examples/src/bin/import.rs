//! Copies a HoraeDB log, version 0 in either layout, into a new walstone root.
//!
//! ```text
//! import [--skip-invalid] [--segment-len BYTES] FROM TO
//! ```
//!
//! Regions, tables and values stay as they are, each value with the version byte that HoraeDB put in front. The log
//! gives sequences of its own; the old ones become the records' indexes. All of FROM is verified before anything is
//! written, and TO appears under its name only when everything in it is durable. Invalid bytes behind the last record
//! of a region may be a write that was torn, or damage, which the format cannot tell apart: they are refused
//! unless `--skip-invalid` is given.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use walstone::{Batch, Durability, NewRecord, Options, Wal};
use walstone_core::segment::layout::Layout;
use walstone_examples::arguments::{Argument, Arguments, Failure, end, unknown};
use walstone_examples::horaedb::{Reason, Region, Root};

const USAGE: &str = "usage: import [--skip-invalid] [--segment-len BYTES] FROM TO";
/// Bytes that are gathered before they are appended.
const BATCH_LEN: usize = 256 << 10;
/// Bytes in front of a value in its batch, at most: its length, the table, the flags, the index.
const RECORD_HEAD_LEN: usize = 5 + 10 + 1 + 10;

fn main() -> ExitCode {
    match Command::parse().and_then(|command| import(&command)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => end("import", &failure),
    }
}

struct Command {
    from: PathBuf,
    to: PathBuf,
    skip_invalid: bool,
    options: Options,
}

impl Command {
    fn parse() -> Result<Self, Failure> {
        let mut arguments = Arguments::of_process();
        let (mut operands, mut skip_invalid, mut options) = (Vec::new(), false, Options::builder());
        while let Some(argument) = arguments.next() {
            match argument {
                Argument::Option(name) if name == "--skip-invalid" => skip_invalid = true,
                Argument::Option(name) if name == "--segment-len" => {
                    options = options.segment_len(arguments.parsed(&name)?);
                }
                Argument::Option(name) => return Err(unknown(&name, USAGE)),
                Argument::Operand(operand) => operands.push(PathBuf::from(operand)),
            }
        }
        let [from, to] = <[PathBuf; 2]>::try_from(operands).map_err(|_| USAGE)?;
        Ok(Self {
            from,
            to,
            skip_invalid,
            options: options.build()?,
        })
    }
}

fn import(command: &Command) -> Result<(), Failure> {
    let root = Root::list(&command.from)?;
    if root.regions.iter().all(|region| region.segments.is_empty()) {
        return Err(format!("{}: no HoraeDB log", command.from.display()).into());
    }
    for path in &root.foreign {
        eprintln!("not of the log, left out: {}", path.display());
    }
    verify(command, &root)?;

    let building = building_path(&command.to)?;
    let wal = Wal::open(&building, command.options.clone())?;
    for region in &root.regions {
        let (records, sequences) = copy(region, &wal)?;
        match sequences {
            Some((first, last)) => println!("region {}: {records} records, indexes {first} to {last}", region.id),
            None => println!("region {}: no records", region.id),
        }
    }
    wal.close()?;
    drop(wal);
    let named = |error: io::Error| format!("{}: {error}", command.to.display());
    fs::rename(&building, &command.to).map_err(named)?;
    let above = command.to.parent().filter(|above| !above.as_os_str().is_empty());
    File::open(above.unwrap_or(Path::new(".")))
        .and_then(|above| above.sync_all())
        .map_err(named)?;
    Ok(())
}

/// Reads everything once, so that nothing is written of a log that cannot be copied whole.
fn verify(command: &Command, root: &Root) -> Result<(), Failure> {
    let (mut refused, mut skipped) = (0, false);
    for region in &root.regions {
        region.walk::<io::Error>(
            |_| Ok(()),
            |damage| {
                eprintln!("{damage}");
                if damage.newest && matches!(damage.reason, Reason::Invalid(_)) {
                    skipped = true;
                } else {
                    refused += 1;
                }
            },
        )?;
    }
    if refused > 0 {
        return Err(format!("{}: damaged; nothing was written", command.from.display()).into());
    }
    if skipped && !command.skip_invalid {
        return Err("invalid bytes behind the last records, see above; --skip-invalid leaves them out".into());
    }
    Ok(())
}

/// Where the new root is built, beside its final name. Refuses what is there already.
fn building_path(to: &Path) -> Result<PathBuf, Failure> {
    let named = |error: io::Error| format!("{}: {error}", to.display());
    match fs::read_dir(to) {
        Ok(mut entries) => {
            if entries.next().is_some() {
                return Err(format!("{} is not empty", to.display()).into());
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(named(error).into()),
    }
    let name = to
        .file_name()
        .ok_or_else(|| format!("{}: no name for a directory", to.display()))?;
    let mut building = name.to_owned();
    building.push(".importing");
    let building = to.with_file_name(building);
    if building.exists() {
        return Err(format!(
            "{} is left of an import that was interrupted: remove it",
            building.display()
        )
        .into());
    }
    Ok(building)
}

/// Copies one region; says how many records, and the first and last old sequence.
fn copy(from: &Region, wal: &Wal) -> Result<(u64, Option<(u64, u64)>), Failure> {
    let to = wal.create_region(from.id)?;
    let max_value_len = Layout::new(to.report().geometry).max_payload_len() as usize - RECORD_HEAD_LEN;
    let batch_len = BATCH_LEN.min(max_value_len);
    let (mut records, mut sequences) = (0, None);
    let mut batch = Batch::new();
    // Written is enough: closing makes it durable, and only then does the root get its name.
    let append = |batch: &mut Batch<'_>| -> Result<(), Failure> {
        if !batch.is_empty() {
            to.append_batch_with(batch, Durability::Written)?;
            batch.clear();
        }
        Ok(())
    };
    from.walk::<Failure>(
        |record| {
            if record.value.len() > max_value_len {
                return Err(format!(
                    "region {}: the value of sequence {} has {} bytes, at most {max_value_len} fit: give a larger \
                     --segment-len",
                    from.id,
                    record.sequence,
                    record.value.len()
                )
                .into());
            }
            if batch.payload_len() + record.value.len() + RECORD_HEAD_LEN > batch_len {
                append(&mut batch)?;
            }
            batch.push_record(&NewRecord {
                index: Some(record.sequence),
                ..NewRecord::new(record.table, record.value)
            });
            records += 1;
            let (first, _) = sequences.unwrap_or((record.sequence, 0));
            sequences = Some((first, record.sequence));
            Ok(())
        },
        // Told by the verification before.
        |_| {},
    )?;
    append(&mut batch)?;
    Ok((records, sequences))
}
