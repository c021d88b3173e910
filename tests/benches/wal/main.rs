//! What an append, a sync and a scan cost, next to what the machine itself asks for the same bytes.
//!
//! Every workload has a raw baseline: the plainest loop of system calls or stores that moves the same bytes with the
//! same promise. All rows of a workload run in turn, round after round, so that a slow minute of the machine hits
//! them alike; the column to look at is the ratio to the baseline of the same rounds.
//!
//! ```text
//! cargo bench -p walstone-tests --bench wal -- [--dir DIR] [--rounds N] [--quick] [FILTER]
//! ```
//!
//! `FILTER` is a part of `workload / row`. A durable row takes longer on a busy machine, so leave it alone meanwhile.

#[cfg(target_os = "linux")]
mod direct;
mod front;
mod measure;
mod medium;
mod options;
mod raw;
mod subject;
mod table;

use std::error::Error;
use std::io;
use std::process::ExitCode;

use options::Options;
use subject::{Subject, WORKLOADS};
use table::Row;

/// Who is measured. Of each workload, the first subject that takes it is its baseline.
const SUBJECTS: &[&dyn Subject] = &[
    &raw::PwriteSync,
    &raw::StoreSync,
    &raw::StoreMsync,
    &raw::Pwrite,
    &raw::StoreCrc,
    &raw::CrcScan,
    &raw::ReadScan,
    &raw::ReadCrc,
    #[cfg(target_os = "linux")]
    &direct::RawDirect,
    #[cfg(target_os = "linux")]
    &direct::RawReserved,
    #[cfg(target_os = "linux")]
    &direct::Linux,
    #[cfg(target_os = "linux")]
    &direct::Front,
    &front::Walstone,
    &front::Reopen,
    &front::Recover,
];

fn main() -> ExitCode {
    match Options::parse(std::env::args().skip(1))
        .map_err(Into::into)
        .and_then(|options| run(&options))
    {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let scratch = medium::scratch(options.dir.as_deref())?;
    println!(
        "{} rounds of {} ms a row, {} processors, in {}\n",
        options.rounds,
        options.window.as_millis(),
        std::thread::available_parallelism()?,
        scratch.path().display(),
    );
    table::print_head();
    let mut selected = false;
    for workload in WORKLOADS {
        let subjects = SUBJECTS.iter().filter(|subject| subject.takes(workload));
        let mut rows: Vec<(&dyn Subject, Row)> = subjects
            .map(|subject| {
                (
                    *subject,
                    Row {
                        name: subject.name(),
                        samples: Vec::new(),
                    },
                )
            })
            .collect();
        // One selected row brings the others along: a ratio needs the baseline of the same rounds.
        if !rows
            .iter()
            .any(|(_, row)| options.selects(&format!("{} / {}", workload.name, row.name)))
        {
            continue;
        }
        selected = true;
        for _ in 0..options.rounds {
            for (subject, row) in &mut rows {
                let place = tempfile::tempdir_in(scratch.path())?;
                let actors = subject.open(workload, place.path())?;
                row.samples.push(measure::sample(actors, workload, options.window)?);
            }
            medium::settle(scratch.path())?;
        }
        let rows: Vec<Row> = rows.into_iter().map(|(_, row)| row).collect();
        table::print(workload, &rows);
        #[cfg(target_os = "linux")]
        direct::print_amplification();
    }
    if let Some(syncs) = front::syncs_per_acknowledgement() {
        println!("\nwalstone, threads on one stream: {syncs:.3} syncs per acknowledgement");
    }
    if !selected {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the filter selects no row").into());
    }
    Ok(())
}
