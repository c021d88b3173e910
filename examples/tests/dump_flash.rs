//! The program `dump` on the bytes of a device.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use walstone_core::flat::{DeviceGeometry, FlatCapacity, FlatStorage, SliceDevice};
use walstone_core::{Capacity, Log, Options};

fn dump(arguments: &[&str], image: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dump"));
    let command = command.args(arguments).arg("--flash").arg(image);
    command.stdin(Stdio::null()).output().unwrap()
}

#[track_caller]
fn says(output: &Output, code: i32, words: &str) {
    let said = [&output.stdout[..], &output.stderr[..]].concat();
    let said = String::from_utf8_lossy(&said);
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert!(said.contains(words), "{said:?} does not say {words:?}");
}

/// The bytes of a device that carried a log for a while, with room in front of the first segment that is in use.
fn used(device: DeviceGeometry, slot_len: u32) -> Vec<u8> {
    let mut bytes = vec![device.erased().unwrap_or(0); device.len() as usize];
    let slots = (device.len() / slot_len) as usize;
    let flash = SliceDevice::new(&mut bytes, device);
    let storage = FlatStorage::open(flash, slot_len, FlatCapacity::heap(slots, 512)).unwrap();
    let mut log = Log::create(storage, Capacity::heap(slot_len as usize), Options::new(77, 3)).unwrap();
    for at in 0..40u8 {
        log.append(u64::from(at % 2), &[at; 700]).unwrap();
    }
    log.delete_up_to(0, 38).unwrap();
    log.delete_up_to(1, 37).unwrap();
    log.reclaim().unwrap();
    log.append(5, b"last").unwrap();
    log.close().unwrap();
    drop(log);
    bytes
}

/// Nothing has to be said about the device: how it is cut stands on it.
#[test]
fn an_image_is_listed() {
    let plain = DeviceGeometry::without_erase(16 * 16384);
    for (device, slot_len) in [
        (DeviceGeometry::flash(16 * 8192, 4, 4096).with_page_len(256), 8192),
        (DeviceGeometry::flash(16 * 8192, 32, 8192), 8192),
        (DeviceGeometry::flash(16 * 16384, 512, 16384).with_erased(0), 16384),
        (plain.with_sync_unit(512), 16384),
        (plain, 16384),
    ] {
        let bytes = used(device, slot_len);
        let dir = tempfile::tempdir().unwrap();
        let image = dir.path().join("image.bin");
        fs::write(&image, &bytes).unwrap();

        let summary = dump(&[], &image);
        says(&summary, 0, &format!("16 slots of {slot_len} bytes"));
        says(&summary, 0, "region 77: ");
        says(&summary, 0, "last sequence 41, closed");
        says(&summary, 0, "table 1: 2 records, sequences 38 to 40");
        says(&summary, 0, "table 5: 1 records, sequences 41 to 41");
        let listed = dump(&["--records"], &image);
        says(&listed, 0, "77 5 41 6c617374");
        assert_eq!(String::from_utf8_lossy(&listed.stdout).lines().count(), 4);
        assert_eq!(fs::read(&image).unwrap(), bytes, "changed by reading");
    }
}

#[test]
fn what_is_no_image_or_damaged_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("image.bin");
    fs::write(&image, [0xff; 65536]).unwrap();
    says(&dump(&[], &image), 2, "no segment header");
    says(&dump(&[], &dir.path().join("absent")), 2, "absent");

    // The segment with the last records in it is gone.
    let device = DeviceGeometry::flash(16 * 8192, 4, 4096);
    let mut bytes = used(device, 8192);
    let last = bytes.windows(4).position(|four| four == b"last").unwrap();
    bytes[last] ^= 1;
    let slot = last / 8192 * 8192;
    bytes[slot + 64] ^= 1;
    fs::write(&image, &bytes).unwrap();
    says(&dump(&[], &image), 1, "damage: ");
}
