//! The API in thirty lines: append, an atomic batch, a view, delete, reopen.

use walstone::{Batch, Durability, Options, Wal};

const ORDERS: u64 = 1;
const PAYMENTS: u64 = 2;

fn main() -> walstone::Result<()> {
    let wal = Wal::open("target/quickstart", Options::default())?; // takes the lock, recovers every region
    let region = wal.region_or_create(7)?; // cheap to clone, for any number of threads
    let order = region.append(ORDERS, b"three apples")?; // survives a power cut once this returns

    let mut batch = Batch::new(); // all of it or nothing
    batch.push(PAYMENTS, b"paid");
    batch.delete_up_to(ORDERS, order.last);
    region.append_batch_with(&batch, Durability::Written)?; // survives the death of the process

    let view = region.view()?; // a stable snapshot, lent from the map
    for record in view.scan() {
        let record = record?;
        let value = String::from_utf8_lossy(record.value);
        println!("table {} sequence {}: {value}", record.table, record.sequence);
    }
    wal.close()
}
