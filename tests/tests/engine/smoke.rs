//! First light.

use walstone_core::ram::RamStorage;
use walstone_core::{Capacity, Error, Geometry, Log, Options, Tail};

fn options() -> Options {
    Options::new(7, 42)
}

fn all(log: &mut Log<'static, RamStorage>) -> Vec<(u64, u64, Vec<u8>)> {
    let mut out = Vec::new();
    let mut reads = log.read(None, ..);
    while let Some(record) = reads.next() {
        let record = record.unwrap();
        out.push((record.table, record.sequence, record.value.to_vec()));
    }
    out
}

#[test]
fn appends_rotate_reopen_and_delete() {
    let geometry = Geometry::new(4096).unwrap();
    let mut log = Log::create(RamStorage::new(geometry), Capacity::heap(0), options()).unwrap();
    let mut expect = Vec::new();
    for n in 1..=300u64 {
        let value = vec![n as u8; (n % 50) as usize];
        let at = log.append(n % 3, &value).unwrap();
        assert_eq!((at.first, at.last), (n, n));
        assert_eq!(log.read_at(at.position).unwrap().value, value);
        expect.push((n % 3, n, value));
    }
    assert_eq!(all(&mut log), expect);
    log.sync().unwrap();
    let mut log = Log::open(log.into_storage(), Capacity::heap(0), options()).unwrap();
    assert_eq!(log.report().tail, Tail::Clean);
    assert_eq!(all(&mut log), expect);
    log.delete_up_to(1, 250).unwrap();
    log.delete_up_to(2, 250).unwrap();
    log.delete_up_to(0, 250).unwrap();
    expect.retain(|(_, sequence, _)| *sequence > 250);
    assert_eq!(all(&mut log), expect);
    let before = log.storage().ids().count();
    log.reclaim().unwrap();
    log.sync().unwrap();
    assert!(log.storage().ids().count() < before, "{before}");
    assert_eq!(all(&mut log), expect);
    log.close().unwrap();
    assert!(matches!(log.append(1, b"x"), Err(Error::Closed)));
    let mut log = Log::open(log.into_storage(), Capacity::heap(0), options()).unwrap();
    assert_eq!(log.report().tail, Tail::Closed);
    assert_eq!(all(&mut log), expect);
    assert_eq!(log.append(5, b"after").unwrap().first, 301);
}
