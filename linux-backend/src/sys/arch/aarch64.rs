//! The system call instruction of AArch64.

use core::arch::asm;

/// # Safety
/// As [`super::syscall`].
#[inline]
pub(super) unsafe fn syscall(number: u32, args: [usize; 6]) -> usize {
    let [a, b, c, d, e, f] = args;
    let result;
    // SAFETY: the registers are those of the kernel's calling convention (syscall(2)); it changes `x0` alone and does
    // not touch the stack. What it does to memory is the caller's promise.
    unsafe {
        asm!(
            "svc 0",
            in("x8") number as usize,
            inlateout("x0") a => result,
            in("x1") b,
            in("x2") c,
            in("x3") d,
            in("x4") e,
            in("x5") f,
            options(nostack, preserves_flags),
        );
    }
    result
}
