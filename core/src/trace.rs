//! Log statements for hosts that ask for them by the feature `defmt-log`; for all others they are not there.

/// Says what the engine did.
macro_rules! trace {
    ($($argument:tt)*) => {
        #[cfg(feature = "defmt-log")]
        defmt::debug!($($argument)*);
    };
}

pub(crate) use trace;
