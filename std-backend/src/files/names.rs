//! Names in a root and in a region directory: what is of the log, what was left over, what is foreign.
//!
//! ```text
//! <root>/LOCK
//! <root>/<region>/seg_<id>            a segment: whole, its header durable before it had this name
//! <root>/<region>/tmp_<id>[_<n>]      an interrupted create
//! <root>/tmp_region_<region>          an interrupted create or remove of a region
//! ```
//!
//! Numbers are decimal without leading zeros, so that one number has one name.

use std::ffi::OsStr;

use walstone_core::SegmentId;

/// The lock file of a root.
pub(crate) const LOCK: &str = "LOCK";

const SEGMENT: &str = "seg_";
const TEMPORARY: &str = "tmp_";
const TEMPORARY_REGION: &str = "tmp_region_";

/// What a name in a region directory says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InRegion {
    Segment(SegmentId),
    /// Spells this number in another way than we do.
    Misspelled(SegmentId),
    Leftover,
    Foreign,
}

/// What a name in a root says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InRoot {
    Region(u64),
    /// Spells this number in another way than we do.
    Misspelled(u64),
    /// A region that was being made or removed.
    Leftover(u64),
    Lock,
    Foreign,
}

pub(crate) fn segment(id: SegmentId) -> String {
    format!("{SEGMENT}{id}")
}

/// A name for a segment that is not whole yet; `attempt` steps past names that are taken.
pub(crate) fn temporary(id: SegmentId, attempt: u32) -> String {
    match attempt {
        0 => format!("{TEMPORARY}{id}"),
        _ => format!("{TEMPORARY}{id}_{attempt}"),
    }
}

pub(crate) fn region(region: u64) -> String {
    region.to_string()
}

pub(crate) fn temporary_region(region: u64) -> String {
    format!("{TEMPORARY_REGION}{region}")
}

pub(crate) fn in_region(name: &OsStr, is_dir: bool) -> InRegion {
    let Some(name) = name.to_str().filter(|_| !is_dir) else {
        return InRegion::Foreign;
    };
    if name.starts_with(TEMPORARY) {
        return InRegion::Leftover;
    }
    match name.strip_prefix(SEGMENT).and_then(number) {
        Some((id, true)) => InRegion::Segment(SegmentId(id)),
        Some((id, false)) => InRegion::Misspelled(SegmentId(id)),
        None => InRegion::Foreign,
    }
}

pub(crate) fn in_root(name: &OsStr, is_dir: bool) -> InRoot {
    let Some(name) = name.to_str() else {
        return InRoot::Foreign;
    };
    if !is_dir {
        return if name == LOCK { InRoot::Lock } else { InRoot::Foreign };
    }
    if let Some((region, true)) = name.strip_prefix(TEMPORARY_REGION).and_then(number) {
        return InRoot::Leftover(region);
    }
    match number(name) {
        Some((region, true)) => InRoot::Region(region),
        Some((region, false)) => InRoot::Misspelled(region),
        None => InRoot::Foreign,
    }
}

/// A decimal number, and whether it is spelled as we do.
fn number(text: &str) -> Option<(u64, bool)> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number = text.parse().ok()?;
    Some((number, text == "0" || !text.starts_with('0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_number_has_one_name() {
        let check = |name: &str, expect| assert_eq!(in_region(OsStr::new(name), false), expect, "{name}");
        check("seg_0", InRegion::Segment(SegmentId(0)));
        check("seg_18446744073709551615", InRegion::Segment(SegmentId(u64::MAX)));
        check("seg_007", InRegion::Misspelled(SegmentId(7)));
        check("seg_00", InRegion::Misspelled(SegmentId(0)));
        check("seg_18446744073709551616", InRegion::Foreign);
        check("seg_", InRegion::Foreign);
        check("seg_x", InRegion::Foreign);
        check("seg_+1", InRegion::Foreign);
        check("tmp_7", InRegion::Leftover);
        check("segment_1.wal", InRegion::Foreign);
        assert_eq!(in_region(OsStr::new("seg_1"), true), InRegion::Foreign);
    }

    #[test]
    fn names_of_a_root() {
        let check = |name: &str, is_dir, expect| assert_eq!(in_root(OsStr::new(name), is_dir), expect, "{name}");
        check("7", true, InRoot::Region(7));
        check("07", true, InRoot::Misspelled(7));
        check("7", false, InRoot::Foreign);
        check("LOCK", false, InRoot::Lock);
        check("tmp_region_7", true, InRoot::Leftover(7));
        check("tmp_region_07", true, InRoot::Foreign);
        check("lost+found", true, InRoot::Foreign);
    }

    #[test]
    fn what_is_written_is_read() {
        let id = SegmentId(42);
        assert_eq!(in_region(OsStr::new(&segment(id)), false), InRegion::Segment(id));
        for attempt in 0..2 {
            let name = temporary(id, attempt);
            assert_eq!(in_region(OsStr::new(&name), false), InRegion::Leftover, "{name}");
        }
        assert_eq!(in_root(OsStr::new(&region(42)), true), InRoot::Region(42));
        assert_eq!(in_root(OsStr::new(&temporary_region(42)), true), InRoot::Leftover(42));
    }
}
