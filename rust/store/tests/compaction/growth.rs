//! A writer that never pauses. At every moment, what is on the disk is bounded by what is live, and the log
//! that an opening would replay by its own bound, whatever is put and however it is removed. Writers that
//! outrun the background threads are slowed, and told so.

use std::ops::Bound;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use alex_store::disk::sim::Rng;
use alex_store::{Options, Store};

const SEGMENT_BYTES: u64 = 16 << 20;
const TAIL_BYTES: u64 = 16 << 20;

/// Writes one commit of at most `LARGEST_COMMIT` bytes.
type Work = fn(&Store, i128, &mut Rng);

const LARGEST_COMMIT: u64 = 1 << 20;
/// For this many looks, of 20 ms each, dead data may still take space.
const MOMENT: usize = 25;

fn put(store: &Store, keys: impl Iterator<Item = i128>) {
    let keys: Vec<i128> = keys.collect();
    store.put_many(&keys, &vec![[5; 100]; keys.len()][..], false).expect("writes");
}

fn overwritten(store: &Store, _: i128, rng: &mut Rng) {
    put(store, (0..1000).map(|_| i128::from(rng.below(100_000))));
}

fn trimmed_by_ranges(store: &Store, round: i128, _: &mut Rng) {
    put(store, round * 100..round * 100 + 100);
    if round % 50 == 0 {
        store.delete_range(Bound::Unbounded, Bound::Excluded(round * 100 - 50_000)).expect("writes");
    }
}

fn half_trimmed(store: &Store, round: i128, _: &mut Rng) {
    put(store, round * 100..round * 100 + 100);
    if round % 50 == 0 {
        store.delete_range(Bound::Unbounded, Bound::Excluded(round * 50)).expect("writes");
    }
}

fn popped(store: &Store, round: i128, _: &mut Rng) {
    for key in round * 100..round * 100 + 100 {
        store.put(key, &[5; 100]).expect("writes");
        if key > 20_000 {
            store.take_end(false).expect("writes");
        }
    }
}

fn large(store: &Store, round: i128, _: &mut Rng) {
    store.put(round % 40, &vec![5; LARGEST_COMMIT as usize]).expect("writes");
}

fn cleared(store: &Store, round: i128, _: &mut Rng) {
    put(store, round * 100..round * 100 + 100);
    if round % 1000 == 0 {
        store.clear().expect("writes");
    }
}

fn churned(store: &Store, round: i128, rng: &mut Rng) {
    let key =
        |number: i128| i128::from((number as i64).wrapping_mul(0x9E37_79B9_7F4A_7C15_u64.cast_signed()));
    put(store, (round * 100..round * 100 + 100).map(key));
    let gone: Vec<i128> = (round * 100..round * 100 + 100).map(|number| key(number - 60_000)).collect();
    store.delete_many(&gone).expect("writes");
    if rng.one_in(100) {
        store.flush().expect("flushes");
    }
}

fn allocated(dir: &Path, prefix: &str) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let entries = std::fs::read_dir(dir).expect("reads");
    let files = entries
        .filter_map(|entry| entry.ok().filter(|it| it.file_name().to_string_lossy().starts_with(prefix)));
    // A file that is removed meanwhile takes no space.
    files.filter_map(|entry| entry.metadata().ok()).map(|found| found.blocks() * 512).sum()
}

/// Bytes of the largest image.
fn largest_image(dir: &Path) -> u64 {
    let entries = std::fs::read_dir(dir).expect("reads").filter_map(Result::ok);
    let images = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with("img-"));
    // A file that is removed meanwhile is none.
    images.filter_map(|entry| entry.metadata().ok()).map(|found| found.len()).max().unwrap_or(0)
}

/// The space that the store takes beyond 2.5 bytes for each live one, in segments.
fn beyond(dir: &Path, live: u64) -> f64 {
    // A file that is removed and one that is created during the listing do not exist together.
    let taken = (0..3).map(|_| allocated(dir, "seg-")).min().unwrap_or(0);
    (taken as f64 - 2.5 * live as f64) / SEGMENT_BYTES as f64
}

