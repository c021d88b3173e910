//! How a log is opened, and what an acknowledgement means.

use std::collections::BTreeMap;
use std::fmt;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::num::{NonZeroU32, NonZeroU64};
use std::sync::Arc;
use std::time::{Duration, Instant};

use walstone_core::{Capacity, Geometry, GeometryError};

use crate::files::{FileError, Files, MapStorage};
use crate::seam::{Observer, Seam};

/// What an acknowledgement promises.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
pub enum Durability {
    /// *Written*: the record survives the death of the process, not a power cut.
    Written,
    /// *Durable*: the record survives a power cut.
    #[default]
    Durable,
}

/// When records that were only asked to be written are made durable in the background.
///
/// A failed background sync poisons the region like any other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
pub enum BackgroundSync {
    /// When something else syncs: a durable append, [`Region::sync`](crate::Region::sync), rotation, closing.
    #[default]
    Never,
    /// After so many appends.
    Writes(NonZeroU32),
    /// At most this long after an append.
    Interval(Duration),
    /// After so many bytes of log.
    Bytes(NonZeroU64),
}

/// How segments are written.
#[cfg(all(feature = "linux", target_os = "linux"))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum WritePath {
    /// By stores into shared maps: the cheapest written append.
    #[default]
    Mapped,
    /// By raw system calls through the page cache.
    Buffered,
    /// By raw system calls past the page cache: the cheapest durable append. Where the file system cannot, as
    /// `Buffered`; [`RegionStats`](crate::RegionStats) tell.
    Direct,
}

/// A source of time for [`BackgroundSync::Interval`]. Nothing else looks at a clock, and no record does.
pub trait Clock: fmt::Debug + Send + Sync {
    /// Time since some moment in the past; never runs backwards. A panic ends the background thread of the log, and
    /// with it all background syncs.
    fn now(&self) -> Duration;
}

/// The system's monotonic clock.
#[derive(Debug)]
struct Monotonic(Instant);

impl Clock for Monotonic {
    fn now(&self) -> Duration {
        self.0.elapsed()
    }
}

/// Bytes that the engine reads with one call, where it reads by calls.
#[cfg(all(feature = "linux", target_os = "linux"))]
const READ_LEN: usize = 64 << 10;

/// Bytes that are gathered before they are written without being asked for.
#[cfg(all(feature = "linux", target_os = "linux"))]
const BUFFER_LEN: usize = 1 << 20;

/// How to open a log. Made by [`Options::builder`]; [`Options::default`] suits most.
#[derive(Clone, Debug)]
pub struct Options {
    pub(crate) segment_len: u32,
    pub(crate) region_segment_len: BTreeMap<u64, u32>,
    pub(crate) durability: Durability,
    pub(crate) background_sync: BackgroundSync,
    pub(crate) max_open_segments: usize,
    pub(crate) seed: Option<u64>,
    #[cfg(all(feature = "linux", target_os = "linux"))]
    pub(crate) write_path: WritePath,
    #[cfg(all(feature = "linux", target_os = "linux"))]
    pub(crate) buffer_len: usize,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) seam: Seam,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            segment_len: 64 << 20,
            region_segment_len: BTreeMap::new(),
            durability: Durability::Durable,
            background_sync: BackgroundSync::Never,
            max_open_segments: 256,
            seed: None,
            #[cfg(all(feature = "linux", target_os = "linux"))]
            write_path: WritePath::Mapped,
            #[cfg(all(feature = "linux", target_os = "linux"))]
            buffer_len: BUFFER_LEN,
            clock: Arc::new(Monotonic(Instant::now())),
            seam: Seam::new(),
        }
    }
}

impl Options {
    /// Starts from the defaults: segments of 64 MiB, durable appends, no background sync, 256 open segments.
    #[must_use]
    pub fn builder() -> OptionsBuilder {
        OptionsBuilder::default()
    }

    /// The files of a region that was opened, to be written as these options say.
    pub(crate) fn files(&self, map: MapStorage) -> Result<Files, FileError> {
        #[cfg(all(feature = "linux", target_os = "linux"))]
        return Files::new(map, self.write_path, self.buffer_len);
        #[cfg(not(all(feature = "linux", target_os = "linux")))]
        Ok(map)
    }

