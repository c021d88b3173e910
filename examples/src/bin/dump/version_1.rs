//! A walstone log.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;

use walstone::{Error, Options, RegionStats, Report, SegmentState, Stats, Tail, View, Wal};
use walstone_examples::listing;

use crate::unread;

/// How often a log with damage is looked at anew: a writer may be removing what is being read.
const LOOKS: usize = 5;

/// One look at a log: what a later pass prints was read, and is held, by the first.
pub(crate) struct Look {
    wal: Wal,
    regions: Vec<RegionLook>,
    /// Without the regions whose segments cannot be listed for damage.
    stats: Stats,
    damage: Vec<String>,
}

struct RegionLook {
    report: Report,
    view: View,
    tables: BTreeMap<u64, Table>,
}

#[derive(Clone, Copy, Default)]
struct Table {
    records: u64,
    sequences: Option<(u64, u64)>,
    indexes: Option<(u64, u64)>,
}

impl Look {
    /// Looks until nothing is damaged, or damage stays.
    pub(crate) fn settled(root: &Path) -> Result<Self, Error> {
        let mut look = Self::once(root)?;
        for _ in 1..LOOKS {
            if look.damage.is_empty() {
                break;
            }
            std::thread::yield_now();
            look = Self::once(root)?;
        }
        Ok(look)
    }

    fn once(root: &Path) -> Result<Self, Error> {
        let wal = Wal::open_read_only(root, Options::default())?;
        let mut look = Self {
            regions: Vec::new(),
            stats: Stats::default(),
            damage: Vec::new(),
            wal,
        };
        for (region, error) in &look.wal.report().failed {
            look.damage.push(told(*region, error));
        }
        for report in look.wal.report().regions.clone() {
            let view = look.wal.region(report.region)?.view()?;
            let mut tables = BTreeMap::<u64, Table>::new();
            for record in view.scan() {
                match record {
                    Ok(record) => tables
                        .entry(record.table)
                        .or_default()
                        .count(record.sequence, record.index),
                    Err(error) => look.damage.push(told(report.region, &error)),
                }
            }
            look.regions.push(RegionLook { report, view, tables });
        }
        // Where this fails the scan has told why, unless a segment went away between the two.
        look.stats = look.wal.stats()?;
        for stats in &look.stats.regions {
            unread::verify(root, stats, &mut look.damage);
        }
        Ok(look)
    }

    /// Lists regions, segments and tables; gives what does not hold.
    pub(crate) fn summary(self, out: &mut impl Write) -> io::Result<Vec<String>> {
        writeln!(out, "{}: version 1 (walstone)", self.wal.path().display())?;
        let report = self.wal.report();
        for path in &report.foreign {
            writeln!(out, "foreign: {}", path.display())?;
        }
        for region in &report.leftovers {
            writeln!(
                out,
                "leftover: region {region}, whose making or removal was interrupted"
            )?;
        }
        for (region, _) in &report.failed {
            writeln!(out, "region {region}: does not open")?;
        }
        for region in &self.regions {
            let stats = &self.stats.regions;
            region.summary(stats.iter().find(|stats| stats.region == region.report.region), out)?;
        }
        Ok(self.damage)
    }

    /// Lists the records; gives what does not hold.
    pub(crate) fn records(self, out: &mut impl Write, by_index: bool) -> io::Result<Vec<String>> {
        for region in &self.regions {
            // What could not be read was told by the first pass.
            for record in region.view.scan().flatten() {
                let (sequence, index) = match record.index {
                    Some(index) if by_index => (index, None),
                    index => (record.sequence, index),
                };
                listing::record(out, region.report.region, record.table, sequence, index, record.value)?;
            }
        }
        Ok(self.damage)
    }
}

impl RegionLook {
    fn summary(&self, stats: Option<&RegionStats>, out: &mut impl Write) -> io::Result<()> {
        let report = &self.report;
        let tail = match report.tail {
            Tail::New | Tail::Closed => "closed".to_owned(),
            Tail::Clean => "not closed".to_owned(),
            Tail::Torn { offset, bytes } => format!("not closed, torn at {offset} ({bytes} bytes)"),
        };
        writeln!(
            out,
            "region {}: {} segments of {} bytes, newest {}, last sequence {}, {tail}",
            report.region,
            report.segments,
            report.geometry.segment_len(),
            report.newest,
            report.last_sequence,
        )?;
        if let Some(stats) = stats {
            if stats.deleted_ranges > 0 {
                writeln!(out, "  {} deleted ranges", stats.deleted_ranges)?;
            }
            for segment in &stats.segments {
                let state = match segment.state {
                    SegmentState::Active => "active",
                    SegmentState::Sealed => "sealed",
                    _ => "ended",
                };
                let (id, bytes, records) = (segment.id, segment.bytes, segment.records);
                writeln!(out, "  segment {id}: {state}, {bytes} bytes, {records} records")?;
            }
        }
        for (table, facts) in &self.tables {
            write!(out, "  table {table}: {} records", facts.records)?;
            if let Some((first, last)) = facts.sequences {
                write!(out, ", sequences {first} to {last}")?;
            }
            if let Some((least, most)) = facts.indexes {
                write!(out, ", indexes {least} to {most}")?;
            }
            writeln!(out)?;
        }
        Ok(())
    }
}

impl Table {
    fn count(&mut self, sequence: u64, index: Option<u64>) {
        self.records += 1;
        for (range, number) in [(&mut self.sequences, Some(sequence)), (&mut self.indexes, index)] {
            if let Some(number) = number {
                let (least, most) = range.unwrap_or((number, number));
                *range = Some((least.min(number), most.max(number)));
            }
        }
    }
}

fn told(region: u64, error: &Error) -> String {
    match error {
        Error::Corrupt { corruption, .. } => format!("region {region}: {corruption}"),
        error => format!("region {region}: {error}"),
    }
}
