//! A store's directory is identified by what it is, not by its name. Its files are removed, replaced, or are
//! no files at all; the directory is renamed, with another in its place; many threads create one store at
//! once; and files are readable only by whom they should be.
#![allow(unsafe_code)]

use std::ffi::{CString, OsStr};
use std::fs::{self, File, Permissions};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Barrier;

use crate::common::alone::ran_in_own_process;
use alex_store::{Error, Options, ReadMode, RepairMode, Store};
use rustix::fs::{FlockOperation, flock};
use tempfile::TempDir;

fn open(path: &Path, options: &Options) -> Result<Store, Error> {
    Store::open(path, options, &mut |_| true)
}

fn small() -> Options {
    Options { background: false, segment_bytes: 4096, checkpoint_tail_bytes: 1, ..Options::default() }
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("temporary directory")
}

/// A closed store with several segments and an image.
fn made(path: &Path) {
    let store = open(path, &small()).expect("opens");
    fill(&store, 0..100);
    store.checkpoint().expect("writes an image");
    store.close().expect("closes");
}

fn fill(store: &Store, keys: std::ops::Range<i128>) {
    for key in keys {
        store.put(key, &[7; 100]).expect("writes");
    }
}

/// Every file below a directory with its contents. Follows no links and never blocks.
fn files(path: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found: Vec<_> = fs::read_dir(path)
        .expect("lists")
        .map(|entry| {
            let path = entry.expect("lists").path();
            let plain = fs::symlink_metadata(&path).expect("there").is_file();
            let bytes = if plain { fs::read(&path).expect("reads") } else { Vec::new() };
            (path, bytes)
        })
        .collect();
    found.sort();
    found
}

/// What is put in place of a file.
#[derive(Debug, Clone, Copy)]
enum Odd {
    Link,
    DanglingLink,
    Pipe,
    Directory,
}

const ODD: [Odd; 4] = [Odd::Link, Odd::DanglingLink, Odd::Pipe, Odd::Directory];

impl Odd {
    /// Puts it at `path`. A link leads to `outside`.
    fn put(self, path: &Path, outside: &Path) {
        match self {
            Self::Link | Self::DanglingLink => symlink(outside, path).expect("links"),
            Self::Pipe => {
                let path = CString::new(path.as_os_str().as_bytes()).expect("no NUL");
                // SAFETY: a system call with a string that lives longer.
                assert_eq!(unsafe { libc::mkfifo(path.as_ptr(), 0o600) }, 0);
            }
            Self::Directory => fs::create_dir(path).expect("makes"),
        }
    }
}

#[test]
fn anything_but_a_plain_file_in_place_of_a_store_file_is_refused_by_name_and_left_alone() {
    let dir = folder();
    let whole = dir.path().join("whole");
    made(&whole);
    let names: Vec<_> = files(&whole).into_iter().map(|(path, _)| path).collect();
    assert!(names.len() > 6, "{names:?}");
    // Of the images, only the newest is opened.
    let images = names.iter().filter(|path| path.extension() == Some(OsStr::new("idx")));
    let newest = images.max().expect("an image").clone();
    let names = names.iter().filter(|path| path.extension() != newest.extension() || **path == newest);
    for name in names.map(|path| path.file_name().expect("a name")) {
        for odd in ODD {
            let (path, outside) = (dir.path().join("store"), dir.path().join("outside"));
            fs::create_dir(&path).expect("makes");
            for (from, _) in files(&whole) {
                fs::copy(&from, path.join(from.file_name().expect("a name"))).expect("copies");
            }
            if matches!(odd, Odd::Link) {
                fs::rename(path.join(name), &outside).expect("moves");
            } else {
                fs::remove_file(path.join(name)).expect("removes");
            }
            odd.put(&path.join(name), &outside);
            let before = (files(&path), fs::read(&outside).ok());
            let lock = name == "LOCK";
            for (read_only, read_mode) in
                [(false, ReadMode::Mmap), (false, ReadMode::Pread), (true, ReadMode::Mmap)]
            {
                let options = Options { read_only, read_mode, ..small() };
                match open(&path, &options) {
                    Err(Error::Format { path, .. }) => {
                        assert!(path.ends_with(name), "{name:?} {odd:?}: {}", path.display());
                    }
                    Ok(_) if lock && read_only => {}
                    other => panic!("{name:?} {odd:?}: {other:?}"),
                }
            }
            let repaired =
                Store::repair(&path, &dir.path().join("new"), RepairMode::Salvage, None, &mut |_| true);
            if let Ok(report) = repaired {
                assert_eq!(report.kept, 100, "{name:?} {odd:?}: nothing is lost in silence");
                fs::remove_dir_all(dir.path().join("new")).expect("removes");
            }
            assert!((files(&path), fs::read(&outside).ok()) == before, "{name:?} {odd:?} was touched");
            fs::remove_dir_all(&path).expect("removes");
            let _ = fs::remove_file(&outside);
        }
    }
}

