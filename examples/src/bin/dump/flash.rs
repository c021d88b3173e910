//! A log in the bytes of a flat device: flash, EEPROM, FRAM, a card.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::Path;

use walstone_core::flat::{DeviceGeometry, FlatCapacity, FlatStorage, find_header};
use walstone_core::{Capacity, Error, Log, Options, Tail};
use walstone_examples::arguments::Failure;
use walstone_examples::listing;

use crate::image::Image;

/// Lists the log, or with `records` its records; gives what does not hold.
pub(crate) fn dump(path: &Path, records: bool, by_index: bool, out: &mut impl Write) -> Result<Vec<String>, Failure> {
    let file = File::open(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let len = u32::try_from(file.metadata()?.len()).map_err(|_| "longer than a device can be")?;
    // How the device was cut is found in the first header, wherever that stands.
    let mut image = Image::new(file, DeviceGeometry::without_erase(len));
    let header = find_header(&mut image)?.ok_or("no segment header in it")?;
    let (device, slot_len) = DeviceGeometry::of_segments(header.geometry, len);
    let slots = (len / slot_len) as usize;
    let storage = FlatStorage::open(image.with_geometry(device), slot_len, FlatCapacity::heap(slots, 4096))?;
    let capacity = Capacity::heap(header.geometry.segment_len() as usize);
    let mut log = match Log::open_read_only(storage, capacity, Options::new(header.region, 0)) {
        Ok(log) => log,
        Err(Error::Corrupt(corruption)) => return Ok(vec![corruption.to_string()]),
        Err(error) => return Err(error.into()),
    };

    let report = log.report();
    if !records {
        let tail = match report.tail {
            Tail::New | Tail::Closed => "closed".to_owned(),
            Tail::Clean => "not closed".to_owned(),
            Tail::Torn { offset, bytes } => format!("not closed, torn at {offset} ({bytes} bytes)"),
        };
        writeln!(
            out,
            "{}: version 1 (walstone), {slots} slots of {slot_len} bytes",
            path.display()
        )?;
        writeln!(out, "{}", header.geometry)?;
        writeln!(
            out,
            "region {}: {} segments, newest {}, last sequence {}, {tail}",
            header.region, report.segments, report.newest, report.last_sequence,
        )?;
    }
    let (mut tables, mut damage) = (BTreeMap::<u64, (u64, u64, u64)>::new(), Vec::new());
    let mut reads = log.read(None, ..);
    while let Some(record) = reads.next() {
        let record = match record {
            Ok(record) => record,
            Err(error) => {
                damage.push(error.to_string());
                continue;
            }
        };
        if records {
            let (sequence, index) = match record.index {
                Some(index) if by_index => (index, None),
                index => (record.sequence, index),
            };
            listing::record(out, header.region, record.table, sequence, index, record.value)?;
        } else {
            let facts = tables.entry(record.table).or_insert((0, record.sequence, 0));
            *facts = (facts.0 + 1, facts.1, record.sequence);
        }
    }
    for (table, (count, first, last)) in tables {
        writeln!(out, "  table {table}: {count} records, sequences {first} to {last}")?;
    }
    Ok(damage)
}
