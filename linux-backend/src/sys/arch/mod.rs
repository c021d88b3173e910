//! The one instruction that differs from processor to processor.

#![expect(
    unsafe_code,
    reason = "a system call is an instruction that the compiler does not know"
)]

#[cfg(target_arch = "aarch64")]
mod aarch64;
#[cfg(target_arch = "riscv64")]
mod riscv64;
#[cfg(target_arch = "x86_64")]
mod x86_64;

#[cfg(target_arch = "aarch64")]
use aarch64 as native;
#[cfg(target_arch = "riscv64")]
use riscv64 as native;
#[cfg(target_arch = "x86_64")]
use x86_64 as native;

use super::errno::Errno;

/// Enters the kernel. <https://man7.org/linux/man-pages/man2/syscall.2.html>
///
/// # Safety
/// Pointers among the arguments point to memory that the kernel may read or write as this call does, for as long
/// as it does, and the call changes nothing else that the compiler relies on: no mapped memory, no stack.
#[inline]
pub(super) unsafe fn syscall(number: u32, args: [usize; 6]) -> Result<usize, Errno> {
    // SAFETY: the caller promises the same.
    let result = unsafe { native::syscall(number, args) };
    Errno::check(result)
}
