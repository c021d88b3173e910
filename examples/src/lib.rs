//! What the example programs share: reading arguments, the lines that records are listed as, and the directories of
//! a HoraeDB log. The programs stand in `src/bin`.

pub mod arguments;
pub mod horaedb;
pub mod listing;
