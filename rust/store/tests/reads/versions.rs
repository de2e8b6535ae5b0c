//! Snapshots and open scans of every age show the store as it was when they were made, whatever is written, removed,
//! emptied, moved, compacted or mended meanwhile; dropped in any order, they leave nothing behind.

use std::ops::Bound;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::common::{Content, content, content_of, for_seeds, open, options};
use crate::one_moment::{KEYS, change, read};
use alex_store::disk::sim::{Rng, SimDisk};
use alex_store::{Error, KeyVec, Neighbour, Options, Scan, ScanRange, Snapshot, Store};

type Items = Vec<(i128, Vec<u8>)>;

fn bound(rng: &mut Rng) -> Bound<i128> {
    let key = i128::from(rng.below(KEYS as u64 + 6)) - 3;
    [Bound::Included(key), Bound::Excluded(key), Bound::Unbounded][rng.below(3) as usize]
}

/// Whether a range is one that `BTreeMap::range` takes.
fn is_ordered(start: Bound<i128>, stop: Bound<i128>) -> bool {
    match (start, stop) {
        (Bound::Excluded(a), Bound::Excluded(b)) => a < b,
        (Bound::Included(a) | Bound::Excluded(a), Bound::Included(b) | Bound::Excluded(b)) => a <= b,
        _ => true,
    }
}

fn range(rng: &mut Rng) -> ScanRange {
    loop {
        let (start, stop) = (bound(rng), bound(rng));
        if is_ordered(start, stop) {
            let limit = rng.one_in(3).then(|| rng.below(30));
            return ScanRange { start, stop, reverse: rng.one_in(2), limit };
        }
    }
}

/// What a scan of a range must yield.
fn items(then: &Content, range: ScanRange) -> Items {
    let mut items: Vec<_> =
        then.range((range.start, range.stop)).map(|(&key, value)| (key, value.clone())).collect();
    if range.reverse {
        items.reverse();
    }
    items.truncate(range.limit.map_or(usize::MAX, |limit| limit as usize));
    items
}

/// Takes up to `max` items of a scan off what it must still yield.
fn take(scan: &mut Scan, left: &mut Items, max: usize) {
    let run = scan.next_run(max).expect("reads");
    let expected: Vec<_> = left.drain(..max.min(left.len())).collect();
    let values = (0..run.keys.len()).map(|i| run.values.get(i).expect("scanned").to_vec());
    let found: Vec<_> = run.keys.iter().zip(values).collect();
    assert_eq!(found, expected);
}

/// Reads a snapshot in one of the possible ways.
fn look(rng: &mut Rng, snapshot: &Snapshot, then: &Content) {
    let key = i128::from(rng.below(KEYS as u64 + 6)) - 3;
    let expected = |item: Option<(&i128, &Vec<u8>)>| item.map(|(&key, value)| (key, value.clone()));
    let found = |item: Result<Option<(i128, alex_store::Value)>, Error>| {
        item.expect("reads").map(|(key, value)| (key, value.to_vec()))
    };
    match rng.below(11) {
        10 => look_at_ranks(rng, snapshot, then),
        0 => assert_eq!(content_of(snapshot), *then),
        1 => {
            assert_eq!(snapshot.get(key).expect("reads").map(|it| it.to_vec()), then.get(&key).cloned());
            assert_eq!(snapshot.contains(key).expect("reads"), then.contains_key(&key));
        }
        2 => assert_eq!(snapshot.len().expect("reads"), then.len() as u64),
        3 => {
            assert_eq!(found(snapshot.first()), expected(then.first_key_value()));
            assert_eq!(found(snapshot.last()), expected(then.last_key_value()));
        }
        4 => {
            assert_eq!(found(snapshot.floor(key)), expected(then.range(..=key).next_back()));
            assert_eq!(found(snapshot.lower(key)), expected(then.range(..key).next_back()));
        }
        5 => {
            let above = (Bound::Excluded(key), Bound::Unbounded);
            assert_eq!(found(snapshot.ceiling(key)), expected(then.range(key..).next()));
            assert_eq!(found(snapshot.higher(key)), expected(then.range(above).next()));
        }
        6 => {
            let range = range(rng);
            let count = then.range((range.start, range.stop)).count() as u64;
            assert_eq!(snapshot.count(range.start, range.stop).expect("reads"), count);
        }
        7 => read(rng, &snapshot.moment().expect("open"), then),
        _ => {
            let range = range(rng);
            let mut left = items(then, range);
            let mut scan = snapshot.scan(range).expect("open");
            for _ in 0..4 {
                take(&mut scan, &mut left, 1 + rng.below(30) as usize);
            }
        }
    }
}

