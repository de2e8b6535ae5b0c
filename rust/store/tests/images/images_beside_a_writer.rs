//! A store whose writer never pauses while images are written one after another, left as a killed process
//! leaves it, opens with all of its content: for every order in which keys arrive and every way in which they
//! are removed.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use alex_store::disk::sim::Rng;
use alex_store::{Options, ScanRange, Store};

/// The order in which keys arrive.
#[derive(Clone, Copy, Debug)]
enum Coming {
    Ascending,
    Descending,
    ZigZag,
    /// Several counters, each in its own part of the key space.
    Counters,
    Anywhere,
    /// Ascending, interspersed with keys far beyond all others.
    Outliers,
}

/// How keys are removed.
#[derive(Clone, Copy, Debug)]
enum Going {
    Never,
    /// The lower half, with one range delete, now and then.
    FrontByRange,
    FrontOneByOne,
    BackOneByOne,
    Anywhere,
    Cleared,
}

const COMING: [Coming; 6] = [
    Coming::Ascending,
    Coming::Descending,
    Coming::ZigZag,
    Coming::Counters,
    Coming::Anywhere,
    Coming::Outliers,
];

const GOING: [Going; 6] = [
    Going::Never,
    Going::FrontByRange,
    Going::FrontOneByOne,
    Going::BackOneByOne,
    Going::Anywhere,
    Going::Cleared,
];

fn key(coming: Coming, number: i128, rng: &mut Rng) -> i128 {
    match coming {
        Coming::Ascending => number,
        Coming::Descending => -number,
        Coming::ZigZag => number * (1 - 2 * (number % 2)),
        Coming::Counters => i128::from(rng.below(7) << 40) + number,
        Coming::Anywhere => i128::from(rng.next_u64().cast_signed()),
        Coming::Outliers => number << if rng.one_in(500) { 30 } else { 0 },
    }
}

/// The store, and what it should hold.
struct Life {
    store: Store,
    model: BTreeMap<i128, u64>,
    next: i128,
}

impl Life {
    fn write(&mut self, coming: Coming, going: Going, rng: &mut Rng) {
        let keys: Vec<i128> = (0..=rng.below(200))
            .map(|_| {
                self.next += 1;
                key(coming, self.next, rng)
            })
            .collect();
        let marks: Vec<[u8; 8]> = keys.iter().map(|_| rng.next_u64().to_le_bytes()).collect();
        if rng.one_in(3) {
            for (key, mark) in keys.iter().zip(&marks) {
                self.store.put(*key, mark).expect("no fault");
            }
        } else {
            self.store.put_many(&keys, &marks[..], false).expect("no fault");
        }
        self.model.extend(keys.into_iter().zip(marks.into_iter().map(u64::from_le_bytes)));
        self.remove(going, rng);
    }

    fn remove(&mut self, going: Going, rng: &mut Rng) {
        let (there, some) = (self.model.len(), rng.below(190) as usize);
        match going {
            Going::FrontByRange if rng.one_in(50) => {
                let Some((&middle, _)) = self.model.iter().nth(there / 2) else { return };
                let gone =
                    self.store.delete_range(Bound::Unbounded, Bound::Excluded(middle)).expect("no fault");
                let kept = self.model.split_off(&middle);
                assert_eq!(gone as usize, self.model.len());
                self.model = kept;
            }
            Going::Cleared if rng.one_in(200) => {
                assert_eq!(self.store.clear().expect("no fault") as usize, there);
                self.model.clear();
            }
            Going::FrontOneByOne | Going::BackOneByOne => {
                for _ in 0..some {
                    let last = matches!(going, Going::BackOneByOne);
                    let expected = if last { self.model.pop_last() } else { self.model.pop_first() };
                    let taken = self.store.take_end(last).expect("no fault");
                    assert_eq!(taken.map(|(key, _)| key), expected.map(|(key, _)| key));
                }
            }
            Going::Anywhere => {
                let step = 1 + rng.below(100) as usize;
                let keys: Vec<i128> = self.model.keys().step_by(step).take(some).copied().collect();
                self.store.delete_many(&keys).expect("no fault");
                for key in keys {
                    self.model.remove(&key);
                }
            }
            Going::Never | Going::FrontByRange | Going::Cleared => {}
        }
    }

    fn judge(&self, what: &str) {
        let all = ScanRange { start: Bound::Unbounded, stop: Bound::Unbounded, reverse: false, limit: None };
        let mut scan = self.store.scan(all).expect("open");
        let mut expected = self.model.iter();
        loop {
            let run = scan.next_run(5000).expect("readable");
            if run.keys.is_empty() {
                break;
            }
            for (i, found) in run.keys.iter().enumerate() {
                let (key, mark) = expected.next().unwrap_or_else(|| panic!("{what}: {found} came back"));
                assert_eq!(found, *key, "{what}");
                assert_eq!(run.values.get(i), Some(&mark.to_le_bytes()[..]), "{what}: {key}");
            }
        }
        assert_eq!(expected.next(), None, "{what}: lost");
        assert_eq!(self.store.len().expect("open"), self.model.len() as u64, "{what}");
        for &key in self.model.keys().step_by(self.model.len() / 50 + 1) {
            assert!(self.store.get(key).expect("open").is_some(), "{what}: get {key}");
        }
    }
}

fn open(path: &Path, background: bool) -> Store {
    let options = Options {
        background,
        segment_bytes: 1 << 20,
        checkpoint_tail_bytes: 1,
        sync_interval: Duration::from_secs(3600),
        ..Options::default()
    };
    Store::open(path, &options, &mut |_| true).expect("opens")
}

fn live(coming: Coming, going: Going, seed: u64) {
    let mut rng = Rng::new(seed);
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("store");
    let background = rng.one_in(2);
    let mut life = Life { store: open(&path, background), model: BTreeMap::new(), next: 0 };
    for round in 0..3 {
        let batches = 50 + rng.below(500);
        let done = AtomicBool::new(false);
        let images = life.store.clone();
        thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    images.checkpoint().expect("no fault");
                }
            });
            for _ in 0..batches {
                life.write(coming, going, &mut rng);
            }
            done.store(true, Ordering::Relaxed);
        });
        drop(images);
        let what = format!("live({coming:?}, {going:?}, {seed}), round {round}");
        life.judge(&what);
        let Life { store, model, next } = life;
        if rng.one_in(4) {
            store.close().expect("no fault");
        }
        // Otherwise left as a kill leaves it.
        drop(store);
        life = Life { store: open(&path, background), model, next };
        life.judge(&format!("{what}, opened again"));
    }
    let report = life.store.verify(&mut |_| true).expect("reads");
    assert!(report.is_ok(), "live({coming:?}, {going:?}, {seed}): {:?}", report.errors);
}

#[test]
fn a_writer_that_never_pauses_beside_images_leaves_a_store_that_opens_whole() {
    let seeds: u64 = std::env::var("ALEXPY_IMAGE_SEEDS").map_or(1, |text| text.parse().expect("a number"));
    for seed in 0..seeds {
        for (i, coming) in COMING.into_iter().enumerate() {
            for (j, going) in GOING.into_iter().enumerate() {
                live(coming, going, seed * 100 + (i * 6 + j) as u64);
            }
        }
    }
}
