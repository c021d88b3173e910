//! Files and names below the std backend, crashed everywhere. The same in long form: `crashsim files`.

use walstone_tests::files::content::{File, Pending};
use walstone_tests::files::explore::{Failure, Known};
use walstone_tests::files::lie::Lie;
use walstone_tests::files::life::{PAGES, SMALL, Setup};
use walstone_tests::files::survivors::Limits;
use walstone_tests::files::sweep::{History, Plan, Summary, explore, random, telling, words};

fn run(histories: &[History], lie: Option<Lie>) -> Result<Summary, Failure> {
    let plan = Plan {
        limits: Limits::SHORT,
        lie,
        threads: 2,
        until: None,
    };
    explore(histories, &plan, &Known::default())
}

#[track_caller]
fn check(histories: &[History]) -> Summary {
    match run(histories, None) {
        Ok(summary) => summary,
        Err(failure) => panic!("{failure}"),
    }
}

#[test]
fn making_files_cut_anywhere() {
    assert!(check(&words(SMALL, 0, 0)).is_complete());
    check(&words(PAGES, 0, 0)[..1]);
}

#[test]
fn one_operation_on_files_cut_anywhere() {
    assert!(check(&words(SMALL, 1, 0)).is_complete());
}

/// Segments written by raw system calls, through the page cache and with writes that are durable by themselves.
#[cfg(target_os = "linux")]
#[test]
fn files_of_raw_calls_cut_anywhere() {
    use walstone_tests::files::life::{BUFFERED, DIRECT, DURABLE_WRITES};
    for setup in [BUFFERED, DURABLE_WRITES] {
        let histories: Vec<_> = (0..=1).flat_map(|len| words(setup, len, 0)).collect();
        assert!(check(&histories).is_complete());
        for lie in [Lie::Segment, Lie::Header, Lie::Settled] {
            assert!(run(&histories, Some(lie)).is_err(), "nobody noticed {lie:?}");
        }
    }
    check(&words(DIRECT, 0, 0)[..1]);
}

/// A write that is durable when it returns says nothing of the bytes beside it.
#[test]
fn a_durable_write_vouches_for_its_own_blocks() {
    let mut file = File::default();
    file.set_len(1, 8192);
    file.write(2, 0, &[1; 1536]);
    file.sync_range(3, 512, 1024);
    let is_sector = |pending: &Pending| matches!(pending, Pending::Sector(..));
    let sectors = |file: &File| file.pending().into_iter().filter(is_sector).collect::<Vec<_>>();
    assert_eq!(sectors(&file), [Pending::Sector(0, 1), Pending::Sector(2, 1)]);
    assert_eq!(
        file.survive(&[]).bytes()[..1536],
        [[0; 512], [1; 512], [0; 512]].concat()
    );
    // What was written after it began is not covered either.
    file.write(4, 512, &[2; 512]);
    file.sync_range(4, 512, 1024);
    assert_eq!(sectors(&file).len(), 3);
}

#[test]
fn histories_of_files_beside_the_background_thread() {
    check(&random(SMALL.beside(), 1, 2, 10, 0));
}

/// A disk that lies about one kind of sync is found out, whichever it is.
#[test]
fn every_sync_of_files_counts() {
    let histories = telling(SMALL);
    for lie in Lie::ALL {
        let caught = run(&histories, Some(lie));
        assert!(caught.is_err(), "nobody noticed {lie:?}");
    }
}

/// The process that made the root died before the root's own name was durable. The next one found the directory there
/// and did not ask whether it would stay: everything it acknowledged went with it.
#[test]
fn a_root_that_a_dead_process_made_gets_a_durable_name() {
    let first: Vec<History> = [SMALL, PAGES]
        .map(|setup: Setup| words(setup, 0, 0).swap_remove(0))
        .into();
    assert!(check(&first).is_complete());
    assert!(run(&first, Some(Lie::RootMade)).is_err());
}
