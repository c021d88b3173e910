//! A root in a temporary directory.

use std::ffi::CString;
use std::fmt;
use std::io::Write;
use std::ops::Deref;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use tempfile::TempDir;
use walstone_core::Geometry;
use walstone_linux::{LinuxError, LinuxStorage, Memory, RegionFiles, Root, WritePath};

use crate::processes::run;

pub(crate) const REGION: u64 = 7;

pub(crate) const PATHS: [WritePath; 2] = [WritePath::Buffered, WritePath::Direct];

/// Small, so that buffers are full now and then.
pub(crate) const BUFFER_LEN: usize = 4096;

/// A handle that the directory lives as long as.
pub(crate) type Storage = LinuxStorage<'static, Files>;

/// The files of a region, and the directory that they are in.
#[derive(Clone)]
pub(crate) struct Files(Arc<(RegionFiles<'static>, Root, Place)>);

/// A directory, gone with this value.
pub(crate) enum Place {
    Directory(TempDir),
    /// A file system in memory of its own.
    Mounted(TempDir),
}

impl Place {
    /// A file system with this much room. `None`, and says so, where none can be mounted.
    pub(crate) fn mounted(len: u64) -> Option<Self> {
        let dir = TempDir::new().unwrap();
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", &format!("size={len}"), "tmpfs"]);
        let output = run(command.arg(dir.path()));
        if output.as_ref().is_ok_and(|output| output.status.success()) {
            return Some(Self::Mounted(dir));
        }
        skipped(
            &format!("cannot mount a tmpfs here: {output:?}"),
            &["WALSTONE_REQUIRE_TOOLS"],
        );
        None
    }

    pub(crate) fn path(&self) -> &Path {
        let (Self::Directory(dir) | Self::Mounted(dir)) = self;
        dir.path()
    }
}

/// Says past the capture of the harness that a test saw nothing; where one of these variables is set it fails.
pub(crate) fn skipped(why: &str, required_by: &[&str]) {
    let required = required_by.iter().any(|name| std::env::var_os(name).is_some());
    assert!(!required, "required here: {why}");
    let _ = std::io::stderr().write_all(format!("SKIPPED: {why}\n").as_bytes());
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Self::Mounted(dir) = self {
            // Lazily: files in it are still open here.
            let unmounted = run(Command::new("umount").arg("-l").arg(dir.path()));
            assert!(
                unmounted.is_ok_and(|output| output.status.success()),
                "cannot unmount {dir:?}"
            );
        }
    }
}

impl Deref for Files {
    type Target = RegionFiles<'static>;

    fn deref(&self) -> &Self::Target {
        &self.0.0
    }
}

impl fmt::Debug for Files {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.0.fmt(f)
    }
}

pub(crate) fn c_path(path: &Path) -> CString {
    CString::new(path.to_str().unwrap()).unwrap()
}

pub(crate) fn open(path: &Path) -> Result<Root, LinuxError> {
    Root::open(&c_path(path))
}

/// On the disk, and on a file system in memory.
pub(crate) fn places() -> Vec<Place> {
    let mut all = vec![TempDir::new().unwrap()];
    all.extend(
        Path::new("/dev/shm")
            .is_dir()
            .then(|| TempDir::new_in("/dev/shm").unwrap()),
    );
    all.into_iter().map(Place::Directory).collect()
}

/// Makes a region without segments in a fresh root and opens it.
pub(crate) fn fresh_in(place: Place, geometry: Geometry, path: WritePath) -> Storage {
    let root = open(place.path()).unwrap();
    let made = root.create_region(REGION, geometry, path, Memory::map(BUFFER_LEN), |_| {
        Ok::<_, LinuxError>(())
    });
    made.unwrap();
    opened(root, place, geometry, path)
}

fn opened(root: Root, place: Place, geometry: Geometry, path: WritePath) -> Storage {
    let dir = c_path(&place.path().join(REGION.to_string()));
    let files = RegionFiles::open_dir(&dir, true, geometry, path, Memory::map(BUFFER_LEN)).unwrap();
    LinuxStorage::new(Files(Arc::new((files, root, place))))
}

/// A second life: what another process finds after this one died.
pub(crate) fn reopened(storage: Storage) -> Storage {
    let geometry = walstone_core::Storage::geometry(&storage);
    let path = match storage.files().stats().block {
        1 => WritePath::Buffered,
        _ => WritePath::Direct,
    };
    let Files(files) = storage.into_files();
    let (files, root, place) = Arc::into_inner(files).unwrap();
    drop(files);
    drop(root);
    opened(open(place.path()).unwrap(), place, geometry, path)
}
