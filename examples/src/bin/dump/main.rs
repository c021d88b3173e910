//! Lists and verifies a root of either version, or the log in a copy of a device's bytes. Reads only: no lock, no byte, name or time stamp changes, and a
//! writer may be at work.
//!
//! ```text
//! dump [--records [--by-index]] [--flash] ROOT
//! ```
//!
//! `--records` lists each live record as `region table sequence value`, the value in hex, with `index=N` before the
//! value where the record has one; `--by-index` prints the index in place of the sequence, so that an imported log
//! compares with what it was imported from. With `--flash` ROOT is a file that holds the bytes of flash, EEPROM, FRAM or a
//! card; how it is cut is found on it. Damage goes to the standard error, with its place. Exit code: 0 sound,
//! 1 damaged, 2 not readable at all.

mod flash;
mod image;
mod unread;
mod version_0;
mod version_1;

use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use walstone::Error;
use walstone_examples::arguments::{Argument, Arguments, Failure, end, unknown};

const USAGE: &str = "usage: dump [--records [--by-index]] [--flash] ROOT";

fn main() -> ExitCode {
    match Command::parse().and_then(|command| dump(&command)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(failure) => end("dump", &failure),
    }
}

struct Command {
    root: PathBuf,
    records: bool,
    by_index: bool,
    flash: bool,
}

impl Command {
    fn parse() -> Result<Self, Failure> {
        let (mut root, mut records, mut by_index, mut flash) = (None, false, false, false);
        for argument in Arguments::of_process() {
            match argument {
                Argument::Option(name) => match name.as_str() {
                    "--records" => records = true,
                    "--by-index" => by_index = true,
                    "--flash" => flash = true,
                    _ => return Err(unknown(&name, USAGE)),
                },
                Argument::Operand(path) if root.is_none() => root = Some(path.into()),
                Argument::Operand(_) => return Err(USAGE.into()),
            }
        }
        Ok(Self {
            root: root.ok_or(USAGE)?,
            records,
            by_index,
            flash,
        })
    }
}

/// Whether the root is sound.
fn dump(command: &Command) -> Result<bool, Failure> {
    let mut out = BufWriter::new(io::stdout().lock());
    let damage = if command.flash {
        flash::dump(&command.root, command.records, command.by_index, &mut out)?
    } else {
        match version_1::Look::settled(&command.root) {
            Ok(look) if command.records => look.records(&mut out, command.by_index)?,
            Ok(look) => look.summary(&mut out)?,
            Err(Error::Version0 { path }) if command.records => version_0::records(&path, &mut out)?,
            Err(Error::Version0 { path }) => version_0::summary(&path, &mut out)?,
            Err(error) => return Err(error.into()),
        }
    };
    out.flush()?;
    for damage in &damage {
        eprintln!("damage: {damage}");
    }
    Ok(damage.is_empty())
}
