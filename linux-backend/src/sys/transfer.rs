//! Bytes into files and out of them, and their syncs.

#![expect(unsafe_code, reason = "passes buffers to the kernel")]

use linux_raw_sys::general::{
    __NR_fadvise64, __NR_fdatasync, __NR_pread64, __NR_pwrite64, __NR_pwritev, __NR_pwritev2, POSIX_FADV_DONTNEED,
    RWF_DSYNC, iovec,
};

use super::arch::syscall;
use super::errno::Errno;
use super::fd::FdNumber;
use super::retried;
use super::watch::{Call, transferred, watched};

/// What a write promises on return.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// The kernel has the bytes.
    Written,
    /// These bytes, and no others, survive power loss.
    Durable,
}

/// Reads until `buf` is full or the file ends; the bytes read.
/// <https://man7.org/linux/man-pages/man2/pread.2.html>
///
/// # Errors
/// Those of pread(2).
pub fn read_at(fd: FdNumber, buf: &mut [u8], offset: u64) -> Result<usize, Errno> {
    let mut done = 0;
    while let Some(rest) = buf.get_mut(done..).filter(|rest| !rest.is_empty()) {
        let at = offset + done as u64;
        let args = [fd.argument(), rest.as_mut_ptr() as usize, rest.len(), at as usize, 0, 0];
        // SAFETY: the kernel writes at most `rest.len()` bytes to `rest`, which is borrowed mutably for the call.
        match retried(|| unsafe { syscall(__NR_pread64, args) })? {
            0 => break,
            count => done += count,
        }
    }
    Ok(done)
}

/// Writes all of `data`. Where a transfer was cut short the rest starts at a multiple of `block` again, as direct
/// access needs it.
///
/// Power loss: unless it returned as durable each byte is old or new.
///
/// # Errors
/// Those of pwrite(2) and pwritev2(2), a part may be written then; [`Errno::EIO`] where the device takes no byte;
/// [`Errno::EOPNOTSUPP`] or [`Errno::ENOSYS`], and nothing is written, where the kernel has no durable writes.
pub fn write_at(fd: FdNumber, data: &[u8], offset: u64, block: u32, durability: Durability) -> Result<(), Errno> {
    let mut done = 0;
    let mut stuck = false;
    while let Some(rest) = data.get(done..).filter(|rest| !rest.is_empty()) {
        let at = offset + done as u64;
        let count = match durability {
            Durability::Written => write_once(fd, rest, at)?,
            Durability::Durable => write_durable_once(fd, rest, at)?,
        };
        let whole = if count < rest.len() {
            count - count % block as usize
        } else {
            rest.len()
        };
        if whole == 0 && (count == 0 || stuck) {
            return Err(Errno::EIO);
        }
        stuck = whole == 0;
        done += whole;
    }
    Ok(())
}

/// <https://man7.org/linux/man-pages/man2/pwrite.2.html>
fn write_once(fd: FdNumber, data: &[u8], offset: u64) -> Result<usize, Errno> {
    let make = |most: usize| {
        let len = most.min(data.len());
        let args = [fd.argument(), data.as_ptr() as usize, len, offset as usize, 0, 0];
        // SAFETY: the kernel reads at most `len` bytes of `data`, which has so many and is borrowed for the call.
        unsafe { syscall(__NR_pwrite64, args) }
    };
    retried(|| transferred(written(fd, offset, data, false), data.len(), make))
}

/// <https://man7.org/linux/man-pages/man2/pwritev2.2.html>
///
/// Not made again after an interruption: that may have hit the sync behind the write.
fn write_durable_once(fd: FdNumber, data: &[u8], offset: u64) -> Result<usize, Errno> {
    transferred(written(fd, offset, data, true), data.len(), |most| {
        let vector = iovec {
            iov_base: data.as_ptr().cast_mut().cast(),
            iov_len: most.min(data.len()) as _,
        };
        // All targets have 64 bits: the offset is one argument, and the next one is not looked at.
        let args = [
            fd.argument(),
            &raw const vector as usize,
            1,
            offset as usize,
            0,
            RWF_DSYNC as usize,
        ];
        // SAFETY: the kernel reads one vector, and at most `data.len()` bytes of `data`; both are borrowed for the call.
        unsafe { syscall(__NR_pwritev2, args) }
    })
}

