//! Versions beside a writer, in every order in which the threads can take their steps and with every value that the
//! memory model lets an atomic show: `make loom`. The state's lock, that of what versions keep, the pins and their
//! count are loom's; the index and the notes are the real ones, each called by whoever holds the lock.

use std::ops::Bound;
use std::sync::Arc;

use loom::sync::RwLock;
use loom::thread;

use super::state::State;
use crate::disk::Disk;
use crate::disk::sim::SimDisk;
use crate::format::header::SegmentHeader;
use crate::format::location::Location;
use crate::index::checked::Index;
use crate::index::versions::{Rest, ScanRange, Version};
use crate::keys::Key;
use crate::log::segment::Segment;
use crate::log::segments::Segments;

/// Loom runs threads as coroutines, and the index asks for more stack than loom gives them.
const STACK_BYTES: usize = 1 << 18;
/// How often the scheduler takes a thread's turn away although it could go on: with more it runs for hours.
const PREEMPTIONS: usize = 3;

type Shared = loom::sync::Arc<RwLock<State>>;

fn at(n: u32) -> Location {
    Location::new(n, 64)
}

fn segment(id: u32) -> Arc<Segment> {
    let disk: Arc<dyn Disk> = Arc::new(SimDisk::new(1));
    let file = disk.create("file", 0).expect("a file");
    Arc::new(Segment::over(&disk, SegmentHeader::of_test(id, 4096), file, None, false))
}

/// A store of keys 1 to 3, whose records are in segment 1.
fn state() -> State {
    let mut segments = Segments::default();
    segments.insert(segment(1));
    let mut state = State::new(Index::empty().expect("memory"), segments);
    commit(&mut state, 1, |state| {
        for key in 1..=3 {
            state.put(key, at(1)).expect("a sound index");
        }
    });
    state
}

fn commit(state: &mut State, seq: u64, change: impl FnOnce(&mut State)) {
    state.begin(seq);
    change(state);
    state.end();
}

/// Everything that a version shows: single lookups, lookups of many, a count and a scan, which have to agree.
fn shown(state: &State, version: &Version) -> Vec<(Key, u64)> {
    let view = state.at(version).expect("a version that nobody gave up");
    let keys = [1, 2, 3, 4];
    let mut many = Vec::new();
    view.locate(&keys, &mut many).expect("a sound index");
    let mut found = Vec::new();
    for (key, location) in keys.into_iter().zip(many) {
        assert_eq!(view.find(key).expect("a sound index"), location, "key {key}");
        found.extend(location.map(|location| (key, location.0)));
    }
    let all = ScanRange { start: Bound::Unbounded, stop: Bound::Unbounded, reverse: false, limit: None };
    let (mut rest, mut scanned, mut locations) = (Rest::of(all), Vec::new(), Vec::new());
    while !rest.is_empty() {
        rest.take(&view, 16, &mut scanned, &mut locations).expect("a sound index");
    }
    assert_eq!(scanned.into_iter().zip(locations).collect::<Vec<_>>(), found);
    assert_eq!(view.count(all.start, all.stop).expect("a sound index").0, found.len() as u64);
    let segments = view.segments();
    for &(key, location) in &found {
        assert!(segments.at(Location(location)).is_ok(), "key {key} is in a segment that was let go");
    }
    found
}

/// Takes a version, looks at it, and looks at it again later.
fn read(shared: &Shared) {
    let (version, first) = {
        let state = shared.read().expect("no panic");
        let version = state.pin();
        let first = shown(&state, &version);
        (version, first)
    };
    let again = shown(&shared.read().expect("no panic"), &version);
    assert_eq!(again, first, "a version has changed");
}

/// Runs a writer beside `readers`, in every order. Nothing may be kept in the end, and of the segments only what the
/// store uses.
fn in_every_order(readers: usize, write: fn(&Shared), segments_in_use: &'static [u32]) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(PREEMPTIONS);
    model.check(move || {
        let shared: Shared = loom::sync::Arc::new(RwLock::new(state()));
        let first: Vec<_> = shared.read().expect("no panic").segments.iter().map(Arc::downgrade).collect();
        let spawn = |body: Box<dyn Fn(&Shared) + Send>| {
            let shared = Shared::clone(&shared);
            thread::Builder::new().stack_size(STACK_BYTES).spawn(move || body(&shared)).expect("a thread")
        };
        let mut threads = vec![spawn(Box::new(write))];
        threads.extend((0..readers).map(|_| spawn(Box::new(read))));
        for thread in threads {
            thread.join().expect("no panic");
        }
        let state = shared.read().expect("no panic");
        assert!(!state.era().keeps_something(), "something is kept for nobody");
        assert_eq!(state.era().size(), (0, 0));
        let in_use: Vec<u32> = state.segments.iter().map(|segment| segment.id()).collect();
        assert_eq!(in_use, segments_in_use);
        if !in_use.contains(&1) {
            assert!(first[0].upgrade().is_none(), "a freed segment is kept for nobody");
        }
    });
}

#[test]
fn a_version_shows_its_moment_beside_single_changes_in_every_order() {
    let write = |shared: &Shared| {
        commit(&mut shared.write().expect("no panic"), 2, |state| {
            state.put(2, at(1)).expect("a sound index");
            state.delete(1).expect("a sound index");
        });
        commit(&mut shared.write().expect("no panic"), 3, |state| {
            state.put(4, at(1)).expect("a sound index");
            state.put(2, Location::new(1, 128)).expect("a sound index");
        });
    };
    in_every_order(2, write, &[1]);
}

#[test]
fn a_version_shows_its_moment_beside_an_emptying_in_every_order() {
    let write = |shared: &Shared| {
        commit(&mut shared.write().expect("no panic"), 2, |state| {
            state.delete_range(Key::MIN, Key::MAX, &mut Vec::new()).expect("a sound index");
        });
        commit(&mut shared.write().expect("no panic"), 3, |state| {
            state.put_many(&[2, 4], &[at(1).0, at(1).0], &mut Vec::new()).expect("a sound index");
        });
    };
    in_every_order(2, write, &[1]);
}

#[test]
fn a_version_keeps_a_segment_that_is_freed_and_lets_it_go_in_every_order() {
    let write = |shared: &Shared| {
        {
            let mut state = shared.write().expect("no panic");
            state.add_segment(segment(2));
            commit(&mut state, 2, |state| {
                state.put_many(&[1, 2, 3], &[at(2).0; 3], &mut Vec::new()).expect("a sound index");
            });
        }
        let era = {
            let mut state = shared.write().expect("no panic");
            state.remove_segments(&[1]);
            Arc::clone(state.era())
        };
        era.let_go();
    };
    in_every_order(2, write, &[2]);
}
