//! Read-only handles that follow a writer: after each refresh they show all that was committed, and between two of them
//! what they showed before; whatever the writer does meanwhile, however it ends, and however rarely they look.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::common::hook::{Call, HookDisk, quiet};
use crate::common::{Content, Model, content, content_of, for_seeds, open, options, step};
use alex_store::disk::sim::{Rng, SimDisk};
use alex_store::{Changed, Durability, Error, Options, ReadMode, Recovery, Snapshot, Store, What, WriteMode};

/// A follower, what it shows, and snapshots of it.
struct Follower {
    store: Store,
    shows: Content,
    seq: u64,
    snapshots: Vec<(Snapshot, Content)>,
}

impl Follower {
    fn open(disk: &SimDisk, options: &Options, now: &Content) -> Self {
        let options = Options { read_only: true, ..options.clone() };
        let store = open(disk, &options).expect("opens beside a writer");
        let seq = store.refresh().expect("refreshes");
        Self { store, shows: now.clone(), seq, snapshots: Vec::new() }
    }

    fn refresh(&mut self, now: &Content, log: &[String]) {
        let lag = self.store.stats().expect("open").lag;
        let seq = self.store.refresh().unwrap_or_else(|error| panic!("{error}\n{}", log.join("\n")));
        assert!(seq >= self.seq, "a follower never goes back");
        assert_eq!(lag, Some(seq - self.seq), "how far it was behind\n{}", log.join("\n"));
        assert!(seq > self.seq || *now == self.shows, "what changed has another sequence number");
        self.seq = seq;
        self.shows.clone_from(now);
        assert_eq!(content(&self.store), *now, "after a refresh\n{}", log.join("\n"));
    }

    /// Does one of the things that readers do.
    fn look(&mut self, rng: &mut Rng, now: &Content, log: &[String]) {
        match rng.below(6) {
            0 | 1 => self.refresh(now, log),
            2 => assert_eq!(content(&self.store), self.shows, "between two refreshes"),
            3 if self.snapshots.len() < 3 => {
                self.snapshots.push((self.store.snapshot().expect("open"), self.shows.clone()));
            }
            4 if !self.snapshots.is_empty() => {
                let at = rng.below(self.snapshots.len() as u64) as usize;
                let (snapshot, then) = self.snapshots.swap_remove(at);
                assert_eq!(content_of(&snapshot), then, "a snapshot of a follower\n{}", log.join("\n"));
            }
            _ => {
                let report = self.store.verify(&mut |_| true).expect("reads");
                let found: Vec<_> = report.errors.iter().map(ToString::to_string).collect();
                assert!(report.is_ok(), "{}\n{}", found.join("\n"), log.join("\n"));
            }
        }
    }
}

#[test]
fn followers_show_all_that_was_committed_whatever_a_writer_does_and_however_it_ends() {
    for_seeds("--test reads followers_show_all", 20, |seed| follow_writers(seed, false));
}

#[test]
fn followers_whose_images_are_damaged_show_the_same() {
    for_seeds("--test reads followers_whose_images", 20, |seed| follow_writers(seed, true));
}

/// Flips a bit in an image that is there, if there is one.
fn damage_an_image(disk: &SimDisk, rng: &mut Rng) {
    use alex_store::disk::Disk;
    let mut names = disk.list().expect("the power is on");
    names.retain(|name| name.starts_with("img-"));
    names.sort();
    if !names.is_empty() {
        let name = &names[rng.below(names.len() as u64) as usize];
        disk.corrupt(name, |bytes| {
            let at = rng.below(bytes.len() as u64) as usize;
            bytes[at] ^= 1 << rng.below(8);
        });
    }
}