#[test]
fn a_lock_that_is_a_symlink_is_refused_in_a_directory_that_holds_nothing_else() {
    let dir = folder();
    for odd in ODD {
        let (path, outside) = (dir.path().join(format!("{odd:?}")), dir.path().join("outside"));
        fs::create_dir(&path).expect("makes");
        if matches!(odd, Odd::Link) {
            fs::write(&outside, "ssh-ed25519 AAAA").expect("writes");
        }
        odd.put(&path.join("LOCK"), &outside);
        assert!(matches!(open(&path, &small()), Err(Error::Format { .. })), "{odd:?}");
        let kept = fs::read(&outside).ok();
        assert_eq!(kept.as_deref(), matches!(odd, Odd::Link).then_some(&b"ssh-ed25519 AAAA"[..]), "{odd:?}");
        let _ = fs::remove_file(&outside);
    }
}

#[test]
fn a_lock_file_that_holds_anything_else_is_neither_read_whole_nor_cut() {
    let dir = folder();
    let (huge, text) = (1_u64 << 33, "notes of somebody");
    for foreign in [true, false] {
        let path = dir.path().join(format!("{foreign}"));
        made(&path);
        let lock = path.join("LOCK");
        if foreign {
            fs::write(&lock, text).expect("writes");
        } else {
            File::create(&lock).and_then(|file| file.set_len(huge)).expect("a sparse file");
        }
        let refused = open(&path, &small());
        assert!(matches!(refused, Err(Error::Format { .. })), "{refused:?}");
        let len = fs::metadata(&lock).expect("there").len();
        assert_eq!(len, if foreign { text.len() as u64 } else { huge });
        // What a power cut may leave of our own lock file is none of these.
        for left in [&b""[..], b"\0\0\0\0", b"123\n", b"4194304"] {
            fs::write(&lock, left).expect("writes");
            open(&path, &small()).expect("opens").close().expect("closes");
        }
    }
}

#[test]
fn a_lock_that_was_removed_lets_no_second_writer_in_and_its_holder_notices() {
    let dir = folder();
    let first = open(dir.path(), &small()).expect("opens");
    fill(&first, 0..10);
    first.flush().expect("flushes");
    let mut key = 10;
    for replaced in [false, true] {
        let _ = fs::remove_file(dir.path().join("LOCK"));
        if replaced {
            fs::write(dir.path().join("LOCK"), "").expect("writes");
        }
        let second = open(dir.path(), &small());
        assert!(matches!(second, Err(Error::Locked { pid, .. }) if pid == Some(std::process::id())));
        // Until it needs another file, the first writer goes on.
        let refused = loop {
            match first.put(key, &[7; 100]) {
                Ok(()) => key += 1,
                Err(error) => break error,
            }
        };
        assert!(matches!(&refused, Error::Moved { path } if path.ends_with("LOCK")), "{refused}");
    }
    assert!(matches!(first.close(), Err(Error::Moved { .. })));
    let again = open(dir.path(), &small()).expect("the lock is free");
    assert_eq!(again.len().expect("open"), key as u64, "all that was acknowledged");
    assert!(again.verify(&mut |_| true).expect("reads").is_ok());
}

#[test]
fn a_lock_that_only_an_older_version_holds_is_respected() {
    let dir = folder();
    made(dir.path());
    let lock = File::options().read(true).write(true).open(dir.path().join("LOCK")).expect("there");
    flock(&lock, FlockOperation::NonBlockingLockExclusive).expect("free");
    assert!(matches!(open(dir.path(), &small()), Err(Error::Locked { .. })));
    let repaired =
        Store::repair(dir.path(), &dir.path().join("../never"), RepairMode::Salvage, None, &mut |_| true);
    assert!(matches!(repaired, Err(Error::Locked { .. })));
}

