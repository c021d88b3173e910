//! What the public interface reaches only by chance: another thread comes between two steps.

use walstone_core::NewRecord;

use crate::{Options, Wal, WritePath};

/// A written append was answered with an error although a close had made its record durable, because the close came
/// between the append and the handing over of its bytes; and the region was left poisoned.
#[test]
fn a_close_before_the_hand_over_has_handed_over() {
    for path in [WritePath::Mapped, WritePath::Buffered, WritePath::Direct] {
        let dir = tempfile::TempDir::new().unwrap();
        let wal = Wal::open(dir.path(), Options::builder().write_path(path).build().unwrap()).unwrap();
        let region = wal.create_region(7).unwrap();
        let prepared =
            walstone_core::Prepared::new(&NewRecord::new(1, b"durable by the close"), crate::checksum::HARDWARE);
        let shared = &region.shared;
        let (appended, mark) = shared.append_with(|log| log.append_prepared(&prepared)).unwrap();
        wal.close().unwrap();
        assert_eq!(region.durable_through(), appended.last);
        shared.written(mark).unwrap();
        assert_eq!(region.poisoned(), None, "{path:?}");
    }
}