fn follow_writers(seed: u64, damage: bool) {
    let mut rng = Rng::new(seed);
    let disk = SimDisk::new(seed);
    let mut model = Model::new();
    let mut followers: Vec<Follower> = Vec::new();
    let mut writer = None;
    for _ in 0..120 {
        match rng.below(20) {
            0 => {
                // Killed: what it had committed is in memory, and some of it not on the device.
                model.note("the writer is dropped".to_owned());
                writer = None;
            }
            1 => {
                if let Some((store, _)) = writer.take() {
                    let closed = Store::close(&store);
                    model.note(format!("the writer is closed: {closed:?}"));
                }
            }
            2 if followers.len() < 3 && disk_has_store(&disk) => {
                let follower = Follower::open(&disk, &options(&mut rng), model.now());
                if !damage {
                    assert_eq!(&content(&follower.store), model.now(), "as opened");
                }
                followers.push(follower);
            }
            3 if !followers.is_empty() && rng.one_in(3) => {
                followers.swap_remove(rng.below(followers.len() as u64) as usize);
            }
            4..=8 if damage && !followers.is_empty() => {
                damage_an_image(&disk, &mut rng);
                let at = rng.below(followers.len() as u64) as usize;
                followers[at].refresh(model.now(), &model.log);
            }
            4..=8 if !followers.is_empty() => {
                let at = rng.below(followers.len() as u64) as usize;
                followers[at].look(&mut rng, model.now(), &model.log);
            }
            _ => {
                let (store, options) = writer.get_or_insert_with(|| {
                    let options = options(&mut rng);
                    model.note("a writer opens".to_owned());
                    (open(&disk, &options).expect("opens"), options)
                });
                assert!(step(store, &mut model, &mut rng, options, &disk));
            }
        }
    }
    for follower in &mut followers {
        follower.refresh(model.now(), &model.log);
        for (snapshot, then) in follower.snapshots.drain(..) {
            assert_eq!(content_of(&snapshot), then);
        }
        let stats = follower.store.stats().expect("open");
        assert_eq!((stats.snapshots, stats.history_bytes), (0, 0));
    }
}

/// What a follower has shown, each time that it looked, since this was last taken.
type Looks = Arc<Mutex<Vec<(u64, Content)>>>;

/// Refreshes the follower on every call that the writer makes of its disk.
fn look_at_every_call(hooked: &HookDisk, follower: &Arc<Mutex<Option<Store>>>, looks: &Looks) {
    let (follower, looks) = (Arc::clone(follower), Arc::clone(looks));
    hooked.hook(move |call| {
        if matches!(call, Call::Read(_) | Call::ReadBytes(..) | Call::MapForWriting | Call::Map(_)) {
            return Ok(());
        }
        // On a thread of its own: the locks that the writer's thread holds belong to another store.
        std::thread::scope(|threads| {
            threads.spawn(|| {
                if let Some(store) = &*follower.lock().expect("no panic") {
                    let seq = store.refresh().expect("refreshes");
                    looks.lock().expect("no panic").push((seq, content_of(store)));
                }
            });
        });
        Ok(())
    });
}

#[test]
fn a_follower_that_looks_at_every_step_of_a_writer_sees_each_commit_whole_and_none_twice() {
    for_seeds("--test reads a_follower_that_looks", 1, |seed| {
        let mut rng = Rng::new(seed);
        let disk = SimDisk::new(seed);
        let hooked = HookDisk::new(&disk);
        let mut model = Model::new();
        let (follower, looks) = (Arc::new(Mutex::new(None)), Looks::default());
        look_at_every_call(&hooked, &follower, &looks);
        let (mut writer, mut last) = (None, 0);
        for _ in 0..40 {
            let before = model.now().clone();
            match rng.below(10) {
                0 => writer = None,
                1 => drop(writer.take().map(|(store, _): (Store, Options)| store.close())),
                _ => {
                    let (store, options) = writer.get_or_insert_with(|| {
                        let options = options(&mut rng);
                        (hooked.open_store(&options).expect("opens"), options)
                    });
                    assert!(step(store, &mut model, &mut rng, options, &disk));
                }
            }
            let mut is_after = false;
            for (seq, shown) in looks.lock().expect("no panic").drain(..) {
                assert!(seq >= last, "back from {last} to {seq}\n{}", model.log.join("\n"));
                last = seq;
                is_after |= shown != before;
                let expected = if is_after { model.now() } else { &before };
                assert_eq!(&shown, expected, "{}", model.log.join("\n"));
            }
            let mut follower = follower.lock().expect("no panic");
            if follower.is_none() && disk_has_store(&disk) {
                let options = Options { read_only: true, ..options(&mut rng) };
                *follower = Some(open(&disk, &options).expect("opens"));
            }
        }
    });
}

