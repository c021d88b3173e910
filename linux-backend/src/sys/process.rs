//! The process itself: for programs that have no C library.

#![expect(unsafe_code, reason = "system calls")]

use linux_raw_sys::general::{__NR_exit_group, __NR_getpid, __NR_getrandom, __NR_write};

use super::arch::syscall;
use super::errno::Errno;
use super::{retried, signed};

/// The number of this process. <https://man7.org/linux/man-pages/man2/getpid.2.html>
#[must_use]
pub fn process_id() -> u32 {
    // SAFETY: no memory is passed.
    unsafe { syscall(__NR_getpid, [0; 6]) }.unwrap_or(0) as u32
}

/// Ends the process. <https://man7.org/linux/man-pages/man2/exit_group.2.html>
pub fn exit(code: u8) -> ! {
    loop {
        // SAFETY: the process ends; nothing of it is used afterwards.
        let _ = unsafe { syscall(__NR_exit_group, [usize::from(code), 0, 0, 0, 0, 0]) };
    }
}

/// Fills `buf` from the kernel's generator of random numbers, for seeds.
/// <https://man7.org/linux/man-pages/man2/getrandom.2.html>
///
/// # Errors
/// Those of getrandom(2).
pub fn fill_random(buf: &mut [u8]) -> Result<(), Errno> {
    let mut done = 0;
    while let Some(rest) = buf.get_mut(done..).filter(|rest| !rest.is_empty()) {
        let args = [rest.as_mut_ptr() as usize, rest.len(), 0, 0, 0, 0];
        // SAFETY: the kernel writes at most `rest.len()` bytes to `rest`, which is borrowed mutably for the call.
        done += retried(|| unsafe { syscall(__NR_getrandom, args) })?;
    }
    Ok(())
}

/// Writes to the standard error stream. <https://man7.org/linux/man-pages/man2/write.2.html>
///
/// # Errors
/// Those of write(2).
pub fn print(mut text: &[u8]) -> Result<(), Errno> {
    while !text.is_empty() {
        let args = [signed(2), text.as_ptr() as usize, text.len(), 0, 0, 0];
        // SAFETY: the kernel reads at most `text.len()` bytes of `text`, which is borrowed for the call.
        let done = retried(|| unsafe { syscall(__NR_write, args) })?;
        text = text.get(done..).unwrap_or_default();
    }
    Ok(())
}
