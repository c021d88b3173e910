//! What a C library would do before `main` and beside it.

#![allow(unsafe_code, reason = "there is nothing below this file but the kernel")]

use core::arch::global_asm;
use core::ffi::{CStr, c_char};
use core::fmt::{self, Write};
use core::panic::PanicInfo;

use walstone_linux::sys;

/// Exit code after a panic.
const PANICKED: u8 = 101;

#[cfg(target_arch = "x86_64")]
global_asm!(
    ".globl _start",
    "_start:",
    "xor ebp, ebp",
    "mov rdi, rsp",
    "and rsp, -16",
    "call {entry}",
    "ud2",
    entry = sym entry,
);

#[cfg(target_arch = "aarch64")]
global_asm!(
    ".globl _start",
    "_start:",
    "mov x29, #0",
    "mov x30, #0",
    "mov x0, sp",
    "bl {entry}",
    "brk #1",
    entry = sym entry,
);

#[cfg(target_arch = "riscv64")]
global_asm!(
    ".globl _start",
    "_start:",
    ".option push",
    ".option norelax",
    "lla gp, __global_pointer$",
    ".option pop",
    "mv a0, sp",
    "andi sp, sp, -16",
    "call {entry}",
    "unimp",
    entry = sym entry,
);

/// Gets the stack as the kernel made it: the number of arguments, then a pointer to each.
unsafe extern "C" fn entry(stack: *const usize) -> ! {
    // SAFETY: the kernel put the number of arguments there.
    let count = unsafe { *stack };
    if count < 2 {
        fail(format_args!("a directory is to be given"), 2);
    }
    // SAFETY: there are `count` pointers behind the number, and `count` is two at least.
    let first = unsafe { stack.add(2) };
    // SAFETY: as above: it points to the second of these pointers.
    let first = unsafe { *first } as *const c_char;
    // SAFETY: the kernel put a string with a NUL there, which stays while the process lives.
    let directory = unsafe { CStr::from_ptr(first) };
    sys::exit(match crate::run(directory) {
        Ok(()) => 0,
        Err(failure) => fail(format_args!("{failure}"), failure.code()),
    })
}

fn fail(what: fmt::Arguments<'_>, code: u8) -> ! {
    let _ = writeln!(StandardError, "freestanding: {what}");
    sys::exit(code)
}

struct StandardError;

impl Write for StandardError {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        sys::print(text.as_bytes()).map_err(|_| fmt::Error)
    }
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    fail(format_args!("{info}"), PANICKED)
}

/// The compiled `core` names it, for unwinding, which this program does not do.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}
