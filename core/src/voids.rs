//! Which sequences of which table are dead: a sorted set of disjoint ranges.

use crate::capacity::List;
use crate::record::Void;

/// Disjoint ranges, sorted by table and start, no two of a table touching.
#[derive(Debug)]
pub(crate) struct Voids<'w> {
    list: List<'w, Void>,
    /// Ranges that there were when they were joined last.
    #[cfg(feature = "alloc")]
    joined: usize,
    /// Comparisons and moves of ranges.
    #[cfg(test)]
    work: usize,
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
        Self {
            list,
            #[cfg(feature = "alloc")]
            joined: 0,
            #[cfg(test)]
            work: 0,
        }
    }

    pub(crate) fn as_slice(&self) -> &[Void] {
        self.list.as_slice()
    }

    pub(crate) fn clear(&mut self) {
        self.list.clear();
        #[cfg(feature = "alloc")]
        {
            self.joined = 0;
        }
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
        #[cfg(test)]
        {
            self.work += self.list.len() - merge.at;
        }
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
        self.list.retain(&mut |_| {
            let keep = !gone.contains(&index);
            index += 1;
            keep
        });
        true
    }

    /// Takes in one of many ranges, in any order; false where there is no room. They are a set once [`Voids::join`] was
    /// called. On the heap that costs `n log n` for `n` of them, where adding each at its place would be quadratic; in
    /// lent room it is the room that bounds each.
    pub(crate) fn gather(&mut self, void: Void) -> bool {
        #[cfg(feature = "alloc")]
        if let List::Owned(list) = &mut self.list {
            list.push(void);
            if list.len() > 2 * self.joined + 64 {
                self.join();
            }
            return true;
        }
        self.add(void)
    }

    /// Makes a set of what was gathered.
    #[cfg(feature = "alloc")]
    pub(crate) fn join(&mut self) {
        let List::Owned(list) = &mut self.list else { return };
        #[cfg(test)]
        let mut work = list.len();
        list.sort_unstable_by(|left, right| {
            #[cfg(test)]
            {
                work += 1;
            }
            left.cmp(right)
        });
        list.dedup_by(|next, void| {
            let touches = next.table == void.table && next.from <= void.to.saturating_add(1);
            if touches {
                void.to = void.to.max(next.to);
            }
            touches
        });
        self.joined = list.len();
        #[cfg(test)]
        {
            self.work += work;
        }
    }

    /// Lent room gathers nothing.
    #[cfg(not(feature = "alloc"))]
    pub(crate) fn join(&mut self) {}

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
        self.list.retain(&mut |void| void.to >= oldest);
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

    /// A made-up log deletes one range a record, each in front of the one before: adding each at its place moved all
    /// others every time, and opening 64 MiB of that took the square of it.
    #[test]
    fn many_ranges_in_any_order_cost_little_more_than_a_step_each() {
        let orders: [fn(u64, u64) -> u64; 4] = [
            |n, count| count - n,
            |n, _| n,
            |n, count| n * 7919 % count,
            |n, count| if n.is_multiple_of(2) { n } else { count - n },
        ];
        for count in [1000, 20_000] {
            for order in orders {
                let mut gathered = Voids::new(List::Owned(alloc::vec::Vec::new()));
                let mut added = Voids::new(List::Owned(alloc::vec::Vec::new()));
                for n in 0..count {
                    // Apart, touching and overlapping ones.
                    let from = 1 + 2 * order(n, count);
                    let void = void(n % 3, from, from + n % 5);
                    assert!(gathered.gather(void));
                    assert!(added.add(void));
                }
                gathered.join();
                assert_eq!(gathered.as_slice(), added.as_slice());
                let bound = 12 * count as usize * (1 + count.ilog2() as usize);
                assert!(gathered.work <= bound, "{} steps for {count}", gathered.work);
            }
        }
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