    /// What the engine may read into: where bytes are lent from maps, nothing.
    pub(crate) fn capacity(&self) -> Capacity<'static> {
        #[cfg(all(feature = "linux", target_os = "linux"))]
        if self.write_path != WritePath::Mapped {
            return Capacity::heap(READ_LEN);
        }
        Capacity::heap(0)
    }

    /// Entropy for the salts of new segments.
    pub(crate) fn draw_seed(&self) -> u64 {
        // Each `RandomState` is keyed by the operating system's entropy.
        self.seed.unwrap_or_else(|| RandomState::new().build_hasher().finish())
    }
}

/// Builds [`Options`].
#[derive(Clone, Debug, Default)]
pub struct OptionsBuilder {
    options: Options,
}

impl OptionsBuilder {
    /// Bytes of a segment of a new region. Regions that exist keep theirs.
    #[must_use]
    pub const fn segment_len(mut self, bytes: u32) -> Self {
        self.options.segment_len = bytes;
        self
    }

    /// Bytes of a segment of this region. Where the region exists with another length it is not opened.
    #[must_use]
    pub fn region_segment_len(mut self, region: u64, bytes: u32) -> Self {
        self.options.region_segment_len.insert(region, bytes);
        self
    }

    /// What appends that do not say it themselves promise.
    #[must_use]
    pub const fn durability(mut self, durability: Durability) -> Self {
        self.options.durability = durability;
        self
    }

    /// When written records are made durable in the background.
    #[must_use]
    pub const fn background_sync(mut self, background_sync: BackgroundSync) -> Self {
        self.options.background_sync = background_sync;
        self
    }

    /// How many segment files are kept open and mapped, beside those that views hold and those with bytes that are
    /// not known durable.
    #[must_use]
    pub const fn max_open_segments(mut self, count: usize) -> Self {
        self.options.max_open_segments = count;
        self
    }

    /// How segments are written. By raw system calls at most 16 of each region are open, whatever
    /// [`OptionsBuilder::max_open_segments`] says.
    #[cfg(all(feature = "linux", target_os = "linux"))]
    #[must_use]
    pub const fn write_path(mut self, write_path: WritePath) -> Self {
        self.options.write_path = write_path;
        self
    }

    /// Bytes of each of the buffers that are written from. Small ones bring several writes at a time into a short history.
    #[cfg(all(feature = "linux", target_os = "linux"))]
    #[doc(hidden)]
    #[must_use]
    pub const fn buffer_len(mut self, bytes: usize) -> Self {
        self.options.buffer_len = bytes;
        self
    }

    /// The entropy of this open, where the operating system's is not wanted. Give a new value to each open.
    #[must_use]
    pub const fn seed(mut self, seed: u64) -> Self {
        self.options.seed = Some(seed);
        self
    }

    /// Another source of time.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.options.clock = clock;
        self
    }

    #[doc(hidden)]
    #[must_use]
    pub fn observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.options.seam = Seam::observed(observer);
        self
    }

    /// The options.
    ///
    /// # Errors
    /// [`OptionsError`] names the first one that cannot work.
    pub fn build(self) -> Result<Options, OptionsError> {
        let options = self.options;
        for &segment_len in options.region_segment_len.values().chain([&options.segment_len]) {
            Geometry::new(segment_len).map_err(OptionsError::SegmentLen)?;
        }
        if options.max_open_segments == 0 {
            return Err(OptionsError::NoOpenSegments);
        }
        if options.background_sync == BackgroundSync::Interval(Duration::ZERO) {
            return Err(OptionsError::ZeroInterval);
        }
        Ok(options)
    }
}

/// An option that cannot work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OptionsError {
    /// Segments of this length do not work.
    SegmentLen(GeometryError),
    /// At least one segment must be open.
    NoOpenSegments,
    /// A background sync at every instant.
    ZeroInterval,
}

impl fmt::Display for OptionsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SegmentLen(error) => write!(f, "impossible segment length: {error}"),
            Self::NoOpenSegments => f.write_str("at least one segment must be allowed to be open"),
            Self::ZeroInterval => f.write_str("the interval of background syncs is zero"),
        }
    }
}

