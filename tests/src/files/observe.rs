//! Opening a root, and reading everything in it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use walstone::{Error, View, Wal};

use super::expect::Broken;
use super::front;
use super::life::Setup;
use super::recorder::Recorder;
use super::step::Step;
use crate::crash::model::{Record, Seen};

/// Opens the root for writing or reading; the `nth` open has its own entropy.
///
/// # Errors
/// [`Broken`].
pub(super) fn open(
    root: &Path,
    setup: Setup,
    nth: u64,
    recorder: &Arc<Recorder>,
    read_only: bool,
) -> Result<Wal, Broken> {
    let options = setup
        .options()
        .max_open_segments(2)
        .seed(nth.wrapping_mul(0x9e37_79b9_7f4a_7c15))
        .observer(recorder.clone())
        .build()
        .expect("these options work");
    let wal = if read_only {
        Wal::open_read_only(root, options)
    } else {
        Wal::open(root, options)
    };
    let wal = wal.map_err(|error| Broken::Open(error.to_string()))?;
    if let Some((region, error)) = wal.report().failed.first() {
        return Err(Broken::Region(*region, error.to_string()));
    }
    if let Some(path) = wal.report().foreign.first() {
        return Err(Broken::Foreign(path.display().to_string()));
    }
    Ok(wal)
}

/// What an open for reading shows in the root below `base`; it must change nothing.
///
/// # Errors
/// [`Broken`].
pub fn observe_read_only(setup: Setup, base: &Path) -> Result<BTreeMap<u64, Seen>, Broken> {
    let root = base.join("wal");
    if !root.exists() {
        return Ok(BTreeMap::new());
    }
    let recorder = Recorder::new(base, true);
    let seen = observe(&open(&root, setup, 0, &recorder, true)?)?;
    let opens = |step: &Step| matches!(step, Step::Open { create: false, .. });
    if recorder.steps().iter().all(opens) {
        Ok(seen)
    } else {
        Err(Broken::ReadOnlyChanged)
    }
}

/// Everything in all regions.
///
/// # Errors
/// [`Broken`].
pub(super) fn observe(wal: &Wal) -> Result<BTreeMap<u64, Seen>, Broken> {
    let mut seen = BTreeMap::new();
    for id in wal.regions() {
        let failed = |error: Error| Broken::Read(id, error.to_string());
        let region = wal.region(id).map_err(failed)?;
        let records = read(id, &region.view().map_err(failed)?)?;
        let last = region.last_sequence();
        seen.insert(id, Seen { last, records });
    }
    Ok(seen)
}

/// Everything in a region, read in two ways.
///
/// # Errors
/// [`Broken::Read`].
pub(super) fn read(region: u64, view: &View) -> Result<Vec<Record>, Broken> {
    let failed = |error: Error| Broken::Read(region, error.to_string());
    let mut records = Vec::new();
    front::scan(view, &mut records).map_err(failed)?;
    match front::table_that_differs(view, &records).map_err(failed)? {
        None => Ok(records),
        Some(table) => Err(Broken::Read(region, format!("table {table} differs"))),
    }
}
