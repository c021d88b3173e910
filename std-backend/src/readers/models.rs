//! Views beside reclaim under a model checker: every interleaving, up to four forced switches in each. The world is
//! three segments that are there or not, and the facts that views begin with: the first segment that counts.

use loom::sync::atomic::{AtomicBool, Ordering};
use loom::sync::{Arc, Mutex};
use loom::thread;
use walstone_core::SegmentId;

use super::Readers;

struct World {
    readers: Readers,
    /// Held by whoever changes the log.
    log: Mutex<()>,
    first: Mutex<u64>,
    there: [AtomicBool; 3],
}

impl World {
    fn new() -> Self {
        Self {
            readers: Readers::default(),
            log: Mutex::new(()),
            first: Mutex::new(0),
            there: std::array::from_fn(|_| AtomicBool::new(true)),
        }
    }

    fn remove(&self, id: u64) {
        assert!(
            self.there[id as usize].swap(false, Ordering::AcqRel),
            "segment {id} was removed twice"
        );
    }

    /// Gives up every segment before `first`: removal first, the newer facts after it, as the log does.
    fn reclaim(&self, first: u64) {
        let _log = self.log.lock().unwrap();
        let old = *self.first.lock().unwrap();
        for id in old..first {
            if !self.readers.defer(SegmentId(id)) {
                self.remove(id);
            }
        }
        *self.first.lock().unwrap() = first;
        self.readers.published();
    }

    /// Begins a view, reads all that it may, ends it.
    fn view(&self) {
        let read = || {
            let first = *self.first.lock().unwrap();
            ((SegmentId(first), SegmentId(2)), first)
        };
        let (number, first) = loop {
            match self.readers.begin(read) {
                Some(begun) => break begun,
                None => drop(self.log.lock().unwrap()),
            }
        };
        for id in first..3 {
            assert!(
                self.there[id as usize].load(Ordering::Acquire),
                "a view lost segment {id}"
            );
        }
        for id in self.readers.end(number) {
            self.remove(id.0);
        }
    }

    /// When nobody reads, what was given up is gone and nothing else.
    fn settled(&self) {
        let first = *self.first.lock().unwrap();
        for (id, there) in self.there.iter().enumerate() {
            assert_eq!(there.load(Ordering::Acquire), id as u64 >= first, "segment {id}");
        }
        assert_eq!(self.readers.waiting(), (Vec::new(), 0));
    }
}

fn check(views: usize, reclaims: &'static [u64]) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(4);
    model.check(move || {
        let world = Arc::new(World::new());
        let viewers: Vec<_> = (0..views)
            .map(|_| {
                let world = Arc::clone(&world);
                thread::spawn(move || world.view())
            })
            .collect();
        for &first in reclaims {
            world.reclaim(first);
        }
        for viewer in viewers {
            viewer.join().unwrap();
        }
        world.settled();
    });
}

#[test]
fn a_view_never_loses_a_segment_and_none_is_left_behind() {
    check(1, &[1]);
    check(1, &[1, 2]);
    check(2, &[1]);
}
