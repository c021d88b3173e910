//! Segments as bytes: their layout and their header. Knows nothing of storage.

pub mod header;
pub mod layout;