/// Ranks of a snapshot, one and many.
fn look_at_ranks(rng: &mut Rng, snapshot: &Snapshot, then: &Content) {
    let key = i128::from(rng.below(KEYS as u64 + 6)) - 3;
    assert_eq!(snapshot.rank(key).expect("reads"), then.range(..key).count() as u64);
    let rank = rng.below(then.len() as u64 + 2);
    for from_end in [false, true] {
        let item =
            if from_end { then.iter().nth_back(rank as usize) } else { then.iter().nth(rank as usize) };
        let found = snapshot.nth(rank, from_end).expect("reads").map(|(key, value)| (key, value.to_vec()));
        assert_eq!(found, item.map(|(&key, value)| (key, value.clone())), "{rank} {from_end}");
    }
    let ranks: Vec<u64> = (0..then.len() as u64 + 3).filter(|_| rng.one_in(2)).collect();
    let mut keys = KeyVec::default();
    snapshot.moment().expect("open").keys_at(&ranks, &mut keys).expect("reads");
    let there: Vec<i128> = then.keys().copied().collect();
    let expected: Vec<i128> = ranks.iter().filter_map(|&rank| there.get(rank as usize).copied()).collect();
    assert_eq!(keys, expected);
}

#[test]
fn ranks_in_a_version_are_right_beside_thousands_of_changes() {
    let disk = SimDisk::new(6);
    let store = open(&disk, &Options { background: false, ..Options::default() }).expect("opens");
    let mut rng = Rng::new(6);
    let keys: Vec<i128> = (0..20_000).map(|i| i * 10).collect();
    store.put_many(&keys, &vec![b"then"; keys.len()][..], false).expect("writes");
    let snapshot = store.snapshot().expect("open");
    let mut now: std::collections::BTreeSet<i128> = keys.iter().copied().collect();
    for round in 0..6 {
        let look: Vec<u64> = (0..40).map(|_| rng.below(20_000)).chain([0, 19_999]).collect();
        for &rank in &look {
            let (key, value) = snapshot.nth(rank, false).expect("reads").expect("there");
            assert_eq!((key, &value[..]), (i128::from(rank) * 10, &b"then"[..]), "round {round}");
            assert_eq!(snapshot.nth(19_999 - rank, true).expect("reads").expect("there").0, key);
            assert_eq!(snapshot.rank(key).expect("reads"), rank);
            assert_eq!(snapshot.rank(key + 5).expect("reads"), rank + 1);
            assert_eq!(store.rank(key).expect("reads"), now.range(..key).count() as u64);
        }
        for beyond in [20_000, u64::MAX - 1, u64::MAX] {
            assert!(snapshot.nth(beyond, false).expect("reads").is_none(), "{beyond}");
            assert!(snapshot.nth(beyond, true).expect("reads").is_none(), "{beyond}");
        }
        let (mut all, mut found) = ((0..20_010).collect::<Vec<u64>>(), KeyVec::default());
        snapshot.moment().expect("open").keys_at(&all, &mut found).expect("reads");
        assert_eq!(found, keys);
        all.truncate(now.len());
        let mut live = KeyVec::default();
        store.moment().expect("open").keys_at(&all, &mut live).expect("reads");
        assert!(live.iter().eq(now.iter().copied().take(all.len())));
        match round {
            // Replaced, came, went: in places, in runs, and at the ends.
            0 => {
                store.put_many(&keys[3_000..9_000], &vec![b"now"; 6_000][..], false).expect("writes");
            }
            1 | 2 => {
                let came: Vec<i128> = (0..5_000).map(|_| i128::from(rng.below(210_000)) - 5_000).collect();
                let came: Vec<i128> = came.into_iter().filter(|key| key % 10 != 0).collect();
                store.put_many(&came, &vec![b"new"; came.len()][..], false).expect("writes");
                now.extend(came);
            }
            3 => {
                store.delete_range(Bound::Included(40_000), Bound::Excluded(90_000)).expect("writes");
                now.retain(|key| !(40_000..90_000).contains(key));
            }
            _ => {
                let gone: Vec<i128> = keys.iter().copied().filter(|_| rng.one_in(3)).collect();
                store.delete_many(&gone).expect("writes");
                now.retain(|key| gone.binary_search(key).is_err());
            }
        }
    }
    store.clear().expect("writes");
    assert_eq!(snapshot.nth(777, false).expect("reads").expect("there").0, 7_770);
    assert_eq!(snapshot.rank(7_771).expect("reads"), 778);
    assert!(store.nth(0, false).expect("reads").is_none() && store.nth(0, true).expect("reads").is_none());
    drop(snapshot);
    store.close().expect("closes");
}

