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

use core::ffi::CStr;
use core::fmt::{self, Write};

use walstone_core::SegmentId;

/// The lock file of a root.
pub(crate) const LOCK: &CStr = c"LOCK";

const SEGMENT: &str = "seg_";
const TEMPORARY: &str = "tmp_";
const TEMPORARY_REGION: &str = "tmp_region_";

/// A name of the log's own, which is short, or the start of another one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Name {
    bytes: [u8; NAME_LEN],
    len: u8,
}

/// The longest of our names, `tmp_region_` and twenty digits, and its NUL.
const NAME_LEN: usize = 48;

impl Name {
    const EMPTY: Self = Self {
        bytes: [0; NAME_LEN],
        len: 0,
    };

    fn of(text: fmt::Arguments<'_>) -> Self {
        let mut name = Self::EMPTY;
        // What does not fit is cut off: names of ours fit.
        let _ = name.write_fmt(text);
        name
    }

    /// Stands for the directory itself.
    pub(crate) fn region() -> Self {
        Self::of(format_args!("its directory"))
    }

    /// The name of something that we did not name, as far as it fits.
    pub(crate) fn foreign(name: &CStr) -> Self {
        Self::of(format_args!("{}", name.to_str().unwrap_or("a name that is not UTF-8")))
    }

    /// For the kernel.
    pub(crate) fn c_str(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.bytes).unwrap_or_default()
    }

    /// For people.
    pub(crate) fn as_str(&self) -> &str {
        self.c_str().to_str().unwrap_or_default()
    }
}

impl Write for Name {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for letter in text.chars() {
            let at = usize::from(self.len);
            let end = at + letter.len_utf8();
            // The last byte stays the NUL.
            let room = self.bytes.get_mut(at..end).filter(|_| end < NAME_LEN);
            letter.encode_utf8(room.ok_or(fmt::Error)?);
            self.len = end as u8;
        }
        Ok(())
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

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

pub(crate) fn segment(id: SegmentId) -> Name {
    Name::of(format_args!("{SEGMENT}{id}"))
}

/// A name for a segment that is not whole yet; `attempt` steps past names that are taken.
pub(crate) fn temporary(id: SegmentId, attempt: u32) -> Name {
    match attempt {
        0 => Name::of(format_args!("{TEMPORARY}{id}")),
        _ => Name::of(format_args!("{TEMPORARY}{id}_{attempt}")),
    }
}

pub(crate) fn region(region: u64) -> Name {
    Name::of(format_args!("{region}"))
}

pub(crate) fn temporary_region(region: u64) -> Name {
    Name::of(format_args!("{TEMPORARY_REGION}{region}"))
}

pub(crate) fn in_region(name: &CStr, is_dir: bool) -> InRegion {
    let Some(name) = name.to_str().ok().filter(|_| !is_dir) else {
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

pub(crate) fn in_root(name: &CStr, is_dir: bool) -> InRoot {
    if !is_dir {
        return if name == LOCK { InRoot::Lock } else { InRoot::Foreign };
    }
    let Ok(name) = name.to_str() else {
        return InRoot::Foreign;
    };
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

/// Numbers that names spell in another way than we do: two for one number are refused, and so are more than a person
/// could have made by accident.
#[derive(Debug, Default)]
pub(crate) struct Misspelled(heapless::Vec<u64, 32>);

/// Why a listing is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    TwoNames(u64),
    TooMany,
}

impl Misspelled {
    pub(crate) fn add(&mut self, number: u64) -> Result<(), Refused> {
        if self.0.contains(&number) {
            return Err(Refused::TwoNames(number));
        }
        self.0.push(number).map_err(|_| Refused::TooMany)
    }

    pub(crate) fn numbers(&self) -> &[u64] {
        &self.0
    }
}

/// A number for a leftover, by which the next listing finds it again: FNV-1a of its name.
pub(crate) fn slot(name: &CStr) -> u32 {
    name.to_bytes().iter().fold(0x811c_9dc5, |hash: u32, byte| {
        (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_number_has_one_name() {
        let check = |name: &CStr, expect| assert_eq!(in_region(name, false), expect, "{name:?}");
        check(c"seg_0", InRegion::Segment(SegmentId(0)));
        check(c"seg_18446744073709551615", InRegion::Segment(SegmentId(u64::MAX)));
        check(c"seg_007", InRegion::Misspelled(SegmentId(7)));
        check(c"seg_00", InRegion::Misspelled(SegmentId(0)));
        check(c"seg_18446744073709551616", InRegion::Foreign);
        check(c"seg_", InRegion::Foreign);
        check(c"seg_x", InRegion::Foreign);
        check(c"seg_+1", InRegion::Foreign);
        check(c"tmp_7", InRegion::Leftover);
        check(c"segment_1.wal", InRegion::Foreign);
        assert_eq!(in_region(c"seg_1", true), InRegion::Foreign);
    }

    #[test]
    fn names_of_a_root() {
        let check = |name: &CStr, is_dir, expect| assert_eq!(in_root(name, is_dir), expect, "{name:?}");
        check(c"7", true, InRoot::Region(7));
        check(c"07", true, InRoot::Misspelled(7));
        check(c"7", false, InRoot::Foreign);
        check(c"LOCK", false, InRoot::Lock);
        check(c"tmp_region_7", true, InRoot::Leftover(7));
        check(c"tmp_region_07", true, InRoot::Foreign);
        check(c"lost+found", true, InRoot::Foreign);
    }

    #[test]
    fn what_is_written_is_read() {
        for number in [0, 42, u64::MAX] {
            let id = SegmentId(number);
            assert_eq!(in_region(segment(id).c_str(), false), InRegion::Segment(id));
            for attempt in [0, 1, u32::MAX] {
                assert_eq!(in_region(temporary(id, attempt).c_str(), false), InRegion::Leftover);
            }
            assert_eq!(in_root(region(number).c_str(), true), InRoot::Region(number));
            assert_eq!(
                in_root(temporary_region(number).c_str(), true),
                InRoot::Leftover(number)
            );
        }
        assert_eq!(
            temporary(SegmentId(u64::MAX), u32::MAX).as_str(),
            "tmp_18446744073709551615_4294967295"
        );
    }

    #[test]
    fn a_long_foreign_name_is_cut_off() {
        let long = c"a-name-that-somebody-else-chose-and-that-is-longer-than-ours";
        assert_eq!(Name::foreign(long).as_str(), &long.to_str().unwrap()[..47]);
    }
}
