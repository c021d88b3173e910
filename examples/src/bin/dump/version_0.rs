//! A HoraeDB log.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;

use walstone_core::v0::Layout;
use walstone_examples::arguments::Failure;
use walstone_examples::horaedb::Root;
use walstone_examples::listing;

/// Lists regions, segments and tables; gives what does not hold.
pub(crate) fn summary(path: &Path, out: &mut impl Write) -> Result<Vec<String>, Failure> {
    let root = Root::list(path)?;
    writeln!(out, "{}: version 0 (HoraeDB)", path.display())?;
    for path in &root.foreign {
        writeln!(out, "foreign: {}", path.display())?;
    }
    let mut damage = Vec::new();
    for region in &root.regions {
        let mut tables = BTreeMap::new();
        let facts = region.walk::<io::Error>(
            |record| {
                let (count, _, last) = tables.entry(record.table).or_insert((0u64, record.sequence, 0));
                *count += 1;
                *last = record.sequence;
                Ok(())
            },
            |found| damage.push(found.to_string()),
        )?;
        writeln!(out, "region {}", region.id)?;
        for (segment, facts) in region.segments.iter().zip(facts) {
            let layout = match segment.layout {
                Layout::First => "first layout",
                Layout::Final => "final layout",
            };
            let (id, records) = (segment.id, facts.records);
            writeln!(
                out,
                "  segment {id}: {layout}, {} of {} bytes, {records} records",
                facts.end, facts.len
            )?;
        }
        for (table, (count, first, last)) in tables {
            writeln!(out, "  table {table}: {count} records, sequences {first} to {last}")?;
        }
    }
    Ok(damage)
}

/// Lists the records; gives what does not hold.
pub(crate) fn records(path: &Path, out: &mut impl Write) -> Result<Vec<String>, Failure> {
    let mut damage = Vec::new();
    for region in &Root::list(path)?.regions {
        region.walk::<io::Error>(
            |record| listing::record(out, region.id, record.table, record.sequence, None, record.value),
            |found| damage.push(found.to_string()),
        )?;
    }
    Ok(damage)
}
