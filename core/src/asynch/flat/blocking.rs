//! A blocking device where one is awaited.

use crate::asynch::flat::Device;
use crate::flat;

/// A device whose calls are done when they return: FRAM in the address space, say, beside flash that is awaited.
#[derive(Debug)]
pub struct Blocking<D>(pub D);

impl<D: flat::Device> Device for Blocking<D> {
    type Error = D::Error;

    fn geometry(&self) -> flat::DeviceGeometry {
        self.0.geometry()
    }

    fn may_forget(&self) -> bool {
        self.0.may_forget()
    }

    async fn read(&mut self, offset: u32, buf: &mut [u8]) -> Result<(), Self::Error> {
        self.0.read(offset, buf)
    }

    async fn program(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Self::Error> {
        self.0.program(offset, bytes)
    }

    async fn erase(&mut self, offset: u32, len: u32) -> Result<(), Self::Error> {
        self.0.erase(offset, len)
    }

    async fn sync(&mut self) -> Result<(), Self::Error> {
        self.0.sync()
    }
}