/// Runs a workload, and checks the most space beyond 2.5 live bytes, in segments, and the longest tail.
fn run(name: &str, work: Work, time: Duration) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("store");
    let options =
        Options { segment_bytes: SEGMENT_BYTES, checkpoint_tail_bytes: TAIL_BYTES, ..Options::default() };
    let store = Store::open(&path, &options, &mut |_| true).expect("opens");
    let done = AtomicBool::new(false);
    let (mut segments, mut tail, mut image, mut live) = (0.0_f64, 0, 0, [0; MOMENT]);
    thread::scope(|scope| {
        scope.spawn(|| {
            let (mut rng, begun) = (Rng::new(1), Instant::now());
            for round in 1.. {
                work(&store, round, &mut rng);
                if begun.elapsed() > time {
                    break;
                }
            }
            done.store(true, Ordering::Relaxed);
        });
        while !done.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(20));
            let stats = store.stats().expect("open");
            // Data that was live before a `clear` or a trim is dead afterwards, and takes a moment to be
            // freed.
            live.rotate_left(1);
            live[MOMENT - 1] = stats.live_bytes;
            segments = segments.max(beyond(&path, live.into_iter().max().unwrap_or(0)));
            tail = tail.max(stats.tail_bytes);
            image = image.max(largest_image(&path));
        }
    });
    let stats = store.stats().expect("open");
    drop(store);
    // As a kill leaves it.
    let mut replayed = 0;
    let again = Store::open(&path, &Options { background: false, ..options }, &mut |progress| {
        replayed = progress.bytes_total;
        true
    });
    let again = again.expect("opens");
    let len = again.len().expect("open");
    assert!(segments <= 4.0, "{name}: {segments} segments beyond 2.5 live bytes, {stats:?}");
    let bound = TAIL_BYTES.max(image) + 2 * LARGEST_COMMIT;
    assert!(tail <= bound && replayed <= bound + SEGMENT_BYTES, "{name}: {tail}, {replayed} replayed");
    assert_eq!(len, stats.keys, "{name}");
    assert!(again.verify(&mut |_| true).expect("reads").is_ok(), "{name}");
}

fn seconds() -> Duration {
    let text = std::env::var("ALEXPY_GROWTH_SECONDS").ok();
    Duration::from_secs_f64(text.map_or(1.5, |text| text.parse().expect("ALEXPY_GROWTH_SECONDS is seconds")))
}

#[test]
fn overwritten_values_take_no_more_than_is_promised() {
    run("overwritten", overwritten, seconds());
}

#[test]
fn a_queue_trimmed_by_ranges_takes_no_more_than_is_promised() {
    run("trimmed", trimmed_by_ranges, seconds());
    run("half trimmed", half_trimmed, seconds());
}

#[test]
fn a_queue_popped_one_by_one_takes_no_more_than_is_promised() {
    run("popped", popped, seconds());
}

#[test]
fn large_values_take_no_more_than_is_promised() {
    run("large", large, seconds());
}

#[test]
fn a_store_cleared_now_and_then_takes_no_more_than_is_promised() {
    run("cleared", cleared, seconds());
}

#[test]
fn keys_that_come_and_go_anywhere_take_no_more_than_is_promised() {
    run("churned", churned, seconds());
}

#[test]
fn a_writer_that_outruns_compaction_is_slowed_and_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let options =
        Options { segment_bytes: SEGMENT_BYTES, checkpoint_tail_bytes: TAIL_BYTES, ..Options::default() };
    let store = Store::open(&folder.path().join("store"), &options, &mut |_| true).expect("opens");
    assert!(store.stats().expect("open").slowed_seconds < 1e-9);
    let (mut rng, begun, mut told) = (Rng::new(2), Instant::now(), None);
    while told.is_none() || store.stats().expect("open").slowed_seconds < 1e-9 {
        overwritten(&store, 0, &mut rng);
        told = told.or(store.stats().expect("open").slowed_by);
        assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", store.stats());
    }
    assert!(matches!(told, Some("compaction" | "checkpoint")), "{told:?}");
    // Waiting writers go on when the store is closed meanwhile.
    thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut rng = Rng::new(3);
            while !store.is_closed() {
                let keys: Vec<i128> = (0..1000).map(|_| i128::from(rng.below(100_000))).collect();
                if store.put_many(&keys, &vec![[6; 100]; 1000][..], false).is_err() {
                    assert!(store.is_closed());
                }
            }
        });
        thread::sleep(Duration::from_millis(300));
        store.close().expect("closes");
        writer.join().expect("ends");
    });
}

#[test]
fn a_compaction_that_is_asked_for_beside_a_writer_that_never_pauses_ends() {
    let folder = tempfile::tempdir().expect("a folder");
    // Segments so small that the background thread is never done, while writers wait for it.
    let options = Options { segment_bytes: 64 << 10, ..Options::default() };
    let store = Store::open(folder.path(), &options, &mut |_| true).expect("opens");
    let writing = AtomicBool::new(true);
    thread::scope(|scope| {
        let mut rng = Rng::new(7);
        let (store, writing) = (&store, &writing);
        scope.spawn(move || {
            while writing.load(Ordering::Relaxed) {
                put(store, (0..1000).map(|_| i128::from(rng.below(20_000))));
            }
        });
        thread::sleep(Duration::from_secs(2));
        let (told, ended) = mpsc::channel();
        scope.spawn(move || {
            for _ in 0..3 {
                // The receiver may have given up.
                let _ = told.send(store.compact(&mut |_| true).map(drop));
            }
        });
        let outcomes: Vec<_> = (0..3).map(|_| ended.recv_timeout(Duration::from_secs(60))).collect();
        writing.store(false, Ordering::Relaxed);
        for outcome in outcomes {
            outcome.expect("it ends").expect("compacts");
        }
    });
}
