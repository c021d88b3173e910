//! The directory in which simulated states become real ones.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::content::Content;
use super::disk::{Disk, NodeId};

/// A directory that is filled and emptied again and again.
#[derive(Debug)]
pub struct Real {
    dir: TempDir,
}

impl Real {
    /// In memory where the system has such a place: nothing here depends on a device.
    ///
    /// # Errors
    /// Those of making a directory.
    pub fn new() -> io::Result<Self> {
        let memory = Path::new("/dev/shm");
        let dir = if memory.is_dir() {
            TempDir::with_prefix_in("walstone-", memory)
        } else {
            TempDir::with_prefix("walstone-")
        };
        Ok(Self { dir: dir? })
    }

    /// Its path: the base of what is simulated.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Empties it.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn clear(&self) -> io::Result<()> {
        for entry in fs::read_dir(self.path())? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                fs::remove_dir_all(entry.path())?;
            } else {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    /// Fills it with what a process sees of `disk`, holes being holes.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn fill(&self, disk: &Disk) -> io::Result<()> {
        self.clear()?;
        let mut known: BTreeMap<NodeId, PathBuf> = BTreeMap::new();
        for (name, node) in disk.tree() {
            let path = self.path().join(name);
            let Some(file) = disk.file(node) else {
                fs::create_dir(&path)?;
                continue;
            };
            if let Some(other) = known.get(&node) {
                fs::hard_link(other, &path)?;
                continue;
            }
            write(&path, file.now())?;
            known.insert(node, path);
        }
        Ok(())
    }

    /// How the directory differs from what a process should see of `disk`: then something was changed that was not
    /// recorded.
    ///
    /// # Errors
    /// The first difference.
    pub fn differs(&self, disk: &Disk) -> Result<(), PathBuf> {
        let mut expected = disk.tree();
        let mut waiting = vec![PathBuf::new()];
        while let Some(directory) = waiting.pop() {
            let entries = fs::read_dir(self.path().join(&directory)).map_err(|_| directory.clone())?;
            for entry in entries {
                let entry = entry.map_err(|_| directory.clone())?;
                let name = directory.join(entry.file_name());
                let node = expected.remove(&name).ok_or_else(|| name.clone())?;
                match disk.file(node) {
                    None => waiting.push(name),
                    Some(file) => {
                        let found = fs::read(entry.path()).map_err(|_| name.clone())?;
                        if found != file.now().bytes() {
                            return Err(name);
                        }
                    }
                }
            }
        }
        expected.into_keys().next().map_or(Ok(()), Err)
    }
}

fn write(path: &Path, content: &Content) -> io::Result<()> {
    let file = fs::File::create(path)?;
    file.set_len(content.len)?;
    for (offset, bytes) in content.allocated() {
        file.write_all_at(bytes, offset)?;
    }
    Ok(())
}