#[test]
fn a_store_that_was_renamed_writes_nothing_into_the_one_in_its_place() {
    let dir = folder();
    for (round, background) in [false, true].into_iter().enumerate() {
        let (path, moved) = (dir.path().join(format!("{round}")), dir.path().join(format!("{round}.old")));
        let options = Options { background, ..small() };
        let first = open(&path, &options).expect("opens");
        fill(&first, 0..5);
        fs::rename(&path, &moved).expect("moves");
        {
            let second = open(&path, &small()).expect("another store");
            fill(&second, 1000..1100);
            second.close().expect("closes");
        }
        let before = files(&path);
        let mut key = 5;
        let refused = loop {
            match first.put(key, &[7; 100]) {
                Ok(()) => key += 1,
                Err(error) => break error,
            }
        };
        assert!(
            matches!(&refused, Error::Moved { path: what } if what.ends_with(format!("{round}"))),
            "{refused}"
        );
        assert!(matches!(first.checkpoint(), Err(Error::Moved { .. })));
        let _ = first.compact(&mut |_| true);
        assert_eq!(first.get(key - 1).expect("reads").as_deref(), Some(&[7; 100][..]), "reads go on");
        assert!(matches!(first.close(), Err(Error::Moved { .. })));
        assert!(files(&path) == before, "nothing of the new store changed");
        let new = open(&path, &small()).expect("opens");
        assert_eq!(new.len().expect("open"), 100);
        let old = open(&moved, &small()).expect("opens where it is");
        assert_eq!(old.len().expect("open"), key as u64, "all that was acknowledged");
    }
}

#[test]
fn a_flush_of_a_renamed_store_reports_it_and_loses_nothing() {
    let dir = folder();
    let (path, away) = (dir.path().join("store"), dir.path().join("away"));
    let store = open(&path, &small()).expect("opens");
    fill(&store, 0..5);
    store.flush().expect("flushes");
    fs::rename(&path, &away).expect("moves");
    drop(open(&path, &small()).expect("another store"));
    assert!(matches!(store.flush(), Err(Error::Moved { .. })), "with nothing to flush");
    store.put(5, &[7; 100]).expect("goes into the file that is open");
    assert!(matches!(store.flush(), Err(Error::Moved { .. })));
    assert_eq!(
        store.stats().expect("open").durable_seq,
        store.stats().expect("open").last_seq,
        "all is safe"
    );
    let mut batch = alex_store::Batch::new();
    batch.put(6, &[7; 100]).expect("short");
    assert!(matches!(store.commit(&batch, true), Err(Error::Moved { .. })), "a commit that is to be flushed");
    drop(store);
    assert_eq!(open(&away, &small()).expect("opens").len().expect("open"), 7);
}

#[test]
fn a_store_that_was_renamed_and_is_back_goes_on() {
    let dir = folder();
    let (path, away) = (dir.path().join("store"), dir.path().join("away"));
    let store = open(&path, &small()).expect("opens");
    fill(&store, 0..5);
    fs::rename(&path, &away).expect("moves");
    let refused = (5..1000).find_map(|key| store.put(key, &[7; 100]).err());
    assert!(matches!(refused, Some(Error::Moved { .. })), "{refused:?}");
    fs::rename(&away, &path).expect("moves");
    fill(&store, 0..1000);
    store.close().expect("closes");
    assert_eq!(open(&path, &small()).expect("opens").len().expect("open"), 1000);
}

#[test]
fn a_backup_of_a_store_that_was_renamed_holds_its_own_segments() {
    let dir = folder();
    let (path, moved) = (dir.path().join("store"), dir.path().join("moved"));
    made(&path);
    let store = open(&path, &Options { read_only: true, ..small() }).expect("opens");
    fs::rename(&path, &moved).expect("moves");
    let other = open(&path, &small()).expect("opens");
    for key in 0..100 {
        other.put(key, &[8; 100]).expect("writes");
    }
    other.close().expect("closes");
    let copy = dir.path().join("copy");
    store.backup(&copy, &mut |_| true).expect("copies");
    let copy = open(&copy, &small()).expect("opens");
    for key in 0..100 {
        assert_eq!(copy.get(key).expect("reads").as_deref(), Some(&[7; 100][..]));
    }
}

