//! A lock that sleeps in the kernel. <https://man7.org/linux/man-pages/man2/futex.2.html>

#![expect(unsafe_code, reason = "a lock promises exclusion, and the kernel is told an address")]

use core::fmt;
use core::hint::spin_loop;
use core::sync::atomic::{AtomicU32, Ordering};

use linux_raw_sys::general::{__NR_futex, FUTEX_WAIT_PRIVATE, FUTEX_WAKE_PRIVATE};

use super::arch::syscall;

/// A value behind a [`Futex`].
pub type Mutex<T> = lock_api::Mutex<Futex, T>;

/// The raw lock: free, held, or held with others asleep.
pub struct Futex(AtomicU32);

const FREE: u32 = 0;
const HELD: u32 = 1;
const AWAITED: u32 = 2;

/// Times that a waiter looks again before it sleeps: what is held is mostly held for a copy of some bytes.
const SPINS: u32 = 100;

// SAFETY: `lock` and `try_lock` return as holders only after they changed the word from FREE, or to AWAITED from FREE by
// a swap, which one thread at a time can do until `unlock` makes it FREE again; acquire and release order what
// the holders do.
unsafe impl lock_api::RawMutex for Futex {
    const INIT: Self = Self(AtomicU32::new(FREE));

    type GuardMarker = lock_api::GuardSend;

    fn lock(&self) {
        if !self.try_lock() {
            self.lock_contended();
        }
    }

    fn try_lock(&self) -> bool {
        self.0
            .compare_exchange(FREE, HELD, Ordering::Acquire, Ordering::Relaxed)
            .is_ok()
    }

    unsafe fn unlock(&self) {
        if self.0.swap(FREE, Ordering::Release) == AWAITED {
            let args = [self.address(), FUTEX_WAKE_PRIVATE as usize, 1, 0, 0, 0];
            // SAFETY: the kernel takes the address as a name and reads nothing there.
            let _ = unsafe { syscall(__NR_futex, args) };
        }
    }
}

impl Futex {
    fn address(&self) -> usize {
        self.0.as_ptr() as usize
    }

    #[cold]
    fn lock_contended(&self) {
        for _ in 0..SPINS {
            if self.0.load(Ordering::Relaxed) == FREE && lock_api::RawMutex::try_lock(self) {
                return;
            }
            spin_loop();
        }
        // From here on the word says that somebody sleeps, so that whoever unlocks wakes one.
        while self.0.swap(AWAITED, Ordering::Acquire) != FREE {
            let args = [self.address(), FUTEX_WAIT_PRIVATE as usize, AWAITED as usize, 0, 0, 0];
            // SAFETY: the kernel reads the word, which is borrowed for the call; no timeout is passed. Woken,
            // interrupted or told that the word changed: it is looked at again.
            let _ = unsafe { syscall(__NR_futex, args) };
        }
    }
}

impl fmt::Debug for Futex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Futex").field(&self.0.load(Ordering::Relaxed)).finish()
    }
}