#[test]
fn a_follower_that_took_up_a_commit_with_its_footer_goes_on_wherever_recovery_is_killed() {
    let options = Options { write_mode: WriteMode::Pwrite, ..quiet() };
    let (mut footers_gone, mut killed_at) = (0, 0);
    loop {
        let disk = SimDisk::new(1);
        let writer = open(&disk, &options).expect("opens");
        let follower = open(&disk, &Options { read_only: true, ..options.clone() }).expect("opens");
        writer.put(1, b"one").expect("writes");
        // So that the footer confirms everything before it, but not itself.
        writer.flush().expect("flushes");
        writer.end_segment().expect("writes");
        drop(writer);
        let seen = follower.refresh().expect("refreshes");
        let hooked = HookDisk::new(&disk);
        let mut calls = 0;
        hooked.hook(move |_| {
            calls += 1;
            if calls > killed_at { Err(std::io::Error::other("killed")) } else { Ok(()) }
        });
        let recovered = hooked.open_store(&options).is_ok();
        let reader = open(&disk, &Options { read_only: true, ..options.clone() }).expect("opens");
        footers_gone += u32::from(reader.stats().expect("open").last_seq < seen);
        assert!(follower.refresh().expect("the store is no older than what was shown") >= seen);
        let writer = open(&disk, &options).expect("opens");
        writer.put(2, b"two").expect("writes");
        follower.refresh().expect("refreshes");
        assert_eq!(content(&follower), content(&writer), "killed at call {killed_at}");
        assert_eq!(content(&follower).len(), 2, "killed at call {killed_at}");
        if recovered {
            break;
        }
        killed_at += 1;
    }
    assert!(footers_gone > 0, "at no call had recovery done without the footer");
}

#[test]
fn a_manifest_that_is_replaced_right_when_it_is_opened_is_not_taken_for_the_newest() {
    let sim = SimDisk::new(1);
    let options = Options { background: false, ..Options::default() };
    let writer = open(&sim, &options).expect("opens");
    writer.put(1, b"one").expect("writes");
    let hooked = HookDisk::new(&sim);
    let follower = hooked.open_store(&Options { read_only: true, ..options.clone() }).expect("opens");
    // The first refresh opens the manifest; before it asks for its names, another one takes its place.
    let replaced = Arc::new(Mutex::new(Some(writer)));
    let take = Arc::clone(&replaced);
    hooked.hook(move |call| {
        if matches!(call, Call::Links(_))
            && let Some(writer) = take.lock().expect("no panic").take()
        {
            std::thread::spawn(move || writer.checkpoint().expect("writes")).join().expect("no panic");
        }
        Ok(())
    });
    follower.refresh().expect("refreshes");
    assert!(replaced.lock().expect("no panic").is_none(), "the hook was called");
    // As after a kill: nothing at the end of the old log tells that it goes on elsewhere.
    let writer = open(&sim, &options).expect("opens");
    writer.put(2, b"two").expect("writes");
    follower.refresh().expect("refreshes");
    assert_eq!(follower.get(2).expect("reads").expect("committed before the refresh").to_vec(), b"two");
}

fn disk_has_store(disk: &SimDisk) -> bool {
    use alex_store::disk::Disk;
    let names = disk.list().expect("the power is on");
    names.iter().any(|name| ["MANIFEST-A", "MANIFEST-B"].contains(&name.as_str()))
}

const EQUAL_KEYS: i128 = 50;

