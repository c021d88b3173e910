//! Writes that go on while the caller does something else.

#![expect(unsafe_code, reason = "the kernel reads buffers behind the call")]

use core::ptr;

use linux_raw_sys::general::{__NR_io_destroy, __NR_io_getevents, __NR_io_setup, __NR_io_submit};

use super::arch::syscall;
use super::errno::Errno;
use super::fd::FdNumber;
use super::retried;
use super::transfer::written;
use super::watch::{Call, Ended, Order, transferred, watched};

/// Writes on their way, told apart by numbers of the caller's. Of the process that made it: a forked child has none.
#[derive(Debug)]
pub struct WriteQueue {
    context: u64,
    order: Order,
}

/// What the kernel is asked to do, in its own form.
#[repr(C)]
struct Request {
    number: u64,
    key: u32,
    flags: u32,
    operation: u16,
    priority: i16,
    file: u32,
    buffer: u64,
    len: u64,
    offset: i64,
    reserved: u64,
    request_flags: u32,
    notified: u32,
}

/// What became of it.
#[repr(C)]
#[derive(Clone, Copy)]
struct Event {
    number: u64,
    request: u64,
    result: i64,
    result_2: i64,
}

const _: () = assert!(size_of::<Request>() == 64 && size_of::<Event>() == 32);

/// `IOCB_CMD_PWRITE`.
const WRITE: u16 = 1;

impl WriteQueue {
    /// A queue for so many writes. <https://man7.org/linux/man-pages/man2/io_setup.2.html>
    ///
    /// # Errors
    /// Those of io_setup(2); [`Errno::ENOSYS`] or [`Errno::EPERM`] where the kernel has none or may not give one.
    pub fn new(depth: u32) -> Result<Self, Errno> {
        let mut context = 0u64;
        let args = [depth as usize, &raw mut context as usize, 0, 0, 0, 0];
        // SAFETY: the kernel writes one number to `context`, which is borrowed for the call, and maps pages of its own.
        retried(|| unsafe { syscall(__NR_io_setup, args) })?;
        Ok(Self {
            context,
            order: Order::new(),
        })
    }

    /// Begins to write `data` at `offset`, and does not wait where the file system need not.
    /// <https://man7.org/linux/man-pages/man2/io_submit.2.html>
    ///
    /// # Safety
    /// `data` stays allocated and unchanged until [`WriteQueue::wait`] told of `number`, or the queue was dropped.
    ///
    /// # Errors
    /// Those of io_submit(2): nothing is on its way then.
    pub(crate) unsafe fn submit(&mut self, fd: FdNumber, data: &[u8], offset: u64, number: u64) -> Result<(), Errno> {
        let request = Request {
            number,
            key: 0,
            flags: 0,
            operation: WRITE,
            priority: 0,
            file: fd.argument() as u32,
            buffer: data.as_ptr() as u64,
            len: data.len() as u64,
            offset: offset as i64,
            reserved: 0,
            request_flags: 0,
            notified: 0,
        };
        let requests = [&raw const request];
        let args = [self.context as usize, 1, requests.as_ptr() as usize, 0, 0, 0];
        let call = Call::Submit {
            file: fd.raw(),
            offset,
            data,
        };
        // SAFETY: the kernel reads one address and the request there, both borrowed for the call; it reads at most
        // `data.len()` bytes of `data` until the write ended, and the caller promises that they are there.
        let make = || unsafe { syscall(__NR_io_submit, args) };
        match retried(|| watched(call, make))? {
            1 => {
                self.order.sent();
                Ok(())
            }
            _ => Err(Errno::EAGAIN),
        }
    }

    /// Waits until one of the writes ended: its number, and the bytes written or why not.
    /// <https://man7.org/linux/man-pages/man2/io_getevents.2.html>
    ///
    /// # Errors
    /// Those of io_getevents(2): any of them may still be on its way. Waits for ever where none is.
    pub fn wait(&mut self) -> Result<(u64, Result<usize, Errno>), Errno> {
        let context = self.context;
        self.order.next(|| wait(context))
    }
}

/// The next write of a queue that ended, as the kernel has it.
fn wait(context: u64) -> Result<Ended, Errno> {
    let mut event = Event {
        number: 0,
        request: 0,
        result: 0,
        result_2: 0,
    };
    let args = [
        context as usize,
        1,
        1,
        &raw mut event as usize,
        ptr::null::<u8>() as usize,
        0,
    ];
    // SAFETY: the kernel writes at most one event, which is borrowed for the call; no timeout is passed.
    match retried(|| unsafe { syscall(__NR_io_getevents, args) })? {
        1 => Ok((event.number, Errno::check(event.result as usize))),
        _ => Err(Errno::EIO),
    }
}

/// What became of a write that ended, as recorders are to know it: it is none before.
///
/// # Errors
/// That of the write.
pub(crate) fn ended(fd: FdNumber, data: &[u8], offset: u64, result: Result<usize, Errno>) -> Result<usize, Errno> {
    transferred(written(fd, offset, data, false), data.len(), |most| {
        result.map(|count| count.min(most))
    })
}

impl Drop for WriteQueue {
    /// Waits for all that is on its way. <https://man7.org/linux/man-pages/man2/io_destroy.2.html>
    fn drop(&mut self) {
        // SAFETY: no memory is passed; the pages that the kernel mapped for the queue are used by nobody else.
        let _ = unsafe { syscall(__NR_io_destroy, [self.context as usize, 0, 0, 0, 0, 0]) };
    }
}
