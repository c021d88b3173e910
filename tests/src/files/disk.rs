//! A file system as recorded steps left it: names and files, what is durable of them and what is not.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

use super::content::File;
use super::step::{Opening, Step};

/// A file or directory by its number; names come and go.
pub type NodeId = usize;

/// The directory that is simulated. It is there, durably.
pub const BASE: NodeId = 0;

/// The names in a directory.
pub type Names = BTreeMap<String, NodeId>;

/// A change of names that happens as a whole or not at all.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Renaming {
    at: usize,
    /// Name, and what it names from now on.
    names: Vec<(String, Option<NodeId>)>,
}

/// A directory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Directory {
    durable: Names,
    now: Names,
    pending: Vec<Renaming>,
}

/// A file or directory.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Node {
    /// A directory.
    Directory(Directory),
    /// A file.
    File(File),
}

/// All of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disk {
    nodes: Vec<Node>,
    openings: HashMap<Opening, NodeId>,
    steps: usize,
    /// What `steps` began with: what an earlier process did comes before every step.
    first: usize,
}

/// What is reached from the base by chosen names.
pub type Tree = BTreeMap<PathBuf, NodeId>;

impl Directory {
    fn change(&mut self, at: usize, names: Vec<(String, Option<NodeId>)>) {
        apply(&mut self.now, &names);
        self.pending.push(Renaming { at, names });
    }

    fn sync(&mut self, begun: usize) {
        let covered = self.pending.iter().take_while(|renaming| renaming.at < begun).count();
        for renaming in self.pending.drain(..covered) {
            apply(&mut self.durable, &renaming.names);
        }
    }

    /// The names behind a crash: the durable ones and the changes that `survives` picks, in their order.
    pub fn survive(&self, survives: impl Fn(usize) -> bool) -> Names {
        let mut names = self.durable.clone();
        for (index, renaming) in self.pending.iter().enumerate() {
            if survives(index) {
                apply(&mut names, &renaming.names);
            }
        }
        names
    }

    /// Changes that are not durable.
    #[must_use]
    pub fn pending_count(&self) -> usize {
        self.pending.len()
    }
}

fn apply(names: &mut Names, changes: &[(String, Option<NodeId>)]) {
    for (name, node) in changes {
        match node {
            Some(node) => names.insert(name.clone(), *node),
            None => names.remove(name),
        };
    }
}

impl Default for Disk {
    fn default() -> Self {
        Self {
            nodes: vec![Node::Directory(Directory::default())],
            openings: HashMap::new(),
            steps: 0,
            first: 0,
        }
    }
}

impl Disk {
    /// A disk with these files, all of it durable.
    #[must_use]
    pub fn settled(tree: &Tree, file: impl Fn(NodeId) -> Option<File>) -> Self {
        let mut disk = Self::default();
        let mut known: HashMap<NodeId, NodeId> = HashMap::new();
        for (path, &node) in tree {
            let id = *known.entry(node).or_insert_with(|| {
                disk.nodes.push(match file(node) {
                    Some(file) => Node::File(file),
                    None => Node::Directory(Directory::default()),
                });
                disk.nodes.len() - 1
            });
            let (parent, name) = disk.place(path);
            let directory = disk.directory_mut(parent);
            directory.durable.insert(name.clone(), id);
            directory.now.insert(name, id);
        }
        disk
    }

    /// All files and directories there ever were.
    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// What a process sees.
    #[must_use]
    pub fn tree(&self) -> Tree {
        self.tree_of(|_, directory| directory.now.clone())
    }

    /// What is reached where each directory has these names.
    #[must_use]
    pub fn tree_of(&self, names: impl Fn(NodeId, &Directory) -> Names) -> Tree {
        let mut tree = Tree::new();
        let mut waiting = vec![(PathBuf::new(), BASE)];
        while let Some((path, node)) = waiting.pop() {
            if let Node::Directory(directory) = &self.nodes[node] {
                for (name, node) in names(node, directory) {
                    waiting.push((path.join(&name), node));
                }
            }
            if node != BASE {
                tree.insert(path, node);
            }
        }
        tree
    }

