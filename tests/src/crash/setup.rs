//! The media that histories run on: small segments, so that a few operations fill them.

use walstone_core::Geometry;
use walstone_core::segment::layout::Layout;

use crate::medium::Medium;

/// A medium by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setup {
    /// For reports and for choosing it.
    pub name: &'static str,
    /// What the log is told.
    pub geometry: Geometry,
    /// What becomes durable by itself.
    pub unit: u32,
    /// How many segments there is room for, if that is limited.
    pub room: Option<u32>,
}

const fn made(geometry: Result<Geometry, walstone_core::GeometryError>) -> Geometry {
    match geometry {
        Ok(geometry) => geometry,
        Err(_) => panic!("this geometry works"),
    }
}

const SMALL: Geometry = made(Geometry::new(1024));

/// All of them.
pub const SETUPS: [Setup; 11] = [
    Setup {
        name: "sectors",
        geometry: made(Geometry::new(2048)),
        unit: 512,
        room: None,
    },
    Setup {
        name: "bytes",
        geometry: SMALL,
        unit: 1,
        room: None,
    },
    Setup {
        name: "words",
        geometry: SMALL,
        unit: 32,
        room: None,
    },
    Setup {
        name: "flash",
        geometry: made(made(SMALL.with_write_unit(32)).with_erased(Some(0xff))),
        unit: 32,
        room: None,
    },
    Setup {
        name: "pages",
        geometry: made(
            made(made(made(Geometry::new(4096)).with_write_unit(4)).with_erased(Some(0xff))).with_page_len(256),
        ),
        unit: 256,
        room: None,
    },
    Setup {
        name: "few",
        geometry: SMALL,
        unit: 512,
        room: Some(6),
    },
    Setup {
        name: "sync-units",
        geometry: made(made(Geometry::new(16384)).with_sync_unit(512)),
        unit: 512,
        room: None,
    },
    Setup {
        name: "stale",
        geometry: made(SMALL.with_erased(None)),
        unit: 8,
        room: None,
    },
    Setup {
        name: "direct",
        geometry: made(made(made(Geometry::new(16384)).with_write_unit(512)).with_sync_unit(512)),
        unit: 512,
        room: None,
    },
    Setup {
        name: "card",
        geometry: made(made(made(Geometry::new(16384)).with_sync_unit(512)).with_erased(None)),
        unit: 512,
        room: None,
    },
    Setup {
        name: "card-blocks",
        geometry: made(
            made(made(made(Geometry::new(16384)).with_write_unit(512)).with_sync_unit(512)).with_erased(None),
        ),
        unit: 512,
        room: None,
    },
];

impl Setup {
    /// The one of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        SETUPS.into_iter().find(|setup| setup.name == name)
    }

    /// Those of these names.
    #[must_use]
    pub fn all(names: &[&str]) -> Vec<Self> {
        names.iter().filter_map(|name| Self::named(name)).collect()
    }

    /// An empty medium.
    #[must_use]
    pub fn medium(&self) -> Medium {
        let medium = Medium::new(self.geometry, self.unit);
        match self.room {
            Some(segments) => medium.with_slots(segments),
            None => medium,
        }
    }

    /// Bytes of a value that reaches over two units.
    #[must_use]
    pub fn two_units_len(&self) -> u32 {
        let unit = self.geometry.write_unit().max(self.unit).max(32);
        (2 * unit - 32).min(self.largest_len())
    }

    /// Bytes of the largest value that fits a segment.
    #[must_use]
    pub fn largest_len(&self) -> u32 {
        Layout::new(self.geometry).max_payload_len() - 8
    }
}