#[test]
fn neighbours_in_a_version_are_right_beside_long_runs_of_keys_that_came_or_went_since() {
    let disk = SimDisk::new(5);
    let store = open(&disk, &Options { background: false, ..Options::default() }).expect("opens");
    let keys: Vec<i128> = (0..6000).map(|i| i * 10).collect();
    store.put_many(&keys, &vec![b"then"; keys.len()][..], false).expect("writes");
    let snapshot = store.snapshot().expect("open");
    // A run of keys went, another one came, in a third everything was replaced.
    store.delete_range(Bound::Included(10_000), Bound::Excluded(30_000)).expect("writes");
    let came: Vec<i128> = (30_001..39_999).filter(|key| key % 10 != 0).collect();
    store.put_many(&came, &vec![b"now"; came.len()][..], false).expect("writes");
    store.put_many(&keys[4500..], &vec![b"now"; 1500][..], false).expect("writes");
    let asked: Vec<i128> =
        (-20..60_020).step_by(7).chain([i128::from(i64::MIN), i128::from(i64::MAX)]).collect();
    for which in [Neighbour::Floor, Neighbour::Ceiling] {
        let (mut near, mut found) = (KeyVec::default(), Vec::new());
        let mut values = alex_store::ValueColumn::default();
        let moment = snapshot.moment().expect("open");
        moment.get_nearest_column(&asked, which, &mut near, &mut values, &mut found).expect("reads");
        for (i, &key) in asked.iter().enumerate() {
            let nearest = match which {
                Neighbour::Floor if key >= 0 => Some((key / 10 * 10).min(59_990)),
                Neighbour::Ceiling if key <= 59_990 => Some((key.max(0) + 9) / 10 * 10),
                _ => None,
            };
            assert_eq!((found[i], near.get(i)), (nearest.is_some(), nearest.unwrap_or(0)), "{which:?} {key}");
            assert_eq!(values.get(i), Some(if nearest.is_some() { &b"then"[..] } else { b"" }));
        }
    }
    drop(snapshot);
    store.close().expect("closes");
}

fn assert_nothing_is_kept(store: &Store) {
    let stats = store.stats().expect("open");
    assert_eq!((stats.snapshots, stats.history_bytes), (0, 0));
}

