//! How long a put waits for the store's locks, and who holds them for how long: while the store is quiet,
//! while it compacts, while it writes images, during both, and beside a hundred open scans of the whole store, one of
//! which is read from all the time. One thread puts; another gets values and
//! checks them. Prints JSON, with times in nanoseconds. `benchmarks/latency.py` runs it: `cargo bench -p
//! alex-store --features lock-times --bench lock_times -- [keys] [seconds for each phase] [the name of one
//! phase]`.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::fs::File;
use std::ops::Bound;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use alex_store::{Histogram, Options, ScanRange, Store, lock_times};

/// Pause between two puts, so that compaction keeps pace.
const PAUSE: Duration = Duration::from_micros(5);
const VALUE_BYTES: usize = 100;

/// What runs beside the two threads.
const PHASES: [(&str, bool, bool, usize); 5] = [
    ("quiet", false, false, 0),
    ("compaction", true, false, 0),
    ("checkpoints", false, true, 0),
    ("both", true, true, 0),
    ("scans", false, false, 100),
];
const ALL: ScanRange =
    ScanRange { start: Bound::Unbounded, stop: Bound::Unbounded, reverse: false, limit: None };

/// A different key for each number, spread over the whole key space.
fn key(number: u64) -> i64 {
    number.wrapping_mul(0x9E37_79B9_7F4A_7C15) as i64
}

fn value(number: u64, version: u64) -> [u8; VALUE_BYTES] {
    let mut value = [7; VALUE_BYTES];
    value[..8].copy_from_slice(&number.to_le_bytes());
    value[8..16].copy_from_slice(&version.to_le_bytes());
    value
}

