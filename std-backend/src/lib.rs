//! Walstone.

#[cfg_attr(
    not(test),
    expect(dead_code, reason = "the storages that checksum with it are not here yet")
)]
mod checksum;
