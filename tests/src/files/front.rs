//! The oracle's changes and records as the std backend takes and shows them.

use walstone::{Appended, Durability, Region, Result, View};

use crate::crash::log::batch;
use crate::crash::model::{Change, Record};

/// Appends `changes` as one batch; nothing where it only deletes.
///
/// # Errors
/// Those of the append.
pub fn append(region: &Region, changes: &[Change], durability: Durability) -> Result<Option<Appended>> {
    match *changes {
        [Change::Put(table, value)] => region.append_with(table, &value.bytes(), durability).map(Some),
        [Change::DeleteUpTo(table, to)] => region.delete_up_to_with(table, to, durability).map(|()| None),
        [Change::TruncateFrom(table, from)] => region.truncate_from_with(table, from, durability).map(|()| None),
        _ => region.append_batch_with(&batch(changes), durability).map(Some),
    }
}

/// Takes down everything in a view; up to the error, where one ends it.
///
/// # Errors
/// Those of reading.
pub fn scan(view: &View, records: &mut Vec<Record>) -> Result<()> {
    view.scan().try_for_each(|record| {
        records.push(record?.into());
        Ok(())
    })
}

/// Whether reading each table shows what reading all did; the table that does not.
///
/// # Errors
/// Those of reading.
pub fn table_that_differs(view: &View, records: &[Record]) -> Result<Option<u64>> {
    for table in [1, 2] {
        let shown: Vec<Record> = view
            .read(table, ..)
            .map(|record| record.map(Record::from))
            .collect::<Result<_>>()?;
        if !shown.iter().eq(records.iter().filter(|record| record.table == table)) {
            return Ok(Some(table));
        }
    }
    Ok(None)
}
