//! What the next process must find in a root: regions, and in each of them the records of a line of appends.

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::rc::Rc;

use crate::crash::model::{Found, Line, Seen, State, Wrong};

/// How far a region has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// It is being made: it may be there, whole and empty.
    Making,
    /// It is there.
    There,
    /// It is being removed: it may be there, whole.
    Removing,
}

/// A region that may be found.
#[derive(Clone, Debug)]
pub struct Promise {
    /// Whether it must be.
    pub phase: Phase,
    /// What was appended to it.
    pub line: Line,
}

/// Everything that was promised at one moment.
#[derive(Clone, Debug, Default)]
pub struct Expect {
    /// By number. Others are not there.
    pub regions: BTreeMap<u64, Promise>,
}

/// What is wrong with what was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Broken {
    /// The log does not open.
    Open(String),
    /// A region does not open.
    Region(u64, String),
    /// A region is gone.
    RegionLost(u64),
    /// A region that was never made, or whose removal was acknowledged.
    RegionFound(u64),
    /// A segment was removed, and a loss of power may bring it back.
    SegmentBack(String),
    /// The records of a region.
    Recovered(u64, Wrong),
    /// Reading fails, or two ways of reading differ.
    Read(u64, String),
    /// The log takes something of its own for foreign.
    Foreign(String),
    /// An operation fails that must not.
    Refused(String),
    /// An append got another sequence than the next one.
    Sequence {
        /// The region.
        region: u64,
        /// The one that was due.
        due: u64,
        /// The one it got.
        got: u64,
    },
    /// An open for reading changed something.
    ReadOnlyChanged,
    /// Two opens of one state show different records.
    OpensDisagree,
    /// Something was changed that no recorded step did.
    Unrecorded(String),
    /// The log panicked.
    Panicked,
}

/// What was found, as the oracle puts it: by region.
pub type States = BTreeMap<u64, Rc<State>>;

impl Expect {
    /// Only these, all of it durable.
    #[must_use]
    pub fn only(states: &States) -> Self {
        let there = |state: &Rc<State>| Promise {
            phase: Phase::There,
            line: Line::new(state.clone()),
        };
        Self {
            regions: states.iter().map(|(&region, state)| (region, there(state))).collect(),
        }
    }

    /// What must be found if the process ends now, by a loss of power or by its death.
    #[must_use]
    pub fn left(&self, power_loss: bool) -> Due {
        let left = |promise: &Promise| (promise.phase, promise.line.left(power_loss));
        Due {
            regions: self
                .regions
                .iter()
                .map(|(&region, promise)| (region, left(promise)))
                .collect(),
        }
    }
}

/// What the next process must find.
#[derive(Clone, Debug)]
pub struct Due {
    regions: BTreeMap<u64, (Phase, Found)>,
}

impl Due {
    /// Which of the possible states was found.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn judge(&self, seen: &BTreeMap<u64, Seen>) -> Result<States, Broken> {
        if let Some(region) = seen.keys().find(|region| !self.regions.contains_key(region)) {
            return Err(Broken::RegionFound(*region));
        }
        let mut states = States::new();
        for (&region, (phase, found)) in &self.regions {
            match (seen.get(&region), phase) {
                (Some(seen), _) => {
                    let state = found.judge(seen).map_err(|wrong| Broken::Recovered(region, wrong))?;
                    states.insert(region, state);
                }
                (None, Phase::There) => return Err(Broken::RegionLost(region)),
                (None, Phase::Making | Phase::Removing) => {}
            }
        }
        Ok(states)
    }
}

impl Hash for Due {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        for (region, (phase, found)) in &self.regions {
            (region, phase, found.digest()).hash(hasher);
        }
    }
}
