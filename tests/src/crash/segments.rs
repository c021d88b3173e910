//! Segments in memory as a [`Machine`]: the log directly on the storage whose every crash image is known.

use std::ops::ControlFlow;

use walstone_core::{Capacity, Log};

use super::log::{Subjected, options};
use super::machine::{Denied, How, Left, Machine, Plan, Visit};
use super::setup::Setup;
use crate::medium::{Limits, Medium, MediumHandle};

impl Machine for Setup {
    type Image = Medium;
    type Process = MediumHandle;
    type Log = Subjected<Log<'static, MediumHandle>>;

    fn name(&self) -> &'static str {
        self.name
    }

    fn two_units_len(&self) -> u32 {
        Self::two_units_len(self)
    }

    fn largest_len(&self) -> u32 {
        Self::largest_len(self)
    }

    fn blank(&self) -> Medium {
        self.medium()
    }

    fn digest(&self, image: &Medium) -> u64 {
        image.digest()
    }

    fn is_settled(&self, image: &Medium) -> bool {
        image.pending_count() == 0
    }

    fn boot(&self, image: Medium, record: bool) -> MediumHandle {
        let mut medium = image;
        if record {
            medium.record();
        }
        MediumHandle::new(medium)
    }

    fn record(&self, process: &mut MediumHandle) {
        process.change(Medium::record);
    }

    fn open(&self, process: &mut MediumHandle, how: How, nth: u64) -> Result<Self::Log, Denied> {
        process.change(Medium::begin_session);
        let capacity = Capacity::heap(self.geometry.segment_len() as usize);
        let open = match how {
            How::Create => Log::open_or_create,
            How::Write => Log::open,
            How::Read => Log::open_read_only,
        };
        Subjected::new(open(process.clone(), capacity, options(nth)))
    }

    fn plan(&self, process: &mut MediumHandle, plan: Plan) {
        process.change(|medium| match plan {
            Plan::Crash(nth, phase) => medium.crash_after(nth, phase),
            Plan::FailSync(nth) => medium.fail_sync(nth),
            Plan::Nothing => medium.forget_plans(),
        });
    }

    fn has_crashed(&self, process: &MediumHandle) -> bool {
        process.change(|medium| medium.has_crashed())
    }

    fn moments(&self, process: &MediumHandle) -> usize {
        process.change(|medium| medium.moments().len())
    }

    fn power_loss(
        &self,
        process: &MediumHandle,
        moment: Option<usize>,
        limits: &Limits,
        visit: &mut Visit<'_, Medium>,
    ) -> ControlFlow<()> {
        let medium = at(process, moment);
        if moment.is_some() && medium.is_cut_in_write() {
            // A loss of power may leave no more than behind the write, which is the next moment.
            return ControlFlow::Continue(());
        }
        medium.into_crash_images(limits, &mut |digest, how, image| visit(Left { digest, how, image }))
    }

    fn process_death(
        &self,
        process: &MediumHandle,
        moment: Option<usize>,
        visit: &mut Visit<'_, Medium>,
    ) -> ControlFlow<()> {
        at(process, moment)
            .after_process_death()
            .into_iter()
            .try_for_each(|image| {
                visit(Left {
                    digest: image.digest(),
                    how: &"death of the process",
                    image: &mut || image.clone(),
                })
            })
    }
}

fn at(process: &MediumHandle, moment: Option<usize>) -> Medium {
    process.change(|medium| match moment {
        Some(moment) => medium.moments()[moment].clone(),
        None => medium.now(),
    })
}
