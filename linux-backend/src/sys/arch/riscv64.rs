//! The system call instruction of 64-bit RISC-V.

use core::arch::asm;

/// # Safety
/// As [`super::syscall`].
#[inline]
pub(super) unsafe fn syscall(number: u32, args: [usize; 6]) -> usize {
    let [a, b, c, d, e, f] = args;
    let result;
    // SAFETY: the registers are those of the kernel's calling convention (syscall(2)); it changes `a0` and the vector
    // registers alone, which are named, and does not touch the stack. What it does to memory is the caller's promise.
    unsafe {
        asm!(
            "ecall",
            in("a7") number as usize,
            inlateout("a0") a => result,
            in("a1") b,
            in("a2") c,
            in("a3") d,
            in("a4") e,
            in("a5") f,
            out("v0") _, out("v1") _, out("v2") _, out("v3") _, out("v4") _, out("v5") _, out("v6") _, out("v7") _,
            out("v8") _, out("v9") _, out("v10") _, out("v11") _, out("v12") _, out("v13") _, out("v14") _,
            out("v15") _, out("v16") _, out("v17") _, out("v18") _, out("v19") _, out("v20") _, out("v21") _,
            out("v22") _, out("v23") _, out("v24") _, out("v25") _, out("v26") _, out("v27") _, out("v28") _,
            out("v29") _, out("v30") _, out("v31") _,
            options(nostack, preserves_flags),
        );
    }
    result
}
