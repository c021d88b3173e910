//! Descriptors. <https://man7.org/linux/man-pages/man2/close.2.html>

#![expect(unsafe_code, reason = "closes a descriptor that it owns")]

use linux_raw_sys::general::__NR_close;

use super::arch::syscall;
use super::signed;

/// An open file, closed on drop.
#[derive(Debug)]
pub struct Fd(i32);

impl Fd {
    /// Takes what the kernel returned.
    pub(super) const fn new(raw: usize) -> Self {
        Self(raw as i32)
    }

    /// The number, which is good while this value lives.
    #[must_use]
    pub const fn number(&self) -> FdNumber {
        FdNumber(self.0)
    }
}

impl Drop for Fd {
    /// An error of close(2) says nothing that a sync did not say, and the descriptor is closed all the same.
    fn drop(&mut self) {
        // SAFETY: no memory is passed, and nobody else uses this descriptor: it is owned.
        let _ = unsafe { syscall(__NR_close, [signed(self.0), 0, 0, 0, 0, 0]) };
    }
}

/// Names an open file to a call. Used beside the owner's lock, where whoever uses it holds the file open by other
/// means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FdNumber(i32);

impl FdNumber {
    pub(super) const fn argument(self) -> usize {
        signed(self.0)
    }

    /// For recorders.
    pub(super) const fn raw(self) -> i32 {
        self.0
    }
}

impl From<&Fd> for FdNumber {
    fn from(fd: &Fd) -> Self {
        fd.number()
    }
}