pub(super) const fn written(fd: FdNumber, offset: u64, data: &[u8], durable: bool) -> Call<'_> {
    Call::Write {
        file: fd.raw(),
        offset,
        data,
        durable,
    }
}

/// As large as the alignment that any direct access asks for.
#[repr(align(4096))]
struct Zeros([u8; ZEROS_LEN]);
const ZEROS_LEN: usize = 64 << 10;
static ZEROS: Zeros = Zeros([0; ZEROS_LEN]);

/// Writes zeros from `from` to `to`, at most `piece_len` bytes with one call: up to 1 MiB, or of a piece that is longer.
///
/// # Errors
/// Those of pwritev(2); a part may be written then.
pub fn write_zeros(fd: FdNumber, from: u32, to: u32, piece_len: u32) -> Result<(), Errno> {
    let mut at = from;
    while at < to {
        let next = (u64::from(at) + 1).next_multiple_of(u64::from(piece_len));
        let end = next.min(u64::from(to)) as u32;
        let wanted = ((end - at) as usize).min(ZERO_PARTS * ZEROS_LEN);
        let count = write_zeros_once(fd, wanted, u64::from(at))?;
        // What is cut short starts at a block again, as direct access needs it.
        let whole = if count < wanted { count - count % 512 } else { wanted };
        if whole == 0 {
            return Err(Errno::EIO);
        }
        at += whole as u32;
    }
    Ok(())
}

/// Times that the zeros stand in one write.
const ZERO_PARTS: usize = 16;

/// <https://man7.org/linux/man-pages/man2/pwritev.2.html>
fn write_zeros_once(fd: FdNumber, len: usize, offset: u64) -> Result<usize, Errno> {
    let make = |len: usize| {
        let mut left = len;
        let parts: [iovec; ZERO_PARTS] = core::array::from_fn(|_| {
            let part = left.min(ZEROS_LEN);
            left -= part;
            iovec {
                iov_base: ZEROS.0.as_ptr().cast_mut().cast(),
                iov_len: part as _,
            }
        });
        let used = len.div_ceil(ZEROS_LEN).min(ZERO_PARTS);
        let args = [fd.argument(), parts.as_ptr() as usize, used, offset as usize, 0, 0];
        // SAFETY: the kernel reads `used` vectors, which are there, and of each at most `ZEROS_LEN` bytes of a static.
        unsafe { syscall(__NR_pwritev, args) }
    };
    let file = fd.raw();
    retried(|| transferred(Call::WriteZeros { file, offset, len }, len, make))
}

/// Makes what was written durable, with the length and the blocks that reading it back needs.
/// <https://man7.org/linux/man-pages/man2/fdatasync.2.html>
///
/// # Errors
/// After any error, an interruption included, nobody knows what is durable: a second try may say yes about bytes
/// that are gone.
pub fn sync_data(fd: FdNumber) -> Result<(), Errno> {
    let args = [fd.argument(), 0, 0, 0, 0, 0];
    // SAFETY: no memory is passed.
    watched(Call::SyncData { file: fd.raw() }, || unsafe {
        syscall(__NR_fdatasync, args)
    })
    .map(drop)
}

/// Asks the kernel to forget the clean pages of a file, so that they are read from the device again.
/// <https://man7.org/linux/man-pages/man2/posix_fadvise.2.html>
///
/// # Errors
/// Those of posix_fadvise(2).
pub fn drop_cache(fd: FdNumber) -> Result<(), Errno> {
    let args = [fd.argument(), 0, 0, POSIX_FADV_DONTNEED as usize, 0, 0];
    // SAFETY: no memory is passed, and no byte changes.
    retried(|| unsafe { syscall(__NR_fadvise64, args) }).map(drop)
}