/// Commits the same number under all keys, again and again: with small segments, compaction and checkpoints, and every
/// now and then by another writer, after the one before was closed or just dropped.
fn write_equal_values(path: &Path, options: &Options, committed: &AtomicU64, until: Instant) {
    let keys: Vec<i128> = (0..EQUAL_KEYS).collect();
    let mut rng = Rng::new(7);
    let mut number = 0u64;
    while Instant::now() < until {
        let store = Store::open(path, options, &mut |_| true).expect("opens");
        for round in 0..100 + rng.below(2000) {
            number += 1;
            let value = number.to_le_bytes().repeat(1 + round as usize % 9);
            store.put_many(&keys, &vec![value; keys.len()][..], false).expect("writes");
            committed.store(number, Ordering::Release);
            match rng.below(400) {
                0 => store.flush().expect("flushes"),
                1 => store.checkpoint().expect("writes"),
                2 => drop(store.compact(&mut |_| true).expect("writes")),
                _ => {}
            }
            if Instant::now() >= until {
                break;
            }
        }
        if rng.one_in(2) {
            store.close().expect("closes");
        }
    }
}

/// Refreshes until then, and checks each time what is shown.
fn follow_equal_values(path: &Path, options: &Options, committed: &AtomicU64, until: Instant) -> u64 {
    let options = Options { read_only: true, ..options.clone() };
    let store = Store::open(path, &options, &mut |_| true).expect("opens");
    let keys: Vec<i128> = (0..EQUAL_KEYS).collect();
    let (mut refreshed, mut last) = (0, 0);
    while Instant::now() < until {
        let before = committed.load(Ordering::Acquire);
        store.refresh().expect("refreshes");
        refreshed += 1;
        let values = store.get_many(&keys).expect("reads");
        let numbers: Vec<u64> = (0..keys.len())
            .map(|i| u64::from_le_bytes(values.get(i).expect("there")[..8].try_into().expect("eight bytes")))
            .collect();
        assert!(numbers.iter().all(|&number| number == numbers[0]), "half a batch: {numbers:?}");
        assert!(numbers[0] >= before, "{} after a refresh, and {before} was committed before it", numbers[0]);
        assert!(numbers[0] >= last, "back from {last} to {}", numbers[0]);
        last = numbers[0];
        if refreshed % 500 == 0 {
            let report = store.verify(&mut |_| true).expect("reads");
            assert!(report.is_ok(), "{:?}", report.errors);
        }
    }
    refreshed
}

#[test]
fn followers_beside_a_writer_at_full_speed_show_whole_batches_and_all_that_was_committed() {
    for (read_mode, write_mode, durability) in [
        (ReadMode::Mmap, WriteMode::Auto, Durability::Interval),
        (ReadMode::Pread, WriteMode::Pwrite, Durability::Os),
    ] {
        let dir = tempfile::tempdir().expect("a directory");
        let options = Options {
            segment_bytes: 256 << 10,
            checkpoint_tail_bytes: 512 << 10,
            read_mode,
            write_mode,
            durability,
            ..Options::default()
        };
        let first = Store::open(dir.path(), &options, &mut |_| true).expect("opens");
        let keys: Vec<i128> = (0..EQUAL_KEYS).collect();
        first.put_many(&keys, &vec![vec![0; 8]; keys.len()][..], false).expect("writes");
        first.close().expect("closes");
        let committed = AtomicU64::new(0);
        let until = Instant::now() + Duration::from_secs(4);
        std::thread::scope(|threads| {
            let writer = threads.spawn(|| write_equal_values(dir.path(), &options, &committed, until));
            let follow = || follow_equal_values(dir.path(), &options, &committed, until);
            let followers: Vec<_> = (0..2).map(|_| threads.spawn(follow)).collect();
            for follower in followers {
                assert!(follower.join().expect("shows what was committed") > 10);
            }
            writer.join().expect("writes");
        });
        assert!(committed.into_inner() > 100);
    }
}

/// The newest segment file, and where in it a value of these bytes begins.
fn place_of(path: &Path, bytes: &[u8]) -> (std::path::PathBuf, u64) {
    let segments = std::fs::read_dir(path).expect("a directory").map(|entry| entry.expect("an entry").path());
    let logs = segments.filter(|path| path.extension().is_some_and(|end| end == "log"));
    let found = logs.filter_map(|path| {
        let content = std::fs::read(&path).expect("a file");
        let at = content.windows(bytes.len()).position(|window| window == bytes)?;
        Some((path, at as u64))
    });
    found.last().expect("the value is in a segment")
}