fn random(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

/// For each key, the version that was put, and the one that is being put.
struct Versions(Vec<(AtomicU64, AtomicU64)>);

impl Versions {
    fn put(&self, store: &Store, number: u64, version: u64) -> u64 {
        let (done, begun) = &self.0[number as usize];
        begun.store(version, Ordering::SeqCst);
        let value = value(number, version);
        let since = Instant::now();
        store.put(key(number), &value).unwrap();
        let nanos = since.elapsed().as_nanos() as u64;
        done.store(version, Ordering::SeqCst);
        nanos
    }

    fn get(&self, store: &Store, number: u64) -> u64 {
        let (done, begun) = &self.0[number as usize];
        let least = done.load(Ordering::SeqCst);
        let since = Instant::now();
        let found = store.get(key(number)).unwrap().unwrap();
        let nanos = since.elapsed().as_nanos() as u64;
        let version = u64::from_le_bytes(found[8..16].try_into().unwrap());
        assert_eq!(*found, value(number, version), "the value of another key");
        assert!((least..=begun.load(Ordering::SeqCst)).contains(&version), "an old value");
        nanos
    }
}

/// The longest pauses, in nanoseconds, of two threads that only look at the clock, without the time in which
/// the system let others run. If a lock is held this long, the host of the machine may be the cause.
fn pauses(seconds: f64) -> [u64; 2] {
    let delayed = |account: &File| {
        let mut text = [0; 64];
        let read = account.read_at(&mut text, 0).unwrap();
        let text = str::from_utf8(&text[..read]).unwrap();
        text.split(' ').nth(1).unwrap().parse::<u64>().unwrap()
    };
    let spin = || {
        let account = File::open("/proc/thread-self/schedstat").unwrap();
        let (begun, mut longest) = (Instant::now(), 0);
        let (mut last, mut before) = (begun, delayed(&account));
        while begun.elapsed().as_secs_f64() < seconds {
            let pause = last.elapsed().as_nanos() as u64;
            if pause > 100_000 {
                let now = delayed(&account);
                longest = longest.max(pause.saturating_sub(now - before));
                before = now;
            }
            last = Instant::now();
        }
        longest
    };
    std::thread::scope(|scope| [scope.spawn(spin), scope.spawn(spin)].map(|thread| thread.join().unwrap()))
}

fn percentiles(nanos: &Histogram) -> String {
    format!(
        r#"{{"count": {}, "p50": {}, "p99": {}, "p99.9": {}, "max": {}}}"#,
        nanos.count(),
        nanos.at(0.5),
        nanos.at(0.99),
        nanos.at(0.999),
        nanos.at(1.0)
    )
}

#[expect(clippy::too_many_lines, reason = "the threads of a measurement borrow what it makes")]
fn phase(
    keys: u64,
    seconds: f64,
    (name, compaction, checkpoints, scans): (&str, bool, bool, usize),
) -> String {
    let folder = tempfile::tempdir().unwrap();
    let options = Options {
        segment_bytes: 8 << 20,
        compact_dead_ratio: if compaction { 0.05 } else { 0.999 },
        checkpoint_tail_bytes: 1 << 40,
        ..Options::default()
    };
    let store = Store::open(folder.path(), &options, &mut |_| true).unwrap();
    let versions = Versions((0..keys).map(|_| (AtomicU64::new(1), AtomicU64::new(1))).collect());
    for first in (0..keys).step_by(10_000) {
        let numbers = first..keys.min(first + 10_000);
        let values: Vec<_> = numbers.clone().map(|number| value(number, 1)).collect();
        store.put_many(&numbers.map(key).collect::<Vec<_>>(), &values[..], false).unwrap();
    }
    store.flush().unwrap();
    let mut scans: Vec<_> = (0..scans).map(|_| store.scan(ALL).unwrap()).collect();
    drop(lock_times());
    let stop = AtomicBool::new(false);
    let (mut images, mut scanned) = (0, 0);
    let (puts, gets) = std::thread::scope(|scope| {
        let puts = scope.spawn(|| {
            let (mut state, mut version, mut nanos) = (1, 1, Histogram::default());
            while !stop.load(Ordering::Relaxed) {
                version += 1;
                nanos.add(versions.put(&store, random(&mut state) % keys, version));
                let pause = Instant::now();
                while pause.elapsed() < PAUSE {
                    std::hint::spin_loop();
                }
            }
            nanos
        });
        let gets = scope.spawn(|| {
            let (mut state, mut nanos) = (2, Histogram::default());
            while !stop.load(Ordering::Relaxed) {
                nanos.add(versions.get(&store, random(&mut state) % keys));
            }
            nanos
        });
        let end = Instant::now() + Duration::from_secs_f64(seconds);
        while Instant::now() < end {
            if checkpoints {
                store.checkpoint().unwrap();
                images += 1;
            } else if let Some(scan) = scans.last_mut() {
                let run = scan.next_run(1000).unwrap();
                for i in 0..run.keys.len() {
                    let found = run.values.get(i).unwrap();
                    assert_eq!(
                        found[8..16],
                        1_u64.to_le_bytes(),
                        "a scan saw what was put after it was made"
                    );
                }
                scanned += run.keys.len();
                if run.keys.is_empty() {
                    scans.pop();
                }
            } else {
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        stop.store(true, Ordering::Relaxed);
        (puts.join().unwrap(), gets.join().unwrap())
    });
    let stats = store.stats().unwrap();
    let (freed, history) = (stats.compaction.freed_segments, stats.history_bytes);
    assert_eq!(freed > 0, compaction, "{name}: {freed} segments were freed");
    // Its threads end and hand over their times. A call of close would add times of work that nothing runs
    // beside.
    drop(store);
    let places: Vec<String> = lock_times()
        .into_iter()
        .map(|((file, line, lock), times)| {
            format!(
                r#"    {{"lock": "{lock}", "taken in": "{file}:{line}", "held": {}, "held longest by the clock": {}, "waited": {}}}"#,
                percentiles(&times.held),
                times.longest_by_the_clock,
                percentiles(&times.waited)
            )
        })
        .collect();
    format!(
        "  \"{name}\": {{\n   \"images\": {images}, \"freed segments\": {freed}, \"items scanned\": {scanned}, \"bytes of history\": {history},\n   \"get\": {},\n   \"put\": {},\n   \
         \"places\": [\n{}\n   ]\n  }}",
        percentiles(&gets),
        percentiles(&puts),
        places.join(",\n")
    )
}

fn main() {
    // `cargo bench` adds an argument of its own.
    let arguments: Vec<String> = std::env::args().filter(|argument| argument != "--bench").collect();
    let keys = arguments.get(1).map_or(1_000_000, |text| text.parse().unwrap());
    let seconds = arguments.get(2).map_or(4.0, |text| text.parse().unwrap());
    let only = |name: &str| arguments.get(3).is_none_or(|only| only == name);
    let phases: Vec<String> =
        PHASES.iter().filter(|it| only(it.0)).map(|&it| phase(keys, seconds, it)).collect();
    let pauses = pauses(seconds);
    println!(
        "{{\n \"keys\": {keys}, \"seconds\": {seconds}, \"longest pauses without a store\": {pauses:?},\n \"phases\": {{\n{}\n }}\n}}",
        phases.join(",\n")
    );
}
