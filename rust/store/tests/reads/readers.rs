//! Read-only handles beside a writer that overwrites, rolls, compacts, checkpoints, closes and opens again.
//! Each handle shows its moment for as long as it lives, whatever files the writer has removed, to reads, to
//! verify and to backup.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::common::hook::{Call, HookDisk, quiet};
use crate::common::{Content, Model, content, for_seeds, options, step};
use alex_store::disk::Disk;
use alex_store::disk::sim::{Rng, SimDisk};
use alex_store::{Error, Options, ReadMode, Recovery, Store};

/// Where a store is kept.
enum Place<'a> {
    Simulated(&'a SimDisk),
    Real(&'a Path),
}

impl Place<'_> {
    fn open(&self, options: &Options) -> Result<Store, Error> {
        match self {
            Self::Simulated(disk) => {
                let disk: Arc<dyn Disk> = Arc::new((*disk).clone());
                Store::open_on(disk, Path::new("simulated"), options, &mut |_| true)
            }
            Self::Real(path) => Store::open(path, options, &mut |_| true),
        }
    }
}

fn reading(options: &Options, rng: &mut Rng) -> Options {
    let read_mode = [ReadMode::Mmap, ReadMode::Pread][rng.below(2) as usize];
    Options { read_only: true, read_mode, ..options.clone() }
}

fn check(reader: &Store, moment: &Content, what: &str) {
    assert!(content(reader) == *moment, "{what}: a reader shows its moment");
    let report = reader.verify(&mut |_| true).unwrap_or_else(|error| panic!("{what}: verify: {error}"));
    assert!(report.is_ok(), "{what}: {:?}", report.errors);
}

/// A backup made by the reader holds what the reader shows.
fn back_up(reader: &Store, moment: &Content, what: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    let dest = folder.path().join("backup");
    reader.backup(&dest, &mut |_| true).unwrap_or_else(|error| panic!("{what}: backup: {error}"));
    let quiet = Options { background: false, ..Options::default() };
    let copy = Store::open(&dest, &quiet, &mut |_| true).expect("a backup opens");
    check(&copy, moment, what);
}

/// Random work of a writer. Readers arrive at random moments and stay.
fn beside_a_writer(place: &Place<'_>, rng: &mut Rng) {
    let disk = SimDisk::new(0);
    let disk = if let Place::Simulated(disk) = place { disk } else { &disk };
    let mut model = Model::new();
    let mut readers: Vec<(Store, Content)> = Vec::new();
    for _ in 0..3 {
        let options = options(rng);
        let writer = place.open(&options).expect("nothing fails");
        for _ in 0..rng.below(40) {
            assert!(step(&writer, &mut model, rng, &options, disk), "nothing fails");
            if rng.one_in(6) {
                let reader = place.open(&reading(&options, rng)).expect("opens beside a writer");
                check(&reader, model.now(), "a new reader");
                readers.push((reader, model.now().clone()));
            }
            if rng.one_in(8) {
                writer.compact(&mut |_| true).expect("nothing fails");
            }
            if !readers.is_empty() && rng.one_in(4) {
                let (reader, moment) = &readers[rng.below(readers.len() as u64) as usize];
                check(reader, moment, "an old reader");
            }
        }
        if rng.one_in(2) {
            writer.close().expect("nothing fails");
        }
        drop(writer);
        model.all_durable();
    }
    for (at, (reader, moment)) in readers.iter().enumerate() {
        let what = format!("reader {at} in the end\n{}", model.log.join("\n"));
        check(reader, moment, &what);
        // A backup reads the permissions of a real directory.
        if at % 4 == 0 && matches!(place, Place::Real(_)) {
            back_up(reader, moment, &what);
        }
    }
}

#[test]
fn readers_of_any_age_show_their_moment_whatever_the_writer_removes() {
    for_seeds("readers_of_any_age_show_their_moment", 2, |seed| {
        beside_a_writer(&Place::Simulated(&SimDisk::new(seed)), &mut Rng::new(seed));
    });
}

