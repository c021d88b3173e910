//! Where the measurements take place: a directory on a real disk, files whose blocks are written, maps without faults.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use memmap2::{MmapOptions, MmapRaw};
use tempfile::TempDir;

const PAGE: usize = 4096;

/// File systems that keep nothing: a sync there returns at once, and every durable row would be a lie.
const MEMORY_ONLY: &[(i128, &str)] = &[(0x0102_1994, "tmpfs"), (0x8584_58f6, "ramfs")];

/// A fresh directory in `dir`, or in the build directory; removed when dropped.
pub(crate) fn scratch(dir: Option<&Path>) -> io::Result<TempDir> {
    let parent = dir.unwrap_or(Path::new(env!("CARGO_TARGET_TMPDIR")));
    std::fs::create_dir_all(parent)?;
    let file_system = i128::from(rustix::fs::statfs(parent)?.f_type);
    if let Some((_, name)) = MEMORY_ONLY.iter().find(|(magic, _)| *magic == file_system) {
        return Err(io::Error::other(format!(
            "{} is on {name}, which has nothing to make durable; give another place with --dir",
            parent.display()
        )));
    }
    tempfile::Builder::new().prefix("bench-").tempdir_in(parent)
}

/// Waits until the disk has taken what the last round left behind, so that it is not counted in the next one.
pub(crate) fn settle(dir: &Path) -> io::Result<()> {
    rustix::fs::syncfs(File::open(dir)?)?;
    Ok(())
}

/// A file of `len` bytes whose blocks have all been written once: overwriting them changes no metadata.
///
/// Filled in single pages: large writes leave large folios in the page cache, and then one durable store of 256 bytes
/// sends a megabyte to the disk.
pub(crate) fn written_file(path: &Path, len: usize) -> io::Result<File> {
    let file = File::options().read(true).write(true).create_new(true).open(path)?;
    let page = [0; PAGE];
    for offset in (0..len).step_by(PAGE) {
        file.write_all_at(&page, offset as u64)?;
    }
    file.sync_all()?;
    Ok(file)
}

/// A shared map of all of `file`, each page faulted in and stored to once, then synced: ready for stores, and clean.
pub(crate) fn faulted_map(file: &File) -> io::Result<MmapRaw> {
    let map = MmapOptions::new().populate().map_raw(file)?;
    for offset in (0..map.len()).step_by(PAGE) {
        // SAFETY: `offset` is below the length of the map.
        let page = unsafe { map.as_mut_ptr().add(offset) };
        // SAFETY: inside the map, which nobody else has yet, and whose file is as long as the map.
        unsafe { page.write_volatile(0) };
    }
    Ok(map)
}