#[test]
fn threads_that_make_one_store_at_once_get_one_writer_and_locked_errors() {
    let dir = folder();
    for round in 0..60 {
        let (path, threads) = (dir.path().join(format!("{round}")), 8);
        let (together, done) = (Barrier::new(threads), Barrier::new(threads));
        let writers: usize = std::thread::scope(|scope| {
            let make = || {
                together.wait();
                let opened = open(&path, &small());
                // No thread closes before all have tried.
                done.wait();
                match opened {
                    Ok(_) => 1,
                    Err(Error::Locked { pid, .. }) => {
                        assert_eq!(pid, Some(std::process::id()), "it says that it is this process");
                        0
                    }
                    Err(error) => panic!("round {round}: {error}"),
                }
            };
            let started: Vec<_> = (0..threads).map(|_| scope.spawn(make)).collect();
            started.into_iter().map(|thread| thread.join().expect("no panic")).sum()
        });
        assert_eq!(writers, 1, "round {round}");
    }
}

#[test]
fn readers_of_a_store_that_is_just_being_made_find_it_or_find_none() {
    let dir = folder();
    for round in 0..60 {
        let path = dir.path().join(format!("{round}"));
        let together = Barrier::new(3);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    together.wait();
                    for _ in 0..20 {
                        match open(&path, &Options { read_only: true, ..small() }) {
                            Ok(_) | Err(Error::NotFound { .. }) => {}
                            Err(error) => panic!("round {round}: {error}"),
                        }
                    }
                });
            }
            together.wait();
            open(&path, &small()).expect("opens");
        });
    }
}

#[test]
fn the_refusal_of_a_second_writer_says_that_this_very_process_is_the_first() {
    let dir = folder();
    let _first = open(dir.path(), &small()).expect("opens");
    let text = open(dir.path(), &small()).expect_err("locked").to_string();
    assert!(text.contains("this very process"), "{text}");
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("there").permissions().mode() & 0o7777
}

#[test]
fn files_are_no_more_accessible_than_their_directory_and_copies_keep_that() {
    if ran_in_own_process(|| ()) {
        return;
    }
    let dir = folder();
    // SAFETY: a plain system call, in a process that runs no other test.
    unsafe { libc::umask(0o022) };
    for (of_directory, of_files) in
        [(0o700, 0o600), (0o755, 0o644), (0o750, 0o640), (0o2775, 0o664), (0o777, 0o644), (0o2750, 0o640)]
    {
        let path = dir.path().join(format!("{of_directory:o}"));
        fs::create_dir(&path).expect("makes");
        fs::set_permissions(&path, Permissions::from_mode(of_directory)).expect("sets");
        made(&path);
        let store = open(&path, &small()).expect("opens");
        fill(&store, 0..200);
        let (copy, repaired) = (path.with_extension("copy"), path.with_extension("new"));
        store.backup(&copy, &mut |_| true).expect("copies");
        store.close().expect("closes");
        Store::repair(&path, &repaired, RepairMode::PointInTime, None, &mut |_| true).expect("repairs");
        for store in [&path, &copy, &repaired] {
            assert_eq!(mode(store), of_directory, "{}", store.display());
            for (file, _) in files(store) {
                assert_eq!(mode(&file), of_files, "{}", file.display());
            }
        }
        // A copy keeps files closed to others, and an existing directory keeps its mode.
        for (file, _) in files(&path) {
            fs::set_permissions(&file, Permissions::from_mode(0o600)).expect("sets");
        }
        let narrow = path.with_extension("narrow");
        fs::create_dir(&narrow).expect("makes");
        fs::set_permissions(&narrow, Permissions::from_mode(0o711)).expect("sets");
        open(&path, &Options { read_only: true, ..small() })
            .expect("opens")
            .backup(&narrow, &mut |_| true)
            .expect("copies");
        assert_eq!(mode(&narrow), 0o711);
        assert!(files(&narrow).iter().all(|(file, _)| mode(file) == 0o600));
    }
}