#[test]
fn a_reader_that_tolerates_damage_does_not_take_a_removed_file_for_damage() {
    for read_mode in [ReadMode::Mmap, ReadMode::Pread] {
        let disk = SimDisk::new(3);
        let writing = Options { segment_bytes: 4096, ..quiet() };
        let writer = Place::Simulated(&disk).open(&writing).expect("opens");
        let mut moment = Content::new();
        for round in 0..10_u8 {
            for key in 0..20 {
                writer.put(key, &[round; 100]).expect("writes");
                moment.insert(key, vec![round; 100]);
            }
        }
        writer.flush().expect("flushes");
        let (hooked, removed) = (HookDisk::new(&disk), Arc::new(AtomicU64::new(0)));
        let (beside, told) = (writer.clone(), Arc::clone(&removed));
        hooked.hook(move |call| {
            if matches!(call, Call::Open(name) if name.starts_with("seg-"))
                && told.load(Ordering::Relaxed) == 0
            {
                let report = beside.compact(&mut |_| true).expect("compacts");
                told.store(report.freed_segments, Ordering::Relaxed);
            }
            Ok(())
        });
        let around = Options { read_only: true, recovery: Recovery::PointInTime, read_mode, ..writing };
        let reader = hooked.open_store(&around).expect("opens beside a writer");
        assert!(removed.load(Ordering::Relaxed) > 3, "files were removed while the reader looked");
        check(&reader, &moment, "a reader that goes around damage");
    }
}

#[test]
fn readers_of_any_age_show_their_moment_on_a_real_disk() {
    for_seeds("readers_of_any_age_show_their_moment_on_a_real_disk", 1, |seed| {
        if seed % 4 == 0 {
            let folder = tempfile::tempdir().expect("a folder");
            beside_a_writer(&Place::Real(folder.path()), &mut Rng::new(seed));
        }
    });
}

#[test]
fn readers_come_and_stay_while_threads_compact_and_checkpoint() {
    const KEYS: u64 = 50;
    let folder = tempfile::tempdir().expect("a folder");
    let writing = Options {
        segment_bytes: 8192,
        compact_dead_ratio: 0.3,
        compact_bytes_per_second: 1 << 40,
        checkpoint_tail_bytes: 50_000,
        ..Options::default()
    };
    let writer = Store::open(folder.path(), &writing, &mut |_| true).expect("opens");
    // The i-th commit puts i under key i % KEYS, so that one number determines all others.
    let value = |i: u64| i.to_le_bytes().repeat(25);
    let moment = |last: u64| -> Content {
        (last.saturating_sub(KEYS - 1).max(1)..=last).map(|i| (i128::from(i % KEYS), value(i))).collect()
    };
    let last_of = |reader: &Store| -> u64 {
        let newest = content(reader)
            .into_values()
            .map(|value| u64::from_le_bytes(value[..8].try_into().expect("8 bytes")));
        newest.max().unwrap_or(0)
    };
    let (done, acknowledged) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for i in 1.. {
                if done.load(Ordering::Relaxed) {
                    return;
                }
                writer.put(i128::from(i % KEYS), &value(i)).expect("writes");
                acknowledged.store(i, Ordering::Release);
            }
        });
        let mut rng = Rng::new(1);
        let mut kept: Vec<(Store, u64)> = Vec::new();
        let begun = Instant::now();
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            while begun.elapsed() < Duration::from_millis(2500) {
                let floor = acknowledged.load(Ordering::Acquire);
                let reader = Store::open(folder.path(), &reading(&writing, &mut rng), &mut |_| true)
                    .expect("opens beside a writer");
                let last = last_of(&reader);
                assert!(last >= floor, "{last}, and {floor} was acknowledged before");
                check(&reader, &moment(last), "a new reader");
                kept.push((reader, last));
                let (reader, last) = &kept[rng.below(kept.len() as u64) as usize];
                check(reader, &moment(*last), "an old reader");
                if rng.one_in(20) {
                    back_up(reader, &moment(*last), "an old reader");
                }
                if kept.len() > 20 {
                    kept.swap_remove(rng.below(20) as usize);
                }
            }
        }));
        done.store(true, Ordering::Relaxed);
        outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
    assert!(writer.stats().expect("open").compaction.freed_segments > 20, "files went under the readers");
}

