//! Values as columns: the same answers as the calls that return values one by one.

use std::ops::Bound;

use crate::common::open;
use alex_store::disk::sim::{Rng, SimDisk};
use alex_store::{Error, ItemColumns, Options, ReadMode, ScanRange, Store, ValueColumn};

const ALL: ScanRange =
    ScanRange { start: Bound::Unbounded, stop: Bound::Unbounded, reverse: false, limit: None };

fn filled(options: &Options) -> Store {
    let store = open(&SimDisk::new(1), options).expect("opens");
    let mut rng = Rng::new(3);
    for i in 0..200_u8 {
        // Includes values longer than those that batch reads copy as they go.
        let value = vec![i; rng.below(2000) as usize * usize::from(!i.is_multiple_of(3))];
        store.put(i128::from(i) * 5, &value).expect("writes");
    }
    store
}

fn each_read_mode(check: impl Fn(&Store)) {
    for read_mode in [ReadMode::Mmap, ReadMode::Pread] {
        let options = Options { read_mode, background: false, segment_bytes: 16384, ..Options::default() };
        check(&filled(&options));
    }
}

#[test]
fn a_column_holds_what_get_many_returns_and_grows_with_each_call() {
    each_read_mode(|store| {
        let keys: Vec<i128> = (-3..1010).chain([5, 5, 10]).collect();
        let (mut column, mut found) = (ValueColumn::default(), Vec::new());
        for piece in keys.chunks(100) {
            store.get_column(piece, &mut column, &mut found).expect("reads");
        }
        let expected = store.get_many(&keys).expect("reads");
        assert_eq!((column.len(), found.len()), (keys.len(), keys.len()));
        for i in 0..keys.len() {
            assert_eq!(found[i], expected.get(i).is_some(), "key {}", keys[i]);
            assert_eq!(column.get(i), Some(expected.get(i).unwrap_or_default()), "key {}", keys[i]);
        }
        assert_eq!(column.get(keys.len()), None);
    });
}

#[test]
fn columns_of_a_scan_are_its_runs_for_any_number_of_rows() {
    each_read_mode(|store| {
        let mut scan = store.scan(ALL).expect("scans");
        let run = scan.next_run(1000).expect("reads");
        for rows in [1, 2, 199, 200, 201, 5000] {
            let (mut scan, mut at) = (store.scan(ALL).expect("scans"), 0);
            loop {
                let ItemColumns { keys, values, .. } = scan.next_columns(rows).expect("reads");
                assert_eq!(keys.len(), rows.min(run.keys.len() - at), "only the last one is short");
                assert_eq!(values.len(), keys.len());
                for (i, key) in keys.iter().enumerate() {
                    assert_eq!(key, run.keys.get(at + i));
                    assert_eq!(values.get(i), run.values.get(at + i), "key {key}");
                }
                at += keys.len();
                if keys.is_empty() {
                    break;
                }
            }
            assert_eq!(at, 200);
        }
    });
}

#[test]
fn columns_of_a_scan_do_not_see_later_changes() {
    each_read_mode(|store| {
        let mut scan = store.scan(ScanRange { reverse: true, limit: Some(150), ..ALL }).expect("scans");
        let first = scan.next_columns(10).expect("reads");
        assert_eq!(first.keys, (190..200).rev().map(|i| i * 5).collect::<Vec<i64>>());
        store.clear().expect("clears");
        let rest = scan.next_columns(1000).expect("reads");
        assert_eq!(rest.keys, (50..190).rev().map(|i| i * 5).collect::<Vec<i64>>());
        assert_eq!(rest.values.get(1).and_then(|value| value.first()), Some(&188), "as it was");
    });
}

#[test]
fn columns_within_some_bytes_are_cut_where_values_become_long_and_miss_none() {
    each_read_mode(|store| {
        // Short ones first, so that no guess from them holds for the rest.
        for key in 1000..5000 {
            store.put(key, &[7; 8]).expect("writes");
        }
        for key in 5000..5100 {
            store.put(key, &vec![7; 10_000]).expect("writes");
        }
        for (reverse, limit) in [(false, None), (true, None), (false, Some(4250)), (true, Some(50))] {
            let range = ScanRange { reverse, limit, ..ALL };
            let whole = store.scan(range).expect("scans").next_columns(usize::MAX).expect("reads");
            let (mut scan, mut keys) = (store.scan(range).expect("scans"), Vec::new());
            loop {
                let batch = scan.next_columns_within(65_536, 1 << 17).expect("reads");
                assert!(batch.values.data().len() <= 1 << 17, "{} bytes", batch.values.data().len());
                if batch.keys.is_empty() {
                    break;
                }
                for (i, key) in batch.keys.iter().enumerate() {
                    assert_eq!(batch.values.get(i), whole.values.get(keys.len() + i), "key {key}");
                }
                keys.extend(batch.keys.iter());
            }
            assert_eq!(whole.keys, keys, "reverse {reverse}, limit {limit:?}");
            let one = store.scan(range).expect("scans").next_columns_within(65_536, 1).expect("reads");
            assert_eq!((one.keys.len(), one.keys.get(0)), (1, whole.keys.get(0)), "one, however long it is");
        }
    });
}

#[test]
fn columns_of_a_closed_store_are_refused_and_those_read_stay() {
    let store = filled(&Options { background: false, ..Options::default() });
    let mut scan = store.scan(ALL).expect("scans");
    let first = scan.next_columns(3).expect("reads");
    store.close().expect("closes");
    assert!(matches!(scan.next_columns(3), Err(Error::Closed { .. })));
    let (mut column, mut found) = (ValueColumn::default(), Vec::new());
    assert!(matches!(store.get_column(&[5_i64], &mut column, &mut found), Err(Error::Closed { .. })));
    assert_eq!(first.keys, vec![0_i64, 5, 10]);
}
