//! Opening where the log is to stand. Takes no decision of its own.

use super::log::{self, Log};
use super::storage::Storage;
use super::twin;
use crate::capacity::Capacity;
use crate::engine::Engine;
use crate::error::{Error, Refusal};
use crate::recover::{Mode, Options};

/// A log that is not open yet, and is opened where it stands: for hosts whose stack is small. [`Log::open`] and its like
/// move what they opened to its place; until then it stands on the stack below the recovery.
///
/// Takes one attempt. What it was given serves for another: [`Unopened::into_storage`], and the room, lent anew.
///
/// ```
/// use walstone_core::flat::{DeviceGeometry, FlatRoom, FlatStorage, SliceDevice};
/// use walstone_core::{Error, Options, Unopened, Workspace};
///
/// let mut bytes = [0; 16384];
/// let (mut slots, mut room) = (FlatRoom::<8, 32>::new(), Workspace::<8, 8, 4, 512>::new());
/// let device = SliceDevice::new(&mut bytes, DeviceGeometry::without_erase(16384));
/// let storage = FlatStorage::open(device, 2048, slots.lend())?;
/// let mut place = Unopened::new(storage, room.lend(), Options::new(1, 0x5eed));
/// assert!(matches!(place.open(), Err(Error::NoRegion)));
///
/// let mut place = Unopened::new(place.into_storage(), room.lend(), Options::new(1, 0x5eed));
/// let log = place.create()?;
/// log.append(7, b"value")?; // written
/// log.sync()?; // durable
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Unopened<'w, S> {
    log: Log<'w, S>,
}

#[twin(AFIT)]
impl<'w, S: Storage> Unopened<'w, S> {
    /// Reads and changes nothing.
    #[cfg_attr(not(feature = "alloc"), inline(never))] // What it moves leaves the stack before the recovery.
    pub fn new(storage: S, capacity: Capacity<'w>, options: Options) -> Self {
        let engine = Engine::new(&options, storage.geometry(), capacity);
        Self {
            log: Log { engine, storage },
        }
    }

    /// As [`Log::open`].
    ///
    /// # Errors
    /// As [`Log::open`]; [`Error::Closed`] for a second attempt.
    pub async fn open(&mut self) -> Result<&mut Log<'w, S>, Error<S::Error>> {
        self.open_as(Mode::Open).await
    }

    /// As [`Log::open_read_only`].
    ///
    /// # Errors
    /// As [`Unopened::open`].
    pub async fn open_read_only(&mut self) -> Result<&mut Log<'w, S>, Error<S::Error>> {
        self.open_as(Mode::ReadOnly).await
    }

    /// As [`Log::create`].
    ///
    /// # Errors
    /// As [`Log::create`]; [`Error::Closed`] for a second attempt.
    pub async fn create(&mut self) -> Result<&mut Log<'w, S>, Error<S::Error>> {
        self.open_as(Mode::Create).await
    }

    /// As [`Log::open_or_create`].
    ///
    /// # Errors
    /// As [`Log::open_or_create`]; [`Error::Closed`] for a second attempt.
    pub async fn open_or_create(&mut self) -> Result<&mut Log<'w, S>, Error<S::Error>> {
        self.open_as(Mode::OpenOrCreate).await
    }

    #[cfg_attr(not(feature = "alloc"), inline(never))] // Nothing of it stands on the stack of those who use the log.
    pub(crate) async fn open_as(&mut self, mode: Mode) -> Result<&mut Log<'w, S>, Error<S::Error>> {
        let Log { engine, storage } = &mut self.log;
        engine.open_as(mode).map_err(Refusal::on)?;
        log::recover(storage, engine, mode).await?;
        Ok(&mut self.log)
    }

    pub(crate) fn into_log(self) -> Log<'w, S> {
        self.log
    }

    /// The storage, whatever became of the attempt.
    pub fn into_storage(self) -> S {
        self.log.into_storage()
    }
}