#[test]
fn snapshots_and_scans_of_every_age_equal_the_model_at_their_moment() {
    for_seeds("--test reads snapshots_and_scans", 20, |seed| {
        let mut rng = Rng::new(seed);
        let disk = SimDisk::new(seed);
        let store = open(&disk, &options(&mut rng)).expect("opens");
        let mut now = Content::new();
        let mut snapshots: Vec<(Snapshot, Content)> = Vec::new();
        let mut scans: Vec<(Scan, Items)> = Vec::new();
        for _ in 0..80 {
            let one_of = |rng: &mut Rng, many: usize| rng.below(many as u64) as usize;
            match rng.below(12) {
                0 if snapshots.len() < 8 => {
                    snapshots.push((store.snapshot().expect("open"), now.clone()));
                }
                1 if scans.len() < 4 => {
                    let range = range(&mut rng);
                    scans.push((store.scan(range).expect("open"), items(&now, range)));
                }
                2 if !snapshots.is_empty() => drop(snapshots.swap_remove(one_of(&mut rng, snapshots.len()))),
                3 if !scans.is_empty() => drop(scans.swap_remove(one_of(&mut rng, scans.len()))),
                4 | 5 if !snapshots.is_empty() => {
                    let at = one_of(&mut rng, snapshots.len());
                    look(&mut rng, &snapshots[at].0, &snapshots[at].1);
                }
                6 if !scans.is_empty() => {
                    let at = one_of(&mut rng, scans.len());
                    let (scan, left) = &mut scans[at];
                    take(scan, left, 1 + rng.below(20) as usize);
                }
                7 if rng.one_in(4) => {
                    assert_eq!(store.clear().expect("writes"), now.len() as u64);
                    now.clear();
                }
                _ => change(&mut rng, &store, &mut now),
            }
        }
        for (scan, left) in &mut scans {
            take(scan, left, 1000);
        }
        while !snapshots.is_empty() {
            let at = rng.below(snapshots.len() as u64) as usize;
            let (snapshot, then) = snapshots.swap_remove(at);
            assert_eq!(content_of(&snapshot), then);
        }
        drop(scans);
        assert_nothing_is_kept(&store);
        assert_eq!(content(&store), now);
        store.close().expect("closes");
    });
}

#[test]
fn snapshots_beside_a_writer_each_show_one_of_its_commits_whole() {
    let disk = SimDisk::new(11);
    let store = open(&disk, &Options { segment_bytes: 1 << 20, background: false, ..Options::default() })
        .expect("opens");
    let keys: Vec<i128> = (0..3000).collect();
    let write = |number: u64| {
        store.put_many(&keys, &vec![number.to_le_bytes(); keys.len()][..], false).expect("writes");
        if number.is_multiple_of(50) {
            store.compact(&mut |_| true).expect("compacts");
        }
    };
    write(0);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| (1..1000).take_while(|_| !done.load(Ordering::Relaxed)).for_each(write));
        let readers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let (mut newest, mut held) = (0, Vec::new());
                    for _ in 0..60 {
                        let snapshot = store.snapshot().expect("open");
                        let all = content_of(&snapshot);
                        let first = all.first_key_value().expect("full").1.clone();
                        assert!(
                            all.len() == keys.len() && all.values().all(|it| *it == first),
                            "two commits"
                        );
                        let number = u64::from_le_bytes(first[..].try_into().expect("eight bytes"));
                        assert!(number >= newest, "a snapshot is older than one before it");
                        newest = number;
                        held.push((snapshot, first));
                        if held.len() == 10 {
                            let (snapshot, first) = held.remove(3);
                            assert_eq!(*snapshot.get(17).expect("reads").expect("there"), first[..]);
                        }
                    }
                })
            })
            .collect();
        let failed = readers.into_iter().map(|reader| reader.join().is_err()).fold(false, |a, b| a | b);
        done.store(true, Ordering::Relaxed);
        assert!(!failed, "a reader failed, see above");
    });
    assert_nothing_is_kept(&store);
    store.close().expect("closes");
}

#[test]
fn a_snapshot_costs_nothing_while_nothing_changes_and_a_closed_store_refuses_it() {
    let disk = SimDisk::new(1);
    let store = open(&disk, &Options { background: false, ..Options::default() }).expect("opens");
    store.put(1, b"one").expect("writes");
    let snapshots: Vec<_> = (0..1000).map(|_| store.snapshot().expect("open")).collect();
    let stats = store.stats().expect("open");
    assert_eq!((stats.snapshots, stats.history_bytes), (1000, 0));
    assert!(snapshots.iter().all(|it| it.seq() == stats.last_seq));
    store.put(1, b"uno").expect("writes");
    assert!(store.stats().expect("open").history_bytes > 0);
    assert_eq!(*snapshots[7].get(1).expect("reads").expect("there"), b"one"[..]);
    store.close().expect("closes");
    assert!(matches!(snapshots[0].get(1), Err(Error::Closed { .. })));
    assert!(matches!(snapshots[0].len(), Err(Error::Closed { .. })));
    assert!(matches!(store.snapshot(), Err(Error::Closed { .. })));
}
