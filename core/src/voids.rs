//! Which sequences of which table are dead: a sorted set of disjoint ranges.

use crate::capacity::List;
use crate::record::Void;

/// Disjoint ranges, sorted by table and start, no two of a table touching.
#[derive(Debug)]
pub(crate) struct Voids<'w> {
    list: List<'w, Void>,
}

/// Where a range goes, and which ranges it swallows.
struct Merge {
    at: usize,
    swallowed: usize,
    merged: Void,
}

/// Whether one of the sorted, disjoint ranges holds `sequence` of `table`.
#[cfg_attr(feature = "alloc", inline)]
pub(crate) fn covers(voids: &[Void], table: u64, sequence: u64) -> bool {
    if voids.is_empty() {
        return false;
    }
    holding(voids, table, sequence).is_some()
}

/// The one of the sorted, disjoint ranges that holds `sequence` of `table`.
#[cfg_attr(feature = "alloc", inline)]
fn holding(voids: &[Void], table: u64, sequence: u64) -> Option<&Void> {
    let behind = voids.partition_point(|void| (void.table, void.from) <= (table, sequence));
    let void = voids.get(behind.checked_sub(1)?)?;
    (void.table == table && sequence <= void.to).then_some(void)
}

/// How much of `first..=last` of `table` is dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cover {
    /// All of it, by one range.
    All,
    /// At least one end is alive, so at least one record is.
    Alive,
    /// Both ends are dead, something between may be alive.
    Ends,
}

pub(crate) fn cover(voids: &[Void], table: u64, first: u64, last: u64) -> Cover {
    match holding(voids, table, first) {
        Some(void) if last <= void.to => Cover::All,
        Some(_) if covers(voids, table, last) => Cover::Ends,
        _ => Cover::Alive,
    }
}

impl<'w> Voids<'w> {
    pub(crate) fn new(list: List<'w, Void>) -> Self {
        Self { list }
    }

    pub(crate) fn as_slice(&self) -> &[Void] {
        self.list.as_slice()
    }

    pub(crate) fn clear(&mut self) {
        self.list.clear();
    }

    fn merge(&self, void: Void) -> Merge {
        let list = self.as_slice();
        let touches = |other: &Void| {
            other.table == void.table
                && other.from <= void.to.saturating_add(1)
                && void.from <= other.to.saturating_add(1)
        };
        let at = list.partition_point(|other| (other.table, other.to.saturating_add(1)) < (void.table, void.from));
        let rest = list.get(at..).unwrap_or_default();
        let swallowed = rest.iter().take_while(|other| touches(other)).count();
        let merged = rest.iter().take(swallowed).fold(void, |merged, other| Void {
            table: void.table,
            from: merged.from.min(other.from),
            to: merged.to.max(other.to),
        });
        Merge { at, swallowed, merged }
    }

    /// How many more ranges there would be with `void`; negative where it joins some.
    pub(crate) fn growth(&self, void: Void) -> isize {
        1 - self.merge(void).swallowed as isize
    }

    /// How many ranges there may be.
    pub(crate) fn limit(&self) -> usize {
        self.list.limit()
    }

    /// Takes in a range; false where there is no room.
    pub(crate) fn add(&mut self, void: Void) -> bool {
        let merge = self.merge(void);
        if merge.swallowed == 0 {
            return self.list.insert(merge.at, merge.merged).is_ok();
        }
        if let Some(slot) = self.list.as_mut_slice().get_mut(merge.at) {
            *slot = merge.merged;
        }
        if merge.swallowed == 1 {
            return true;
        }
        let (mut index, gone) = (0, merge.at + 1..merge.at + merge.swallowed);
        self.list.retain(|_| {
            let keep = !gone.contains(&index);
            index += 1;
            keep
        });
        true
    }

    /// Takes in a range that a manifest lists in order; false where the order is wrong or there is no room.
    pub(crate) fn push_listed(&mut self, void: Void) -> Listed {
        let in_order = void.from <= void.to
            && void.from > 0
            && self
                .as_slice()
                .last()
                .is_none_or(|last| (last.table, last.to) < (void.table, void.from));
        if !in_order {
            Listed::Disorder
        } else if self.list.push(void).is_err() {
            Listed::Full
        } else {
            Listed::Taken
        }
    }

    /// Forgets ranges that end before `oldest`: no retained segment can hold their records.
    pub(crate) fn forget_before(&mut self, oldest: u64) {
        self.list.retain(|void| void.to >= oldest);
    }
}

/// What became of a listed range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Listed {
    Taken,
    Disorder,
    Full,
}

#[cfg(all(test, feature = "alloc"))]
mod tests {
    use super::{Cover, List, Void, Voids, cover, covers};

    fn void(table: u64, from: u64, to: u64) -> Void {
        Void { table, from, to }
    }

    #[track_caller]
    fn check(add: &[(u64, u64, u64)], expect: &[(u64, u64, u64)]) {
        let mut voids = Voids::new(List::Owned(alloc::vec::Vec::new()));
        for &(table, from, to) in add {
            let before = voids.as_slice().len() as isize;
            let growth = voids.growth(void(table, from, to));
            assert!(voids.add(void(table, from, to)));
            assert_eq!(voids.as_slice().len() as isize, before + growth);
        }
        let expect: alloc::vec::Vec<Void> = expect.iter().map(|&(t, f, l)| void(t, f, l)).collect();
        assert_eq!(voids.as_slice(), expect);
        for table in 0..4 {
            for sequence in 0..30 {
                let naive = add
                    .iter()
                    .any(|&(t, f, l)| t == table && f <= sequence && sequence <= l);
                assert_eq!(covers(voids.as_slice(), table, sequence), naive, "{table} {sequence}");
            }
        }
    }

    #[test]
    fn ranges_join_where_they_touch_and_stay_apart_elsewhere() {
        check(&[(1, 1, 5), (1, 6, 9)], &[(1, 1, 9)]);
        check(&[(1, 6, 9), (1, 1, 5)], &[(1, 1, 9)]);
        check(&[(1, 1, 5), (1, 7, 9)], &[(1, 1, 5), (1, 7, 9)]);
        check(&[(2, 1, 5), (1, 3, 4), (3, 1, 1)], &[(1, 3, 4), (2, 1, 5), (3, 1, 1)]);
        check(&[(1, 1, 2), (1, 5, 6), (1, 9, 9), (1, 3, 8)], &[(1, 1, 9)]);
        check(&[(1, 4, 20), (1, 6, 8)], &[(1, 4, 20)]);
        check(&[(1, 1, u64::MAX), (1, 5, 6)], &[(1, 1, u64::MAX)]);
    }

    #[test]
    fn cover_tells_dead_from_alive_and_from_unknown() {
        let voids = [void(1, 1, 5), void(1, 8, 10)];
        assert_eq!(cover(&voids, 1, 2, 5), Cover::All);
        assert_eq!(cover(&voids, 1, 5, 8), Cover::Ends);
        assert_eq!(cover(&voids, 1, 5, 7), Cover::Alive);
        assert_eq!(cover(&voids, 2, 1, 1), Cover::Alive);
    }
}
