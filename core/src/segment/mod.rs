//! Segments as bytes: their layout and their header. Knows nothing of storage.

pub(crate) mod cuts;
pub mod header;
pub mod layout;
