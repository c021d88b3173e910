//! How far the reading is: a bar on a terminal while it goes on, a line of figures at the end.

use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Counters that the appenders bump and the bar shows.
#[derive(Debug)]
pub(crate) struct Progress {
    held: u64,
    len: Option<u64>,
    begun: Instant,
    bytes: AtomicU64,
    lines: AtomicU64,
    ended: Mutex<bool>,
    end: Condvar,
}

impl Progress {
    /// `held`: lines in the log already; `len`: bytes of the input, where they are known.
    pub(crate) fn new(held: u64, len: Option<u64>) -> Self {
        Self {
            held,
            len,
            begun: Instant::now(),
            bytes: AtomicU64::new(0),
            lines: AtomicU64::new(0),
            ended: Mutex::new(false),
            end: Condvar::new(),
        }
    }

    /// The input was read up to here.
    pub(crate) fn read_to(&self, bytes: u64) {
        self.bytes.store(bytes, Ordering::Relaxed);
    }

    /// One more line was acknowledged.
    pub(crate) fn acknowledged(&self) {
        self.lines.fetch_add(1, Ordering::Relaxed);
    }

    /// Draws the bar ten times a second until [`Progress::end`], if there is a terminal to draw on.
    pub(crate) fn show(&self) {
        if !io::stderr().is_terminal() {
            return;
        }
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        while !*ended {
            let _ = write!(io::stderr(), "\r\x1b[2K{}", self.bar());
            let waited = self.end.wait_timeout(ended, Duration::from_millis(100));
            ended = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        let _ = write!(io::stderr(), "\r\x1b[2K");
    }

    /// Ends the bar.
    pub(crate) fn end(&self) {
        *self.ended.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.end.notify_all();
    }

    fn bar(&self) -> String {
        const WIDTH: u64 = 30;
        let lines = self.lines.load(Ordering::Relaxed);
        let rate = self.rate(lines);
        let Some(len) = self.len.filter(|&len| len > 0) else {
            return format!("{lines} lines  {rate:.0} lines/s");
        };
        // A file may grow while it is read.
        let bytes = self.bytes.load(Ordering::Relaxed).min(len);
        let full = |of: u64| (u128::from(bytes) * u128::from(of) / u128::from(len)) as usize;
        let bar = "#".repeat(full(WIDTH));
        format!("[{bar:.<30}] {:3}%  {lines} lines  {rate:.0} lines/s", full(100))
    }

    fn rate(&self, lines: u64) -> f64 {
        lines as f64 / self.begun.elapsed().as_secs_f64().max(1e-9)
    }

    /// Prints what was done. `syncs`: how many syncs served the appends.
    pub(crate) fn summary(&self, syncs: u64, root: &Path, region: u64) {
        let lines = self.lines.load(Ordering::Relaxed);
        let place = format!("{}, region {region}", root.display());
        let skipped = self.held;
        if lines == 0 {
            eprintln!("0 lines appended, {skipped} skipped; {place}");
            return;
        }
        let rate = self.rate(lines);
        let groups = match syncs {
            0 => "no sync".to_owned(),
            syncs => format!("{:.1} lines a sync", lines as f64 / syncs as f64),
        };
        eprintln!("{lines} lines appended, {skipped} skipped; {rate:.0} lines/s, {groups}; {place}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(len: Option<u64>, bytes: u64, bar: &str) {
        let progress = Progress::new(0, len);
        progress.read_to(bytes);
        let drawn = progress.bar();
        assert!(drawn.starts_with(bar), "{drawn}");
    }

    #[test]
    fn the_bar_follows_the_bytes() {
        check(Some(100), 0, "[..............................]   0%  0 lines");
        check(Some(100), 50, "[###############...............]  50%");
        check(Some(100), 150, "[##############################] 100%");
        check(Some(0), 0, "0 lines");
        check(None, 7, "0 lines");
    }
}
