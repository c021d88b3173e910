//! The table of results.

use crate::measure::{Sample, median};
use crate::subject::Workload;

#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    /// One a round, in the order of the rounds.
    pub(crate) samples: Vec<Sample>,
}

pub(crate) fn print_head() {
    println!(
        "{:<44} {:>10} {:>12} {:>12} {:>12} {:>8} {:>7}",
        "p50 of a step, records a second", "p50 us", "per second", "min", "max", "GB/s", "ratio"
    );
}

/// Prints the rows of one workload; the first is the baseline.
pub(crate) fn print(workload: &Workload, rows: &[Row]) {
    let Some(baseline) = rows.first() else { return };
    println!("{}", workload.name);
    let records = workload.records_per_step() as f64;
    for row in rows {
        let mut p50s: Vec<f64> = row.samples.iter().map(|sample| sample.p50_ns).collect();
        let mut rates: Vec<f64> = row
            .samples
            .iter()
            .map(|sample| sample.steps_per_second * records)
            .collect();
        // Round by round, so that a round in which the machine was slow cancels out.
        let mut ratios: Vec<f64> = row
            .samples
            .iter()
            .zip(&baseline.samples)
            .map(|(sample, base)| sample.steps_per_second / base.steps_per_second)
            .collect();
        let rate = median(&mut rates);
        println!(
            "  {:<42} {:>10.3} {:>12} {:>12} {:>12} {:>8.3} {:>7.2}",
            row.name,
            median(&mut p50s) / 1000.0,
            count(rate),
            count(rates.first().copied().unwrap_or(f64::NAN)),
            count(rates.last().copied().unwrap_or(f64::NAN)),
            rate / records * workload.bytes_per_step() as f64 / 1e9,
            median(&mut ratios),
        );
    }
}

/// Three figures or more, with `k` or `M` where that is shorter.
fn count(value: f64) -> String {
    if value >= 1e6 {
        format!("{:.2} M", value / 1e6)
    } else if value >= 1e4 {
        format!("{:.1} k", value / 1e3)
    } else {
        format!("{value:.0}")
    }
}