#[test]
fn a_reader_that_uses_system_calls_keeps_more_segments_than_descriptors() {
    const SEGMENTS: i128 = 1200;
    let folder = tempfile::tempdir().expect("a folder");
    let writing = Options {
        segment_bytes: 4096,
        background: false,
        durability: alex_store::Durability::Os,
        ..Options::default()
    };
    let writer = Store::open(folder.path(), &writing, &mut |_| true).expect("opens");
    let mut model = Content::new();
    for key in 0..SEGMENTS {
        for half in [key, key + SEGMENTS] {
            model.insert(half, vec![key as u8; 1700]);
            writer.put(half, &model[&half]).expect("writes");
        }
    }
    let segments = writer.stats().expect("open").segments;
    assert!(segments >= SEGMENTS as u64, "{segments}");
    let open = |read_mode| {
        let reading = Options { read_only: true, read_mode, ..writing.clone() };
        Store::open(folder.path(), &reading, &mut |_| true).expect("opens")
    };
    let readers = [open(ReadMode::Pread), open(ReadMode::Mmap)];
    for key in 0..SEGMENTS {
        writer.put(key, b"newer").expect("writes");
    }
    writer.compact(&mut |_| true).expect("compacts");
    assert!(writer.stats().expect("open").compaction.freed_segments > 1000);
    for reader in &readers {
        check(reader, &model, "beside a writer that removed the files");
        back_up(reader, &model, "beside a writer that removed the files");
    }
}

#[test]
fn a_reader_whose_image_is_damaged_builds_its_index_from_what_it_holds() {
    let folder = tempfile::tempdir().expect("a folder");
    let writing = Options { segment_bytes: 16 << 10, background: false, ..Options::default() };
    let writer = Store::open(folder.path(), &writing, &mut |_| true).expect("opens");
    let mut model = Content::new();
    for key in 0..6000 {
        let value = vec![key as u8; 20];
        writer.put(key, &value).expect("writes");
        model.insert(key, value);
    }
    for key in 0..2000 {
        writer.put(key * 3, b"newer").expect("writes");
        model.insert(key * 3, b"newer".to_vec());
    }
    writer.compact(&mut |_| true).expect("compacts");
    writer.checkpoint().expect("writes an image");
    for read_mode in [ReadMode::Mmap, ReadMode::Pread] {
        let name = |name: &str| name.starts_with("img-").then(|| folder.path().join(name));
        let images: Vec<_> = std::fs::read_dir(folder.path())
            .expect("lists")
            .filter_map(|entry| name(entry.expect("lists").file_name().to_str()?))
            .collect();
        assert!(!images.is_empty());
        for image in &images {
            use std::os::unix::fs::FileExt;
            let file = std::fs::OpenOptions::new().write(true).open(image).expect("opens");
            file.write_all_at(&[0xA5; 64], 20_000).expect("writes");
        }
        let reading = Options { read_only: true, read_mode, ..writing.clone() };
        let reader = Store::open(folder.path(), &reading, &mut |_| true).expect("opens");
        let moment = model.clone();
        // Before the damage is found, everything from which the index would be rebuilt is removed.
        for key in 0..6000 {
            writer.put(key, b"newest").expect("writes");
            model.insert(key, b"newest".to_vec());
        }
        writer.compact(&mut |_| true).expect("compacts");
        writer.checkpoint().expect("writes an image");
        assert!(content(&reader) == moment, "{read_mode:?}");
    }
}
