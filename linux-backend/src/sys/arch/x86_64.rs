//! The system call instruction of x86-64.

use core::arch::asm;

/// # Safety
/// As [`super::syscall`].
#[inline]
pub(super) unsafe fn syscall(number: u32, args: [usize; 6]) -> usize {
    let [a, b, c, d, e, f] = args;
    let result;
    // SAFETY: the registers are those of the kernel's calling convention (syscall(2)); it changes `rax`, `rcx` and
    // `r11` alone and does not touch the stack. What it does to memory is the caller's promise.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number as usize => result,
            in("rdi") a,
            in("rsi") b,
            in("rdx") c,
            in("r10") d,
            in("r8") e,
            in("r9") f,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack, preserves_flags),
        );
    }
    result
}
