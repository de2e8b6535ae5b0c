//! Files that claim to be huge, and ids at the ends of their range: somebody made a file longer than the
//! disk, or gave one the last id. The contents of the store are opened, verified and repaired in time and
//! memory for the data that exists. Uses real files, since it is the file system that has holes.

use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::common::forge::{content_of, crc32c, put, seal_manifest, seal_segment_header, u32_at, u64_at};
use crate::common::forged_store::{Forged, LOG, PUT};
use crate::common::memory::most_bytes;
use crate::common::{Content, content};
use alex_store::{Error, Options, ReadMode, Recovery, RepairMode, Store};

/// Memory for the pieces of files that are read at a time, for an index, and for a repaired store's segment.
const MEMORY: usize = 64 << 20;
/// Reading a terabyte would take minutes.
const TIME: Duration = Duration::from_secs(10);

fn options() -> Options {
    Options {
        background: false,
        sync_interval: Duration::from_secs(3600),
        segment_bytes: 1 << 16,
        ..Options::default()
    }
}

fn open(path: &Path, options: &Options) -> Result<Store, Error> {
    Store::open(path, options, &mut |_| true)
}

/// Makes a file as long as this file system allows. Returns its length.
fn stretch(path: &Path) -> u64 {
    let file = File::options().write(true).open(path).expect("there");
    let longest = (33..63).rev().map(|power| (1 << power) - 1).find(|&len| file.set_len(len).is_ok());
    longest.expect("a file system with holes")
}

fn within_bounds<T>(what: &str, call: impl FnOnce() -> T) -> T {
    let begun = Instant::now();
    let (outcome, memory) = most_bytes(call);
    assert!(memory < MEMORY, "{what}: {memory} bytes of memory");
    assert!(begun.elapsed() < TIME, "{what}: {:?}", begun.elapsed());
    outcome
}

/// A store with segments, including relocated records, an image, and a tail that was never closed.
fn made(path: &Path) -> Content {
    let store = open(path, &options()).expect("opens");
    let mut model = Content::new();
    for round in 0..3 {
        for key in 0..200 {
            let value = vec![round as u8; 100 + key as usize * 3];
            store.put(key * 7 + round, &value).expect("writes");
            model.insert(key * 7 + round, value);
        }
        store.checkpoint().expect("no fault");
        store.compact_some(&|id| id % 4 == 1).expect("no fault");
    }
    store.flush().expect("no fault");
    store.put(-1, b"tail").expect("writes");
    model.insert(-1, b"tail".to_vec());
    model
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).expect("a folder");
    for entry in fs::read_dir(from).expect("lists") {
        let path = entry.expect("lists").path();
        fs::copy(&path, to.join(path.file_name().expect("named"))).expect("copies");
    }
}

#[test]
fn files_longer_than_any_disk_cost_only_the_data_in_them() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("store");
    let model = made(&path);
    let mut names: Vec<String> = fs::read_dir(&path)
        .expect("lists")
        .map(|entry| entry.expect("lists").file_name().into_string().expect("ours"))
        .filter(|name| name != "LOCK")
        .collect();
    names.sort();
    // And all at once.
    let each = names.iter().map(|name| vec![name.clone()]);
    for (number, stretched) in each.chain([names.clone()]).enumerate() {
        let damaged = folder.path().join(format!("damaged-{number}"));
        copy(&path, &damaged);
        for name in &stretched {
            stretch(&damaged.join(name));
        }
        let manifests = stretched.len() > 1;
        let what = format!("{stretched:?}");
        for read_mode in [ReadMode::Mmap, ReadMode::Pread] {
            for (read_only, recovery) in
                [(true, Recovery::Strict), (true, Recovery::PointInTime), (false, Recovery::Strict)]
            {
                let options = Options { read_mode, read_only, recovery, ..options() };
                let opened = within_bounds(&what, || open(&damaged, &options));
                match opened {
                    Ok(store) => {
                        assert_eq!(content(&store), model, "{what}");
                        let report = within_bounds(&what, || store.verify(&mut |_| true)).expect("reads");
                        let refused = |error: &Error| matches!(error, Error::Corruption { .. });
                        assert!(report.errors.iter().all(refused), "{what}: {:?}", report.errors);
                    }
                    Err(Error::Corruption { path, .. }) if manifests => {
                        assert!(path.to_string_lossy().contains("MANIFEST"), "{what}: {}", path.display());
                    }
                    Err(error) => panic!("{what}: {error}"),
                }
            }
        }
        let _ = within_bounds(&what, || Store::verify_files(&damaged, &mut |_| true));
        for mode in [RepairMode::PointInTime, RepairMode::Salvage] {
            let repaired = folder.path().join(format!("repaired-{number}-{mode:?}"));
            within_bounds(&what, || Store::repair(&damaged, &repaired, mode, None, &mut |_| true))
                .expect("repairs");
            let store = open(&repaired, &options()).expect("opens");
            assert_eq!(content(&store), model, "{what}");
        }
        fs::remove_dir_all(&damaged).expect("removes");
    }
}

