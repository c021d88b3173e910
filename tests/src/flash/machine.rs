//! Logs on a chip, below the slot adapter, for the crash explorer.

use std::ops::ControlFlow;

use walstone_core::flat::{DeviceGeometry, FlatCapacity, FlatError, FlatGeometry, FlatStorage, OpenError};
use walstone_core::segment::layout::Layout;
use walstone_core::{Capacity, Log};

use super::{Chip, ChipError, State};
use crate::crash::log::{Planned, Subjected, options};
use crate::crash::machine::{Denied, How, Left, Machine, Plan, Visit};
use crate::medium::Limits;
use crate::storages::SimError;

/// A chip by name, and how it is cut.
#[derive(Clone, Copy, Debug)]
pub struct FlashSetup {
    /// For reports and for choosing it.
    pub name: &'static str,
    /// What kind of chip.
    pub device: DeviceGeometry,
    /// Bytes of a slot.
    pub slot_len: u32,
    /// Whether reads of torn units fail.
    pub ecc: bool,
}

/// Slots of every chip here.
const SLOTS: u32 = 8;

/// The least slot of most chips here.
const SMALL: u32 = 1088;

/// All of them.
#[must_use]
pub const fn setups() -> [FlashSetup; 12] {
    const fn flash(name: &'static str, write_unit: u16, blocks: u32) -> FlashSetup {
        FlashSetup {
            name,
            device: DeviceGeometry::flash(SLOTS * SMALL, write_unit, SMALL / blocks),
            slot_len: SMALL,
            ecc: false,
        }
    }
    let words = flash("flash-4", 4, 1);
    let ecc = flash("ecc-32", 32, 1);
    let plain = DeviceGeometry::without_erase(SLOTS * SMALL);
    [
        flash("flash-1", 1, 4),
        flash("flash-2", 2, 2),
        words,
        FlashSetup {
            name: "pages-64",
            device: words.device.with_page_len(64),
            ..words
        },
        FlashSetup {
            name: "zeros-4",
            device: words.device.with_erased(0),
            ..words
        },
        flash("flash-8", 8, 2),
        flash("flash-16", 16, 1),
        flash("flash-32", 32, 2),
        FlashSetup { ecc: true, ..ecc },
        FlashSetup {
            name: "ecc-8",
            ecc: true,
            ..flash("flash-8", 8, 1)
        },
        FlashSetup {
            name: "fram",
            device: plain,
            slot_len: SMALL,
            ecc: false,
        },
        FlashSetup {
            name: "card",
            device: DeviceGeometry::without_erase(SLOTS * 8704).with_sync_unit(512),
            slot_len: 8704,
            ecc: false,
        },
    ]
}

impl FlashSetup {
    /// The one of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        setups().into_iter().find(|setup| setup.name == name)
    }

    /// How it is cut.
    #[must_use]
    pub fn geometry(&self) -> FlatGeometry {
        FlatGeometry::new(self.device, self.slot_len).expect("this geometry works")
    }

    fn storage(&self, chip: Chip) -> Result<FlatStorage<'static, Chip>, OpenError<ChipError>> {
        let capacity = FlatCapacity::heap((self.device.len() / self.slot_len) as usize, 64);
        FlatStorage::open(chip, self.slot_len, capacity)
    }
}

impl Planned for FlatError<ChipError> {
    fn planned(&self) -> Option<SimError> {
        match self {
            Self::Device(ChipError::Off | ChipError::Dropped) => Some(SimError::Crashed),
            Self::Device(ChipError::SyncFailed) | Self::SyncFailed => Some(SimError::SyncFailed),
            _ => None,
        }
    }

    const LATCHES: bool = true;
}

impl Machine for FlashSetup {
    type Image = Chip;
    type Process = Chip;
    type Log = Subjected<Log<'static, FlatStorage<'static, Chip>>>;

    fn name(&self) -> &'static str {
        self.name
    }

    fn two_units_len(&self) -> u32 {
        64
    }

    fn largest_len(&self) -> u32 {
        Layout::new(self.geometry().segment()).max_payload_len() - 8
    }

    fn blank(&self) -> Chip {
        let chip = Chip::new(self.device);
        if self.ecc { chip.with_ecc() } else { chip }
    }

    fn digest(&self, image: &Chip) -> u64 {
        let state = image.state.borrow();
        state.synced.digest() ^ state.seen.digest().rotate_left(32)
    }

    fn is_settled(&self, image: &Chip) -> bool {
        image.state.borrow().pending.is_empty()
    }

    fn boot(&self, image: Chip, record: bool) -> Chip {
        // Clones of a chip are handles on the same one.
        let mut chip = image.copy();
        if record {
            self.record(&mut chip);
        }
        chip
    }

    fn record(&self, process: &mut Chip) {
        process.state.borrow_mut().moments = Some(Vec::new());
    }

    fn open(&self, process: &mut Chip, how: How, nth: u64) -> Result<Self::Log, Denied> {
        process.begin_session();
        let storage = self.storage(process.clone()).map_err(|error| match error {
            OpenError::Device(ChipError::Off) => Denied::Crashed,
            error => Denied::Other(format!("{error:?}")),
        })?;
        let capacity = Capacity::heap(self.slot_len as usize);
        let open = match how {
            How::Create => Log::open_or_create,
            How::Write => Log::open,
            How::Read => Log::open_read_only,
        };
        Subjected::new(open(storage, capacity, options(nth)))
    }

    fn plan(&self, process: &mut Chip, plan: Plan) {
        let plans = &mut process.state.borrow_mut().plans;
        match plan {
            Plan::Crash(nth, phase) => plans.crash = Some((nth, phase)),
            Plan::FailSync(nth) => plans.fail_sync = Some(nth),
            Plan::Nothing => *plans = super::Plans::default(),
        }
    }

    fn repeats(&self, process: &Chip) -> u64 {
        process.counts().repeats
    }

    fn has_crashed(&self, process: &Chip) -> bool {
        process.state.borrow().off
    }

    fn moments(&self, process: &Chip) -> usize {
        process.state.borrow().moments.as_ref().map_or(0, Vec::len)
    }

    fn power_loss(
        &self,
        process: &Chip,
        moment: Option<usize>,
        limits: &Limits,
        visit: &mut Visit<'_, Chip>,
    ) -> ControlFlow<()> {
        let state = at(process, moment);
        state.survivors(limits, &mut |cells, kept| {
            visit(Left {
                digest: cells.digest().rotate_left(1),
                how: &kept,
                image: &mut || {
                    let chip = Chip::holding(self.device, cells.clone());
                    if self.ecc { chip.with_ecc() } else { chip }
                },
            })
        })
    }

    fn process_death(&self, process: &Chip, moment: Option<usize>, visit: &mut Visit<'_, Chip>) -> ControlFlow<()> {
        let state = at(process, moment);
        let mut image = || {
            let chip = Chip::holding(self.device, state.seen.clone());
            {
                let mut left = chip.state.borrow_mut();
                left.ecc = state.ecc;
                left.synced = state.synced.clone();
                left.pending.clone_from(&state.pending);
                left.forgotten = state.forgotten;
            }
            chip
        };
        visit(Left {
            digest: self.digest(&image()),
            how: &"death of the process",
            image: &mut image,
        })
    }
}

fn at(process: &Chip, moment: Option<usize>) -> State {
    let state = process.state.borrow();
    match (moment, &state.moments) {
        (Some(moment), Some(moments)) => moments[moment].clone(),
        _ => State {
            moments: None,
            ..state.clone()
        },
    }
}
