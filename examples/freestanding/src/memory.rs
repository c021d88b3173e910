//! The functions that compiled code calls to move bytes. On x86-64 nobody else brings them.

#![allow(unsafe_code, reason = "these functions are what safe copies are made of")]

use core::arch::asm;

/// # Safety
/// As memcpy(3).
#[unsafe(no_mangle)]
unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, len: usize) -> *mut u8 {
    // SAFETY: copies `len` bytes upwards, which the caller lends; the direction flag is clear by the calling
    // convention.
    unsafe { asm!("rep movsb", inout("rcx") len => _, inout("rdi") to => _, inout("rsi") from => _, options(nostack)) };
    to
}

/// # Safety
/// As memmove(3).
#[unsafe(no_mangle)]
unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, len: usize) -> *mut u8 {
    if (to as usize).wrapping_sub(from as usize) >= len {
        // SAFETY: bytes that are overwritten were read before: the target does not start within the source.
        return unsafe { memcpy(to, from, len) };
    }
    // SAFETY: copies `len` bytes downwards from the last one, which the caller lends; `len` is not zero here, and the
    // direction flag is cleared again.
    unsafe {
        asm!(
            "std",
            "rep movsb",
            "cld",
            inout("rcx") len => _,
            inout("rdi") to.wrapping_add(len).wrapping_sub(1) => _,
            inout("rsi") from.wrapping_add(len).wrapping_sub(1) => _,
            options(nostack),
        );
    }
    to
}

/// # Safety
/// As memset(3).
#[unsafe(no_mangle)]
unsafe extern "C" fn memset(to: *mut u8, byte: i32, len: usize) -> *mut u8 {
    // SAFETY: stores `len` bytes, which the caller lends; the direction flag is clear by the calling convention.
    unsafe { asm!("rep stosb", inout("rcx") len => _, inout("rdi") to => _, in("al") byte as u8, options(nostack)) };
    to
}

/// # Safety
/// As memcmp(3).
#[unsafe(no_mangle)]
unsafe extern "C" fn memcmp(left: *const u8, right: *const u8, len: usize) -> i32 {
    for at in 0..len {
        // SAFETY: the caller lends `len` bytes there, and `at` is less.
        let a = unsafe { byte(left, at) };
        // SAFETY: as above.
        let b = unsafe { byte(right, at) };
        if a != b {
            return i32::from(a) - i32::from(b);
        }
    }
    0
}

/// Volatile, so that the loops around it are not taken for calls of these very functions.
///
/// # Safety
/// There is a byte at `from[at]`.
unsafe fn byte(from: *const u8, at: usize) -> u8 {
    // SAFETY: the caller promises that the result is within what `from` points to.
    let byte = unsafe { from.add(at) };
    // SAFETY: the caller promises a byte there.
    unsafe { byte.read_volatile() }
}

/// # Safety
/// As bcmp(3).
#[unsafe(no_mangle)]
unsafe extern "C" fn bcmp(left: *const u8, right: *const u8, len: usize) -> i32 {
    // SAFETY: the caller promises the same.
    unsafe { memcmp(left, right, len) }
}

/// # Safety
/// As strlen(3).
#[unsafe(no_mangle)]
unsafe extern "C" fn strlen(text: *const u8) -> usize {
    let mut len = 0;
    loop {
        // SAFETY: the caller lends all bytes up to the first NUL, and none before `len` is one.
        if unsafe { byte(text, len) } == 0 {
            return len;
        }
        len += 1;
    }
}
