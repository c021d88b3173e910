//! What a device must be able to do.

use super::twin;
use crate::fault::StorageError;
use crate::flat::DeviceGeometry;

/// A row of bytes that can be read, programmed and, mostly, erased. Offsets are in bytes from its start.
///
/// No method has a default, so that a decorator that forgets one does not compile.
#[twin(AFIT)]
#[allow(
    async_fn_in_trait,
    reason = "an executor of one core asks for no Send, and callers name their device"
)]
pub trait Device {
    /// The device's own error. [`Fault::Unreadable`](crate::Fault::Unreadable) is an ECC fault of bytes that an
    /// interrupted program may have torn: they are then taken for bytes that do not verify, not for a dead device.
    type Error: StorageError + 'static;

    /// Never changes during the life of the value.
    fn geometry(&self) -> DeviceGeometry;

    /// Whether a failed sync may forget what was programmed while it still reads back and later syncs succeed, as the
    /// cache of a file does. What was recovered is then programmed again, the same bytes, with or without erase; and slots
    /// that were found free are cleared again before the first segment is created.
    fn may_forget(&self) -> bool;

    /// Fills `buf`. Any offset and length within the device.
    ///
    /// # Errors
    /// The contents of `buf` mean nothing.
    async fn read(&mut self, offset: u32, buf: &mut [u8]) -> Result<(), Self::Error>;

    /// Programs whole write units, one at least. On a device with erase, each of them once after its block was erased, unless the
    /// device may forget: it then takes the same bytes a second time. So does one whose power failed in the first program
    /// of a session, if it left no trace.
    ///
    /// Power loss before the next `sync`: each unit is old, new or torn; no other byte changes outside a shared sync
    /// unit. Of those that were begun only the last may read as if it never was. What is torn may read as something else each
    /// time; but what reads as new once is taken to last: cells that were programmed so weakly that they lose it later, and
    /// have no ECC to tell, look like damage then.
    ///
    /// # Errors
    /// The units are in doubt.
    async fn program(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Self::Error>;

    /// Erases whole erase blocks. Never called on a device without erase.
    ///
    /// Power loss: these blocks hold anything, even what reads as erased and does not last.
    ///
    /// # Errors
    /// The blocks are in doubt.
    async fn erase(&mut self, offset: u32, len: u32) -> Result<(), Self::Error>;

    /// On return, everything programmed and erased survives power loss.
    ///
    /// # Errors
    /// Nothing since the last sync is known durable.
    async fn sync(&mut self) -> Result<(), Self::Error>;
}

/// A device that is lent: what fails to open it does not keep it.
#[twin(AFIT)]
impl<D: Device> Device for &mut D {
    type Error = D::Error;

    fn geometry(&self) -> DeviceGeometry {
        (**self).geometry()
    }

    fn may_forget(&self) -> bool {
        (**self).may_forget()
    }

    async fn read(&mut self, offset: u32, buf: &mut [u8]) -> Result<(), Self::Error> {
        (**self).read(offset, buf).await
    }

    async fn program(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Self::Error> {
        (**self).program(offset, bytes).await
    }

    async fn erase(&mut self, offset: u32, len: u32) -> Result<(), Self::Error> {
        (**self).erase(offset, len).await
    }

    async fn sync(&mut self) -> Result<(), Self::Error> {
        (**self).sync().await
    }
}