#[test]
fn damage_in_what_is_yet_to_be_followed_is_an_error_and_never_an_end_of_the_log() {
    use std::os::unix::fs::FileExt;
    for rolls in [false, true] {
        for read_mode in [ReadMode::Mmap, ReadMode::Pread] {
            let dir = tempfile::tempdir().expect("a directory");
            let options = Options { background: false, segment_bytes: 64 << 10, ..Options::default() };
            let store = Store::open(dir.path(), &options, &mut |_| true).expect("opens");
            store.put(1, b"seen").expect("writes");
            let reading = Options { read_only: true, read_mode, ..options.clone() };
            let follower = Store::open(dir.path(), &reading, &mut |_| true).expect("opens");
            store.put(2, b"to be damaged").expect("writes");
            store.put(3, &vec![9; 50 << 10]).expect("writes");
            store.flush().expect("flushes");
            // Carries the mark that says so, in this segment or the next.
            store.put(4, &vec![9; if rolls { 50 << 10 } else { 8 }]).expect("writes");
            let (segment, offset) = place_of(dir.path(), b"to be damaged");
            let file = std::fs::File::options().write(true).open(&segment).expect("opens");
            file.write_all_at(b"T", offset).expect("writes");
            for _ in 0..2 {
                let begun = Instant::now();
                let error = follower.refresh().expect_err("damage is found");
                assert!(begun.elapsed() < Duration::from_secs(5), "damage that stays is not waited for");
                let Error::Corruption { path, offset: at, .. } = &error else { panic!("{error}") };
                assert_eq!((path, *at), (&segment, offset - 24), "{error}");
                assert_eq!(*follower.get(1).expect("reads").expect("there"), *b"seen");
            }
            file.write_all_at(b"t", offset).expect("writes");
            follower.refresh().expect("nothing is damaged any more");
            assert_eq!(*follower.get(2).expect("reads").expect("there"), *b"to be damaged");
            assert_eq!(follower.len().expect("open"), 4);
        }
    }
}

#[test]
fn a_feed_tells_what_comes_before_damage_then_the_damage_and_the_rest_once_it_is_mended() {
    use std::os::unix::fs::FileExt;
    let dir = tempfile::tempdir().expect("a directory");
    let options = Options { background: false, ..Options::default() };
    let store = Store::open(dir.path(), &options, &mut |_| true).expect("opens");
    for key in 0..10 {
        store.put(key, format!("value {key}").as_bytes()).expect("writes");
    }
    let (segment, offset) = place_of(dir.path(), b"value 6");
    let file = std::fs::File::options().write(true).open(&segment).expect("opens");
    file.write_all_at(b"V", offset).expect("writes");
    let mut feed = store.changes(Some(0)).expect("open");
    let keys = |some: Vec<Changed>| -> Vec<i128> {
        some.iter().map(|it| if let What::Put(key, _) = it.what { key } else { panic!("{it:?}") }).collect()
    };
    assert_eq!(keys(feed.next_some(100).expect("up to the damage")), [0, 1, 2, 3, 4, 5]);
    for _ in 0..2 {
        let error = feed.next_some(100).expect_err("damage");
        assert!(matches!(error, Error::Corruption { offset: at, .. } if at == offset - 24), "{error}");
    }
    file.write_all_at(b"v", offset).expect("writes");
    assert_eq!(keys(feed.next_some(100).expect("whole")), [6, 7, 8, 9]);
    assert!(feed.next_some(100).expect("open").is_empty());
}

#[test]
fn a_record_that_is_only_half_written_is_no_damage_and_shown_when_it_is_whole() {
    use std::os::unix::fs::FileExt;
    let dir = tempfile::tempdir().expect("a directory");
    let options = quiet();
    let store = Store::open(dir.path(), &options, &mut |_| true).expect("opens");
    store.put(1, b"seen").expect("writes");
    let reading = Options { read_only: true, ..options.clone() };
    let follower = Store::open(dir.path(), &reading, &mut |_| true).expect("opens");
    let seq = follower.refresh().expect("refreshes");
    store.put(2, b"on its way").expect("writes");
    let (segment, offset) = place_of(dir.path(), b"on its way");
    let file = std::fs::File::options().write(true).open(&segment).expect("opens");
    file.write_all_at(&[0; 10], offset).expect("writes");
    for _ in 0..3 {
        assert_eq!(follower.refresh().expect("refreshes"), seq);
        assert_eq!(follower.len().expect("open"), 1);
    }
    file.write_all_at(b"on its way", offset).expect("writes");
    assert!(follower.refresh().expect("refreshes") > seq);
    assert_eq!(*follower.get(2).expect("reads").expect("there"), *b"on its way");
}

