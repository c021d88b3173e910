//! Which states a loss of power may leave: every combination where they are few, the telling ones where they are many.

use std::cell::Cell;
use std::collections::HashSet;
use std::ops::ControlFlow;

use super::content::{File, Pending};
use super::disk::{Disk, Node, NodeId, Tree};

/// How far to go.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// All combinations up to so many. Above: none, all, each one missing, each one alone, all prefixes and
    /// suffixes in the order of the writes, and random ones.
    pub combinations: usize,
    /// Random combinations.
    pub random: usize,
    /// Of everything random.
    pub seed: u64,
}

impl Limits {
    /// For a run of a few seconds.
    pub const SHORT: Self = Self {
        combinations: 1 << 10,
        random: 16,
        seed: 1,
    };

    /// For a run of hours.
    pub const LONG: Self = Self {
        combinations: 1 << 16,
        random: 256,
        seed: 1,
    };
}

/// What was shown.
#[derive(Clone, Copy, Debug, Default)]
pub struct Shown {
    /// States, some of them perhaps more than once.
    pub states: u64,
    /// Points at which not every combination was shown.
    pub sampled: u64,
}

/// What is not durable of the files that some names reach.
struct Files<'d> {
    disk: &'d Disk,
    tree: Tree,
    items: Vec<(NodeId, Pending)>,
}

impl Disk {
    /// Shows every state, within the limits, that a loss of power now may leave.
    pub fn survivors(&self, limits: &Limits, visit: &mut dyn FnMut(Self) -> ControlFlow<()>) -> Shown {
        let mut shown = Shown::default();
        let mut trees = HashSet::new();
        let names = self.pending_names();
        let sampled = Cell::new(false);
        let _ = choose(&vec![2; names.len()], limits, &sampled, &mut |chosen| {
            let tree = self.tree_of(|node, directory| {
                directory.survive(|index| {
                    names
                        .iter()
                        .zip(chosen)
                        .any(|(name, &kept)| *name == (node, index) && kept > 0)
                })
            });
            if !trees.insert(tree.clone()) {
                return ControlFlow::Continue(());
            }
            let files = Files::new(self, tree);
            let choices: Vec<_> = files.items.iter().map(|(_, pending)| pending.versions()).collect();
            choose(&choices, limits, &sampled, &mut |chosen| {
                shown.states += 1;
                visit(files.survive(chosen, None))
            })?;
            for (index, (node, pending)) in files.items.iter().enumerate() {
                let Pending::Sector(sector, _) = *pending else { continue };
                for (kept, first) in [(0, true), (0, false), (1, true), (1, false)] {
                    let mut chosen: Vec<_> = choices.iter().map(|versions| (versions - 1) * kept).collect();
                    chosen[index] = 0;
                    shown.states += 1;
                    visit(files.survive(&chosen, Some((*node, sector, first))))?;
                }
            }
            ControlFlow::Continue(())
        });
        shown.sampled = sampled.get().into();
        shown
    }

    /// The state in which nothing survives that was not durable.
    #[must_use]
    pub fn durable(&self) -> Self {
        let tree = self.tree_of(|_, directory| directory.survive(|_| false));
        let files = Files::new(self, tree);
        files.survive(&vec![0; files.items.len()], None)
    }

    /// Changes of names that are not durable, by directory and place in it.
    fn pending_names(&self) -> Vec<(NodeId, usize)> {
        let mut names = Vec::new();
        for (id, node) in self.nodes().iter().enumerate() {
            if let Node::Directory(directory) = node {
                names.extend((0..directory.pending_count()).map(|index| (id, index)));
            }
        }
        names
    }
}

impl Pending {
    /// How many versions there are, the durable one included.
    const fn versions(self) -> usize {
        match self {
            Self::Sector(_, newer) | Self::Len(newer) => newer + 1,
            Self::Page(_) => 2,
        }
    }
}

impl<'d> Files<'d> {
    fn new(disk: &'d Disk, tree: Tree) -> Self {
        let mut nodes: Vec<_> = tree.values().copied().collect();
        nodes.sort_unstable();
        nodes.dedup();
        let pending = |node: &NodeId| disk.file(*node).map(File::pending).unwrap_or_default();
        let items = nodes
            .iter()
            .flat_map(|node| pending(node).into_iter().map(|pending| (*node, pending)))
            .collect();
        Self { disk, tree, items }
    }

    fn survive(&self, chosen: &[usize], torn: Option<(NodeId, u32, bool)>) -> Disk {
        Disk::settled(&self.tree, |node| {
            let file = self.disk.file(node)?;
            let items = self.items.iter().zip(chosen).filter(|((of, _), _)| *of == node);
            let chosen: Vec<_> = items.map(|((_, pending), &version)| (*pending, version)).collect();
            Some(File::settled(match torn {
                Some((of, sector, first)) if of == node => file.survive_torn(&chosen, sector, first),
                _ => file.survive(&chosen),
            }))
        })
    }
}

/// Shows a choice of versions for each of several things: all choices, or the telling ones.
fn choose(
    versions: &[usize],
    limits: &Limits,
    sampled: &Cell<bool>,
    visit: &mut dyn FnMut(&[usize]) -> ControlFlow<()>,
) -> ControlFlow<()> {
    let all = versions
        .iter()
        .try_fold(1_usize, |product, count| product.checked_mul(*count));
    let mut chosen = vec![0; versions.len()];
    if all.is_some_and(|all| all <= limits.combinations) {
        loop {
            visit(&chosen)?;
            let Some(next) = (0..versions.len()).find(|&at| chosen[at] + 1 < versions[at]) else {
                return ControlFlow::Continue(());
            };
            chosen[next] += 1;
            chosen[..next].fill(0);
        }
    }
    sampled.set(true);
    let newest: Vec<_> = versions.iter().map(|count| count - 1).collect();
    visit(&chosen)?;
    visit(&newest)?;
    for at in 0..versions.len() {
        // A version between the oldest and the newest is as good as lost to some and as good as there to others.
        for version in 0..versions[at] {
            chosen.fill(0);
            chosen[at] = version;
            visit(&chosen)?;
            chosen.copy_from_slice(&newest);
            chosen[at] = version;
            visit(&chosen)?;
        }
        chosen.fill(0);
        chosen[..at].copy_from_slice(&newest[..at]);
        visit(&chosen)?;
        chosen.copy_from_slice(&newest);
        chosen[..at].fill(0);
        visit(&chosen)?;
    }
    let mut random = limits.seed | 1;
    for _ in 0..limits.random {
        for (chosen, count) in chosen.iter_mut().zip(versions) {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            *chosen = (random % *count as u64) as usize;
        }
        visit(&chosen)?;
    }
    ControlFlow::Continue(())
}
