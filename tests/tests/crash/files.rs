//! Files and names below the std backend, crashed everywhere. The same in long form: `crashsim files`.

#[cfg(target_os = "linux")]
use walstone::{Durability, Wal};
use walstone_tests::deadline::Deadline;
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
        deadline: Deadline::NEVER,
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

/// A record was acknowledged, and the write of the next one failed, or the sync of space for it. Raw calls gather bytes: what
/// the file never got took all of its segment from readers, and where it was a claim that failed the region did not say that it
/// takes nothing more.
#[cfg(target_os = "linux")]
#[test]
fn what_was_acknowledged_before_a_raw_call_failed_can_be_read() {
    use walstone_tests::faults::{Act, PRELUDES, backend};
    use walstone_tests::files::life::{BUFFERED, DURABLE_WRITES, FLIGHTS};
    for (setup, word) in [
        (BUFFERED, &[Act::Small, Act::Small][..]),
        (DURABLE_WRITES, &[Act::Durable, Act::Small]),
        (FLIGHTS, PRELUDES[1]),
        // Of a batch that failed nothing was there but its deletions: readers were told of them before its bytes were written.
        (BUFFERED, &[Act::Small, Act::Batch]),
        (DURABLE_WRITES, &[Act::Durable, Act::Delete]),
    ] {
        let tally = backend::of_word(setup, &[word], Deadline::NEVER);
        assert_eq!(tally.violations, [""; 0], "{}", setup.name);
        assert!(tally.poisoned > 0 && tally.refused > 0, "{tally}");
    }
}

/// Several writes of one record are on their way when the power fails: each of their sectors is old or new, and no sync that
/// began before one of them ended says anything of it. They end in the order in which they were sent, or the last one first: an
/// acknowledgement waits for all of them, and not for the last.
#[cfg(target_os = "linux")]
#[test]
fn writes_on_their_way_cut_anywhere() {
    use walstone_tests::files::life::{FLIGHTS, LAST_FIRST, Op};
    use walstone_tests::files::sweep::behind_large;
    for setup in [FLIGHTS, LAST_FIRST] {
        let mut histories = behind_large(setup, 1, 0);
        histories.retain(|history| history.word[1] == Op::Sync);
        check(&histories);
        let caught = run(&histories, Some(Lie::Flight)).is_err();
        let stats = stats_of_flights(setup);
        if stats.direct_refused || stats.flights_refused {
            eprintln!("writes are waited for one by one here: {stats:?}");
        } else {
            assert!(stats.flights > 1 && caught, "nobody noticed: {stats:?}");
        }
    }
}

/// The order in which writes end is the one that was asked for.
#[cfg(target_os = "linux")]
#[test]
fn writes_on_their_way_end_in_either_order() {
    use walstone_tests::files::expect::Expect;
    use walstone_tests::files::life::{FIRST, FLIGHTS, LAST_FIRST, Life, Op};
    use walstone_tests::files::real::Real;
    use walstone_tests::files::step::Step;
    for (setup, last_first) in [(FLIGHTS, false), (LAST_FIRST, true)] {
        let real = Real::new().unwrap();
        let mut life = Life::new(setup, real.path(), Expect::default(), 0, 0);
        life.open(&Expect::default().left(false)).unwrap();
        life.make(FIRST).unwrap();
        life.perform(Op::Large).unwrap();
        let landed = |step: &Step| match step {
            Step::Landed { from, .. } => Some(*from),
            _ => None,
        };
        let landed: Vec<u64> = life.steps().iter().filter_map(landed).collect();
        let rises = landed.is_sorted();
        assert!(landed.len() < 2 || rises != last_first, "{}: {landed:?}", setup.name);
        let stats = stats_of_flights(setup);
        assert!(
            landed.len() > 1 || stats.direct_refused || stats.flights_refused,
            "{stats:?}"
        );
    }
}

#[cfg(target_os = "linux")]
fn stats_of_flights(setup: Setup) -> walstone_linux::Stats {
    let real = walstone_tests::files::real::Real::new().unwrap();
    let wal = Wal::open(real.path().join("wal"), setup.options().build().unwrap()).unwrap();
    let region = wal.create_region(7).unwrap();
    region.append_with(1, &[1; 12 << 10], Durability::Written).unwrap();
    let stats = wal.stats().unwrap().regions.swap_remove(0).linux;
    stats.unwrap()
}

#[cfg(target_os = "linux")]
#[test]
fn what_is_on_its_way_is_covered_by_no_sync_that_began_before_it_ended() {
    let mut file = File::default();
    file.set_len(1, 8192);
    file.submit(0, &[1; 512]);
    file.submit(4096, &[2; 512]);
    let sectors = |file: &File| {
        let is_sector = |pending: &Pending| matches!(pending, Pending::Sector(..));
        file.pending().into_iter().filter(is_sector).count()
    };
    file.sync(9);
    assert_eq!(sectors(&file), 2);
    file.landed(10, 4096, 4608);
    file.sync(10);
    assert_eq!(sectors(&file), 2, "it began too early");
    file.sync(11);
    assert_eq!(sectors(&file), 1, "the other one is on its way still");
    assert_eq!(file.survive(&[]).bytes()[4096..4608], [2; 512]);
    let again = std::panic::catch_unwind(move || file.write(12, 256, &[3; 8]));
    assert!(again.is_err(), "it is on its way");
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