impl std::error::Error for OptionsError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::SegmentLen(error) => Some(error),
            _ => None,
        }
    }
}

/// Options as they stand in a configuration file: everything but entropy, clock and observer.
#[cfg(feature = "serde")]
mod stored {
    use std::collections::BTreeMap;

    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[cfg(all(feature = "linux", target_os = "linux"))]
    use super::WritePath;
    use super::{BackgroundSync, Durability, Options};

    #[derive(Serialize, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Stored {
        segment_len: u32,
        region_segment_len: BTreeMap<u64, u32>,
        durability: Durability,
        background_sync: BackgroundSync,
        max_open_segments: usize,
        #[cfg(all(feature = "linux", target_os = "linux"))]
        write_path: WritePath,
    }

    impl Default for Stored {
        fn default() -> Self {
            Self::of(&Options::default())
        }
    }

    impl Stored {
        fn of(options: &Options) -> Self {
            Self {
                segment_len: options.segment_len,
                region_segment_len: options.region_segment_len.clone(),
                durability: options.durability,
                background_sync: options.background_sync,
                max_open_segments: options.max_open_segments,
                #[cfg(all(feature = "linux", target_os = "linux"))]
                write_path: options.write_path,
            }
        }
    }

    impl Serialize for Options {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            Stored::of(self).serialize(serializer)
        }
    }

    /// What is left out has its default; what cannot work is refused, as by the builder.
    impl<'de> Deserialize<'de> for Options {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            let stored = Stored::deserialize(deserializer)?;
            let mut builder = Self::builder()
                .segment_len(stored.segment_len)
                .durability(stored.durability)
                .background_sync(stored.background_sync)
                .max_open_segments(stored.max_open_segments);
            #[cfg(all(feature = "linux", target_os = "linux"))]
            {
                builder = builder.write_path(stored.write_path);
            }
            for (region, segment_len) in stored.region_segment_len {
                builder = builder.region_segment_len(region, segment_len);
            }
            builder.build().map_err(D::Error::custom)
        }
    }

    #[cfg(test)]
    mod tests {
        use super::Options;

        #[track_caller]
        fn check(json: &str, expect: Result<&str, &str>) {
            let read = serde_json::from_str::<Options>(json).map(|options| serde_json::to_value(&options).unwrap());
            match (read, expect) {
                (Ok(mut read), Ok(expect)) => {
                    let expect: serde_json::Value = serde_json::from_str(expect).unwrap();
                    if expect.get("write_path").is_none() {
                        read.as_object_mut().unwrap().remove("write_path");
                    }
                    assert_eq!(read, expect);
                }
                (Err(error), Err(expect)) => assert!(error.to_string().contains(expect), "{error}"),
                (read, _) => panic!("{read:?}"),
            }
        }

        /// How segments are written was neither taken from a configuration file nor written to one.
        #[cfg(all(feature = "linux", target_os = "linux"))]
        #[test]
        fn the_write_path_is_an_option_like_the_others() {
            let options: Options = serde_json::from_str(r#"{"write_path":"direct"}"#).unwrap();
            assert_eq!(options.write_path, super::WritePath::Direct);
            check(
                r#"{"write_path":"buffered"}"#,
                Ok(
                    r#"{"segment_len":67108864,"region_segment_len":{},"durability":"durable","background_sync":"never","max_open_segments":256,"write_path":"buffered"}"#,
                ),
            );
        }

        #[test]
        fn options_are_read_written_and_refused() {
            check(
                "{}",
                Ok(
                    r#"{"segment_len":67108864,"region_segment_len":{},"durability":"durable","background_sync":"never","max_open_segments":256}"#,
                ),
            );
            check(
                r#"{"segment_len":4096,"region_segment_len":{"7":8192},"durability":"written","background_sync":{"writes":10}}"#,
                Ok(
                    r#"{"segment_len":4096,"region_segment_len":{"7":8192},"durability":"written","background_sync":{"writes":10},"max_open_segments":256}"#,
                ),
            );
            check(r#"{"segment_len":17}"#, Err("impossible segment length"));
            check(r#"{"max_open_segments":0}"#, Err("at least one segment"));
            check(r#"{"sement_len":4096}"#, Err("unknown field"));
        }
    }
}