    /// The file at a path that a process sees.
    #[must_use]
    pub fn file(&self, node: NodeId) -> Option<&File> {
        match &self.nodes[node] {
            Node::File(file) => Some(file),
            Node::Directory(_) => None,
        }
    }

    /// The file of an opening.
    #[must_use]
    pub fn opened(&self, opening: Opening) -> Option<NodeId> {
        self.openings.get(&opening).copied()
    }

    /// The file or directory that a process sees under a name.
    #[must_use]
    pub fn lookup(&self, path: &Path) -> Option<NodeId> {
        let mut node = BASE;
        for name in path {
            let Node::Directory(directory) = &self.nodes[node] else {
                return None;
            };
            node = *directory.now.get(name.to_str()?)?;
        }
        Some(node)
    }

    /// A name that a process sees for a file or directory.
    #[must_use]
    pub fn name_of(&self, node: NodeId) -> Option<PathBuf> {
        self.tree()
            .into_iter()
            .find(|(_, at)| *at == node)
            .map(|(path, _)| path)
    }

    /// The process ended; the next one's steps are counted anew.
    #[must_use]
    pub fn behind_death(&self) -> Self {
        let mut disk = self.clone();
        disk.openings.clear();
        (disk.steps, disk.first) = (1, 1);
        for node in &mut disk.nodes {
            match node {
                Node::File(file) => file.restart(),
                Node::Directory(directory) => directory.pending.iter_mut().for_each(|renaming| renaming.at = 0),
            }
        }
        disk
    }

    /// Names what is durable, pending and seen.
    #[must_use]
    pub fn digest(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        let reached: BTreeSet<_> = self.reachable();
        for node in reached {
            (node, &self.nodes[node]).hash(&mut hasher);
        }
        hasher.finish()
    }

    /// What any crash can still bring to light.
    fn reachable(&self) -> BTreeSet<NodeId> {
        let mut reached = BTreeSet::new();
        let mut waiting = vec![BASE];
        while let Some(node) = waiting.pop() {
            if !reached.insert(node) {
                continue;
            }
            if let Node::Directory(directory) = &self.nodes[node] {
                waiting.extend(directory.durable.values().chain(directory.now.values()));
                let pending = directory.pending.iter().flat_map(|renaming| &renaming.names);
                waiting.extend(pending.filter_map(|(_, node)| *node));
            }
        }
        reached
    }

    /// Takes in one more step.
    ///
    /// # Panics
    /// On a step that no file system would have done in this state.
    pub fn apply(&mut self, step: &Step) {
        let at = self.steps;
        self.steps += 1;
        match step {
            Step::Open { path, file, create } => {
                let node = self.lookup(path).unwrap_or_else(|| {
                    assert!(create, "opened what is not there: {}", path.display());
                    self.make(at, path, Node::File(File::default()))
                });
                self.openings.insert(*file, node);
            }
            Step::Write { file, offset, data } => self.file_mut(*file).write(at, *offset, data),
            Step::Submit { file, offset, data } => self.file_mut(*file).submit(*offset, data),
            Step::Landed { file, from, to } => self.file_mut(*file).landed(at, *from as usize, *to as usize),
            Step::SetLen { file, len } => self.file_mut(*file).set_len(at, *len),
            Step::Allocate { file, from, to } => self.file_mut(*file).allocate(at, *from as usize, *to as usize),
            Step::Rename { from, to } => self.rename(at, from, to),
            Step::Unlink(path) | Step::RemoveDir(path) => {
                let (parent, name) = self.place(path);
                self.directory_mut(parent).change(at, vec![(name, None)]);
            }
            Step::MakeDir(path) => {
                self.make(at, path, Node::Directory(Directory::default()));
            }
            Step::SyncFile { file, begun } => {
                let begun = self.first + begun;
                self.file_mut(*file).sync(begun);
            }
            Step::SyncRange { file, from, to, begun } => {
                let begun = self.first + begun;
                self.file_mut(*file).sync_range(begun, *from as usize, *to as usize);
            }
            Step::SyncDir { path, begun } => {
                let begun = self.first + begun;
                let node = self.lookup(path).expect("a directory that is synced is there");
                self.directory_mut(node).sync(begun);
            }
        }
    }

