//! The emulated board, QEMU's mps2-an386: memory beside the linker's, words to the host, and a stack to measure.

use core::arch::asm;
use core::ffi::CStr;
use core::ptr;

use cortex_m_semihosting::{debug, syscall1};

/// A second RAM of the board, of 16 MiB, which no section of the program lies in. The flash is simulated in it, so
/// that it costs the program nothing.
const SECOND_RAM: usize = 0x2100_0000;

/// The memory that stands for the cells of a flash chip. To be asked for once.
pub fn cells(len: usize) -> &'static mut [u8] {
    // SAFETY: any bytes are valid, the range is RAM that nothing else uses, and the caller asks once.
    unsafe { core::slice::from_raw_parts_mut(ptr::without_provenance_mut(SECOND_RAM), len) }
}

/// What a caller lends to an engine, outside the stack that is measured. To be asked for once.
pub fn lent<T>(value: T) -> &'static mut T {
    let place: *mut T = ptr::without_provenance_mut(SECOND_RAM + 0x0080_0000);
    // SAFETY: aligned RAM behind the cells, used for this alone, and the caller asks once.
    unsafe {
        place.write(value);
        &mut *place
    }
}

/// Prints a text without the machinery for formatting, which would count in every figure.
pub fn print(text: &CStr) {
    // SAFETY: the host reads up to the zero.
    unsafe { syscall1!(WRITE0, text.as_ptr()) };
}

/// Prints a number.
pub fn print_number(mut value: u32) {
    let mut digits = [0u8; 12];
    let mut rest = digits.split_last_mut().map(|(_, rest)| rest);
    while let Some((digit, front)) = rest.take().and_then(|rest| rest.split_last_mut()) {
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
        if value > 0 {
            rest = Some(front);
        }
    }
    let number = digits.iter().position(|&digit| digit != 0).unwrap_or(0);
    if let Some(text) = digits
        .get(number..)
        .and_then(|rest| CStr::from_bytes_with_nul(rest).ok())
    {
        print(text);
    }
}

/// Ends the emulation with the exit code 0 or 1.
pub fn exit(good: bool) -> ! {
    let code = if good { debug::EXIT_SUCCESS } else { debug::EXIT_FAILURE };
    loop {
        debug::exit(code);
    }
}

const PAINT: u32 = 0x5bd1_e995;
/// Bytes that are painted. More than any program here takes, and less than the RAM.
const PAINTED_LEN: usize = 32 * 1024;

/// Bytes of stack that `work` takes.
#[inline(never)]
pub fn stack_of(work: impl FnOnce()) -> u32 {
    let top: usize;
    // SAFETY: only reads the stack pointer.
    unsafe { asm!("mov {}, sp", out(reg) top, options(nomem, nostack)) };
    let bottom = top - PAINTED_LEN;
    for at in (bottom..top).step_by(4) {
        // SAFETY: RAM below the stack pointer is free, and no interrupt is enabled.
        unsafe { ptr::write_volatile(ptr::without_provenance_mut::<u32>(at), PAINT) };
    }
    work();
    let mut at = bottom;
    // SAFETY: RAM.
    while at < top && unsafe { ptr::read_volatile(ptr::without_provenance::<u32>(at)) } == PAINT {
        at += 4;
    }
    (top - at) as u32
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    print(c"panic\n");
    exit(false)
}