#[test]
fn a_follower_of_a_store_that_was_removed_replaced_or_set_back_says_so_and_reads_on() {
    let dir = tempfile::tempdir().expect("a directory");
    let options = Options { background: false, ..Options::default() };
    let store = Store::open(dir.path(), &options, &mut |_| true).expect("opens");
    store.put(1, b"one").expect("writes");
    store.close().expect("closes");
    let old: Vec<_> = ["MANIFEST-A", "MANIFEST-B"]
        .map(|name| (dir.path().join(name), std::fs::read(dir.path().join(name)).expect("a file")))
        .into();
    let store = Store::open(dir.path(), &options, &mut |_| true).expect("opens");
    store.put(2, b"two").expect("writes");
    let reading = Options { read_only: true, ..options.clone() };
    let follower = Store::open(dir.path(), &reading, &mut |_| true).expect("opens");
    drop(store);
    for (path, bytes) in &old {
        std::fs::write(path, bytes).expect("writes");
    }
    let error = follower.refresh().expect_err("the store is an older one");
    assert!(matches!(error, Error::Format { .. }), "{error}");
    for (path, _) in &old {
        std::fs::remove_file(path).expect("removes");
    }
    let error = follower.refresh().expect_err("there is no store");
    assert!(matches!(error, Error::NotFound { .. }), "{error}");
    assert_eq!(*follower.get(2).expect("reads").expect("there"), *b"two");
}

#[test]
fn what_was_seen_before_the_store_was_cut_back_is_never_taken_for_its_past() {
    use std::os::unix::fs::FileExt;
    for goes_on in [false, true] {
        let dir = tempfile::tempdir().expect("a directory");
        let options = Options { background: false, durability: Durability::Sync, ..Options::default() };
        let store = Store::open(dir.path(), &options, &mut |_| true).expect("opens");
        store.put(1, b"one").expect("writes");
        let reading = Options { read_only: true, ..options.clone() };
        let behind = Store::open(dir.path(), &reading, &mut |_| true).expect("opens");
        store.put(2, b"to be damaged").expect("writes");
        store.put(3, b"three").expect("writes");
        let follower = Store::open(dir.path(), &reading, &mut |_| true).expect("opens");
        let seen = follower.refresh().expect("refreshes");
        // As if it was killed.
        drop(store);
        let (segment, offset) = place_of(dir.path(), b"to be damaged");
        let file = std::fs::File::options().write(true).open(&segment).expect("opens");
        file.write_all_at(b"T", offset).expect("writes");
        let cutting = Options { recovery: Recovery::PointInTime, ..options.clone() };
        let store =
            Store::open(dir.path(), &cutting, &mut |_| true).expect("opens with what lies before the damage");
        if goes_on {
            store.put(4, b"four").expect("writes");
        }
        for _ in 0..2 {
            let error = follower.refresh().expect_err("what it shows is no past of this store");
            assert!(
                matches!(&error, Error::Format { problem, .. } if problem.contains("cut back")),
                "{error}"
            );
            assert_eq!(*follower.get(3).expect("reads").expect("there"), *b"three");
        }
        let fed = store.changes(Some(seen));
        assert!(matches!(fed, Err(Error::HistoryGone { .. })), "a feed that went further must begin anew");
        behind.refresh().expect("it has seen nothing that is gone");
        assert_eq!(behind.len().expect("open"), 1 + u64::from(goes_on));
        let mut fed = behind.changes(Some(1)).expect("all that came after is there");
        assert_eq!(fed.next_some(9).expect("reads").len(), usize::from(goes_on));
    }
}