    /// Names whose change in a directory is not durable, and whether they name something since.
    pub fn pending_in(&self, path: &Path) -> impl Iterator<Item = (&str, bool)> {
        let pending = match self.lookup(path).map(|node| &self.nodes[node]) {
            Some(Node::Directory(directory)) => directory.pending.as_slice(),
            _ => &[],
        };
        let names = pending.iter().flat_map(|renaming| &renaming.names);
        names.map(|(name, node)| (name.as_str(), node.is_some()))
    }

    /// Whether something at this path is not durable, and all of it since an earlier process.
    #[must_use]
    pub fn is_inherited(&self, path: &Path) -> bool {
        let (oldest, newest) = match self.lookup(path).map(|node| &self.nodes[node]) {
            Some(Node::Directory(directory)) => {
                let mut pending = directory.pending.iter().map(|renaming| renaming.at);
                (pending.next(), pending.next_back())
            }
            Some(Node::File(file)) => file.pending_since(),
            None => return false,
        };
        let earlier = |at: Option<usize>| at.is_none_or(|at| at < self.first);
        oldest.is_some() && earlier(oldest) && earlier(newest)
    }

    /// The sync of a file covers another one of its directory instead.
    pub fn sync_sibling(&mut self, step: &Step) {
        let (Step::SyncFile { file, begun } | Step::SyncRange { file, begun, .. }) = step else {
            return;
        };
        let Some(node) = self.opened(*file) else { return };
        let name = self.name_of(node);
        let parent = name
            .as_deref()
            .and_then(Path::parent)
            .and_then(|parent| self.lookup(parent));
        let Some(Node::Directory(directory)) = parent.map(|parent| &self.nodes[parent]) else {
            return;
        };
        let sibling = directory.now.values().copied().find(|&sibling| sibling != node);
        let begun = self.first + begun;
        if let Some(Node::File(sibling)) = sibling.map(|sibling| &mut self.nodes[sibling]) {
            sibling.sync(begun);
        }
    }

    /// Bytes that were on their way are said to have arrived, and no sync ever finds them.
    pub fn lose(&mut self, step: &Step) {
        if let Step::Landed { file, from, to } = step {
            self.file_mut(*file).lost(*from as usize, *to as usize);
        }
        self.skip();
    }

    /// A sync that is said to be done and was not: time goes on.
    pub const fn skip(&mut self) {
        self.steps += 1;
    }

    fn make(&mut self, at: usize, path: &Path, node: Node) -> NodeId {
        self.nodes.push(node);
        let id = self.nodes.len() - 1;
        let (parent, name) = self.place(path);
        self.directory_mut(parent).change(at, vec![(name, Some(id))]);
        id
    }

    /// A directory gets another name as a whole; a file has two names, or none, until both halves are durable.
    fn rename(&mut self, at: usize, from: &Path, to: &Path) {
        let node = self.lookup(from).expect("what is renamed is there");
        let (from_parent, from_name) = self.place(from);
        let (to_parent, to_name) = self.place(to);
        if from_parent == to_parent && matches!(self.nodes[node], Node::Directory(_)) {
            let names = vec![(to_name, Some(node)), (from_name, None)];
            self.directory_mut(from_parent).change(at, names);
        } else {
            self.directory_mut(to_parent).change(at, vec![(to_name, Some(node))]);
            self.directory_mut(from_parent).change(at, vec![(from_name, None)]);
        }
    }

    fn place(&self, path: &Path) -> (NodeId, String) {
        let parent = self
            .lookup(path.parent().unwrap_or(Path::new("")))
            .expect("the directory is there");
        let name = path.file_name().and_then(|name| name.to_str()).expect("a name");
        (parent, name.to_owned())
    }

    fn directory_mut(&mut self, node: NodeId) -> &mut Directory {
        match &mut self.nodes[node] {
            Node::Directory(directory) => directory,
            Node::File(_) => panic!("a file is used as a directory"),
        }
    }

    fn file_mut(&mut self, opening: Opening) -> &mut File {
        match self.openings.get(&opening).map(|&node| &mut self.nodes[node]) {
            Some(Node::File(file)) => file,
            _ => panic!("opening {opening} was never seen"),
        }
    }
}
