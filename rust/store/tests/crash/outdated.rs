//! Manifests of the past beside the segments of today. Either the log that they list goes on to the present,
//! or the store is refused by name, nothing is changed, and salvage finds everything.

use std::cell::Cell;
use std::sync::Arc;

use crate::common::{Content, Model, content, for_seeds, open, options, step};
use alex_store::disk::Disk;
use alex_store::disk::sim::{Loss, Rng, SimDisk};
use alex_store::{Error, Options, Recovery, RepairMode, Store};

const MANIFESTS: [&str; 2] = ["MANIFEST-A", "MANIFEST-B"];

fn bytes_of(disk: &SimDisk, name: &str) -> Vec<u8> {
    let mut found = Vec::new();
    disk.copy().corrupt(name, |bytes| found.clone_from(bytes));
    found
}

fn names(disk: &SimDisk) -> Vec<String> {
    let mut names = disk.list().expect("the power is on");
    names.sort();
    names
}

fn put_back(disk: &SimDisk, manifests: &[Vec<u8>; 2]) {
    for (name, before) in MANIFESTS.iter().zip(manifests) {
        disk.corrupt(name, |bytes| bytes.clone_from(before));
    }
}

/// Why the store was refused. If it was not, it must hold `expected`.
fn refusal(disk: &SimDisk, options: &Options, expected: &Content, what: &str) -> Option<Error> {
    let (before, manifests) = (names(disk), MANIFESTS.map(|name| bytes_of(disk, name)));
    match open(disk, options) {
        Ok(store) => {
            let found = content(&store);
            let lens = |content: &Content| -> Vec<(i128, usize)> {
                content.iter().map(|(key, value)| (*key, value.len())).collect()
            };
            let (found_lens, expected_lens) = (lens(&found), lens(expected));
            assert!(
                found == *expected,
                "{what}: opened with less: {found_lens:?}, not {expected_lens:?}; {before:?}, now {:?}",
                names(disk)
            );
            None
        }
        Err(error @ (Error::Corruption { .. } | Error::Format { .. })) => {
            assert_eq!(names(disk), before, "{what}: nothing is removed");
            assert!(manifests == MANIFESTS.map(|name| bytes_of(disk, name)), "{what}: nothing is written");
            Some(error)
        }
        Err(error) => panic!("{what}: {error}"),
    }
}

#[test]
fn manifests_older_than_the_segments_beside_them_are_refused_and_nothing_is_removed() {
    let (refused, opened) = (Cell::new(0), Cell::new(0));
    for_seeds("manifests_older_than_the_segments_beside_them", 5, |seed| {
        let mut rng = Rng::new(seed);
        let mut disk = SimDisk::new(seed);
        let mut model = Model::new();
        let mut older = Vec::new();
        for _ in 0..3 {
            let options = options(&mut rng);
            let store = open(&disk, &options).expect("nothing fails");
            for _ in 0..rng.below(40) {
                if rng.one_in(6) {
                    older.push(MANIFESTS.map(|name| bytes_of(&disk, name)));
                }
                assert!(step(&store, &mut model, &mut rng, &options, &disk), "nothing fails");
            }
            if rng.one_in(3) {
                store.close().expect("nothing fails");
            }
            drop(store);
            disk = disk.restart(Loss::ProcessOnly);
        }
        for (i, manifests) in older.iter().enumerate() {
            let what = format!("seed {seed}, manifests {i} of {}\n{}", older.len(), model.log.join("\n"));
            let disk = disk.copy();
            put_back(&disk, manifests);
            let mut options = options(&mut rng);
            let reading = Options { read_only: true, recovery: Recovery::Strict, ..options.clone() };
            let strict = refusal(&disk.copy(), &options, model.now(), &what);
            // A reader checks damage for a tenth of a second, in case a writer is at work.
            if !matches!(strict, Some(Error::Corruption { .. })) || rng.one_in(20) {
                let read = refusal(&disk, &reading, model.now(), &what);
                let text = |error: &Option<Error>| error.as_ref().map(ToString::to_string);
                assert_eq!(text(&read), text(&strict), "{what}: reading and writing judge alike");
            }
            let Some(strict) = strict else {
                opened.set(opened.get() + 1);
                continue;
            };
            if let Error::Format { .. } = strict {
                options.recovery = Recovery::PointInTime;
                let point_in_time = refusal(&disk.copy(), &options, model.now(), &what);
                assert!(point_in_time.is_some(), "{what}: what is newer is not dropped in silence");
                options.recovery = Recovery::Strict;
            }
            refused.set(refused.get() + 1);
            let salvaged = SimDisk::new(1);
            let source: Arc<dyn Disk> = Arc::new(disk.clone());
            let report = Store::repair_on(&source, Arc::new(salvaged.clone()), RepairMode::Salvage, &options)
                .unwrap_or_else(|error| panic!("{what}: {error}"));
            let store = open(&salvaged, &options).expect("whole");
            let mut kept = content(&store);
            // Without today's manifest, salvage cannot know where a segment ended whose successor was freed,
            // so a deleted key may come back.
            kept.retain(|key, _| model.now().contains_key(key));
            assert!(kept == *model.now(), "{what}: salvage keeps all of it: {report:?}, {:?}", names(&disk));
        }
    });
    if crate::common::seeds(5).end > 100 {
        assert!(refused.get() > 100 && opened.get() > 100, "{} and {}", refused.get(), opened.get());
    }
}
