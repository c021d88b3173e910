//! The kernel's error numbers.

use core::fmt;

use linux_raw_sys::errno;

/// Why the kernel refused. <https://man7.org/linux/man-pages/man3/errno.3.html>
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Errno(u16);

macro_rules! names {
    ($($name:ident $text:literal)*) => {
        impl Errno {
            $(#[doc = $text] pub const $name: Self = Self(errno::$name as u16);)*

            fn known(self) -> Option<(&'static str, &'static str)> {
                match self {
                    $(Self::$name => Some((stringify!($name), $text)),)*
                    _ => None,
                }
            }
        }
    };
}

names! {
    EPERM "operation not permitted"
    ENOENT "no such file or directory"
    EINTR "interrupted"
    EIO "input/output error"
    ENXIO "no such device or address"
    EBADF "bad file descriptor"
    EAGAIN "try again"
    ENOMEM "out of memory"
    EACCES "permission denied"
    EBUSY "busy"
    EEXIST "file exists"
    ENODEV "no such device"
    ENOTDIR "not a directory"
    EISDIR "is a directory"
    EINVAL "invalid argument"
    ENFILE "too many open files in the system"
    EMFILE "too many open files"
    ENOTTY "inappropriate operation for this file"
    EFBIG "file too large"
    ENOSPC "no space left on device"
    EROFS "read-only file system"
    ENAMETOOLONG "file name too long"
    ENOSYS "no such system call"
    ENOTEMPTY "directory not empty"
    ELOOP "too many symbolic links"
    EOPNOTSUPP "operation not supported"
    ETIMEDOUT "timed out"
    EDQUOT "disk quota exceeded"
}

impl Errno {
    /// What a system call returned: numbers from -4095 on are errors.
    #[inline]
    pub(super) const fn check(result: usize) -> Result<usize, Self> {
        if result > usize::MAX - 4095 {
            Err(Self(result.wrapping_neg() as u16))
        } else {
            Ok(result)
        }
    }

    /// The number.
    #[must_use]
    pub const fn number(self) -> u16 {
        self.0
    }

    /// The device or the user's share of it is full, or the file may not grow.
    #[must_use]
    pub const fn is_full(self) -> bool {
        matches!(self, Self::ENOSPC | Self::EDQUOT | Self::EFBIG)
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.known() {
            Some((_, text)) => f.write_str(text),
            None => write!(f, "error number {}", self.0),
        }
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.known() {
            Some((name, _)) => f.write_str(name),
            None => write!(f, "Errno({})", self.0),
        }
    }
}

impl core::error::Error for Errno {}