#[test]
fn a_store_without_write_permission_can_be_copied() {
    let dir = folder();
    let path = dir.path().join("store");
    made(&path);
    fs::set_permissions(&path, Permissions::from_mode(0o555)).expect("sets");
    let store = open(&path, &Options { read_only: true, ..small() }).expect("opens");
    let (copy, repaired) = (dir.path().join("copy"), dir.path().join("new"));
    let backed_up = store.backup(&copy, &mut |_| true);
    let kept = Store::repair(&path, &repaired, RepairMode::PointInTime, None, &mut |_| true);
    // Otherwise nobody could remove it.
    fs::set_permissions(&path, Permissions::from_mode(0o755)).expect("sets");
    backed_up.expect("copies");
    kept.expect("repairs");
    assert_eq!((mode(&copy), mode(&repaired)), (0o755, 0o755), "their owner can go on with them");
}

#[test]
fn an_impossible_path_is_refused_as_an_argument() {
    let dir = folder();
    made(dir.path());
    let with_nul = PathBuf::from(std::ffi::OsString::from_vec(b"a\0b".to_vec()));
    for path in [Path::new(""), &with_nul] {
        for read_only in [false, true] {
            let opened = open(path, &Options { read_only, ..small() });
            assert!(matches!(opened, Err(Error::Invalid(_))), "{opened:?}");
        }
        let new = dir.path().with_extension("new");
        let refused = [
            Store::verify_files(path, &mut |_| true).map(|_| ()),
            Store::repair(path, &new, RepairMode::Salvage, None, &mut |_| true).map(|_| ()),
            Store::repair(dir.path(), path, RepairMode::Salvage, None, &mut |_| true).map(|_| ()),
            open(dir.path(), &small()).expect("opens").backup(path, &mut |_| true),
        ];
        for outcome in refused {
            assert!(matches!(outcome, Err(Error::Invalid(_))), "{outcome:?}");
        }
    }
}

#[test]
fn missing_parents_are_made_only_on_request() {
    let dir = folder();
    let path = dir.path().join("a/b/store");
    assert!(matches!(open(&path, &small()), Err(Error::NoParent { .. })));
    assert!(!dir.path().join("a").exists());
    let store = open(&path, &Options { parents: true, ..small() }).expect("opens");
    let copy = dir.path().join("c/copy");
    assert!(matches!(store.backup(&copy, &mut |_| true), Err(Error::NoParent { .. })));
    assert!(!dir.path().join("c").exists());
}

#[test]
fn a_copy_onto_a_symbolic_link_is_refused_before_anything_is_copied() {
    let dir = folder();
    let at = |name: &str| dir.path().join(name);
    let store = open(&at("store"), &small()).expect("opens");
    fill(&store, 0..10);
    fs::create_dir(at("empty")).expect("makes");
    symlink(at("empty"), at("link")).expect("links");
    symlink(at("nowhere"), at("dangling")).expect("links");
    for name in ["link", "link/", "dangling", "dangling/"] {
        let backed_up = store.backup(&at(name), &mut |_| panic!("nothing is to be copied"));
        assert!(matches!(backed_up, Err(Error::Invalid(_))), "{name}: {backed_up:?}");
    }
    store.close().expect("closes");
    for name in ["link", "link/", "dangling", "dangling/"] {
        let repaired = Store::repair(&at("store"), &at(name), RepairMode::PointInTime, None, &mut |_| true);
        assert!(matches!(repaired, Err(Error::Invalid(_))), "{name}: {repaired:?}");
    }
    assert_eq!(fs::read_dir(dir.path()).expect("lists").count(), 4, "nothing was made");
}

#[test]
fn dots_behind_a_link_mean_what_the_system_means_by_them() {
    let dir = folder();
    let at = |name: &str| dir.path().join(name);
    fs::create_dir_all(at("far/away")).expect("makes");
    symlink(at("far/away"), at("link")).expect("links");
    let store = open(&at("link/../store"), &small()).expect("opens");
    fill(&store, 0..10);
    assert!(at("far/store/LOCK").exists() && !at("store").exists());
    store.backup(&at("link/../copy"), &mut |_| true).expect("copies");
    assert!(at("far/copy/MANIFEST-A").exists() && !at("copy").exists());
    store.close().expect("closes");
    Store::repair(&at("link/../store"), &at("link/../new"), RepairMode::PointInTime, None, &mut |_| true)
        .expect("repairs");
    assert!(at("far/new/MANIFEST-A").exists() && !at("new").exists());
    let report = Store::verify_files(&at("link/../store"), &mut |_| true).expect("reads");
    assert!(report.is_ok() && report.records > 0);
    assert!(fs::read_dir(dir.path()).expect("lists").count() == 2, "{:?}", OsStr::new("nothing else"));
}