/// Makes the newest image this long; its own header and both manifests say so.
fn stretch_image(path: &Path, len: u64) {
    let mut id = 0;
    for name in ["MANIFEST-A", "MANIFEST-B"] {
        let mut bytes = fs::read(path.join(name)).expect("reads");
        let entry = 112 + 24 * u32_at(&bytes, 100).expect("a manifest") as usize;
        id = u32_at(&bytes, entry).expect("an image");
        put(&mut bytes, entry + 24, &len.to_le_bytes());
        seal_manifest(&mut bytes);
        fs::write(path.join(name), bytes).expect("writes");
    }
    let image = path.join(format!("img-{id:08x}.idx"));
    let mut bytes = fs::read(&image).expect("reads");
    let attached = u64_at(&bytes, 120).expect("a header").next_multiple_of(8);
    let attached = len - (bytes.len() as u64 - attached);
    put(&mut bytes, 120, &attached.to_le_bytes());
    let crc = crc32c(0, &bytes[..4092]);
    put(&mut bytes, 4092, &crc.to_le_bytes());
    fs::write(&image, bytes).expect("writes");
    File::options().write(true).open(&image).and_then(|file| file.set_len(len)).expect("a sparse file");
}

#[test]
fn a_huge_sparse_image_is_not_read_into_memory() {
    let folder = tempfile::tempdir().expect("a folder");
    for read_mode in [ReadMode::Mmap, ReadMode::Pread] {
        let path = folder.path().join(format!("{read_mode:?}"));
        let model = made(&path);
        stretch_image(&path, 1 << 40);
        for read_only in [true, false] {
            let options = Options { read_mode, read_only, ..options() };
            let store = within_bounds("opening", || open(&path, &options)).expect("opens");
            assert_eq!(content(&store), model, "{read_mode:?}");
            // An image that opening does without is taken off the list.
            if read_only {
                let report = within_bounds("verify", || store.verify(&mut |_| true)).expect("reads");
                assert!(report.errors.iter().all(|error| error.to_string().contains("img-")), "{report:?}");
                assert!(!report.is_ok());
            }
        }
    }
}

#[test]
fn segments_whose_ids_lie_billions_apart_are_a_store_like_any_other() {
    let folder = tempfile::tempdir().expect("a folder");
    for ids in [[1, 1 << 20, 1 << 31, u32::MAX - 9], [u32::MAX - 9, u32::MAX - 7, u32::MAX - 1, u32::MAX]] {
        let path = folder.path().join(format!("{}", ids[0]));
        fs::create_dir(&path).expect("a folder");
        let (mut forged, mut model) = (Forged::default(), Content::new());
        for id in ids {
            let keys = (0..9).map(|key| key * 5 + i128::from(id));
            model.extend(keys.clone().map(|key| (key, id.to_le_bytes().to_vec())));
            forged.add(id, LOG, keys.map(|key| (PUT, key, id.to_le_bytes().to_vec())));
        }
        forged.in_directory(&path);
        for read_mode in [ReadMode::Mmap, ReadMode::Pread] {
            let options = Options { read_mode, read_only: true, ..options() };
            let store = within_bounds("opening", || open(&path, &options)).expect("opens");
            assert_eq!(content(&store), model);
            let report = within_bounds("verify", || store.verify(&mut |_| true)).expect("reads");
            assert!(report.is_ok(), "{:?}", report.errors);
        }
        let repaired = folder.path().join("repaired");
        let repair = || Store::repair(&path, &repaired, RepairMode::Salvage, None, &mut |_| true);
        assert_eq!(within_bounds("repair", repair).expect("repairs").kept, model.len() as u64);
        fs::remove_dir_all(&repaired).expect("removes");
        let store = within_bounds("opening", || open(&path, &options())).expect("opens");
        match within_bounds("a put", || store.put(7, b"goes on")) {
            Ok(()) => drop(model.insert(7, b"goes on".to_vec())),
            // If no id is left, the error says so.
            Err(error) => assert!(ids[3] == u32::MAX && error.to_string().contains("used up"), "{error}"),
        }
        assert_eq!(content(&store), model);
    }
}

#[test]
fn a_stray_file_of_the_last_id_does_not_use_up_a_store() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("store");
    let mut model = made(&path);
    // A segment of another store, with the highest sequence numbers too.
    let mut foreign = Forged::default();
    foreign.add(u32::MAX - 1, LOG, [(PUT, 1, b"foreign".to_vec())]);
    let mut foreign = content_of(&foreign.on_disk(false), "seg-fffffffe.log");
    put(&mut foreign, 80, &((1_u64 << 56) - 2).to_le_bytes());
    seal_segment_header(&mut foreign);
    for round in 0..3_u8 {
        for (name, bytes) in [
            ("seg-ffffffff.log", &[][..]),
            ("seg-fffffffe.log", &foreign[..]),
            ("seg-fffffffd.log", &[1; 300]),
            ("img-ffffffff.idx", &[]),
        ] {
            fs::write(path.join(name), bytes).expect("writes");
        }
        let store = open(&path, &options()).expect("opens");
        assert_eq!(content(&store), model);
        for key in 0..300 {
            store.put(key, &[round; 400]).expect("writes");
            model.insert(key, vec![round; 400]);
        }
        store.checkpoint().expect("there are ids for images");
        store.compact(&mut |_| true).expect("no fault");
        assert_eq!(content(&store), model);
        store.close().expect("closes");
    }
}
