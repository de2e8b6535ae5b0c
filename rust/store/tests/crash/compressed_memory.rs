//! What compression takes of memory: in proportion to the files, also if they are forged, and little in compaction.

use crate::common::alone::ran_in_own_process;
use crate::common::forge::{content_of, place, put, records, seal_record, u32_at, u64_at};
use crate::common::memory::most_bytes;
use crate::common::{make_compressed, open};
use alex_store::disk::Disk;
use alex_store::disk::sim::{Loss, SimDisk};
use alex_store::{Options, ReadMode};

const VALUES: u64 = 10_000;
/// What the test may take at most, in KiB: the files have 1 MB, of which the simulated disk holds copies.
const MOST_KIB: u64 = 200 << 10;

fn options() -> Options {
    Options { segment_bytes: 4 << 20, background: false, ..Options::default() }
}

/// The most memory that this process ever had.
fn most_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("on Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("is there");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// A record; its length is that of the value.
fn record(kind: u8, sequence: u64, key: u64, value: &[u8]) -> Vec<u8> {
    let mut record = vec![0; 24];
    put(&mut record, 4, &(value.len() as u32).to_le_bytes());
    put(&mut record, 8, &(sequence << 8 | u64::from(kind)).to_le_bytes());
    put(&mut record, 16, &key.to_le_bytes());
    record.extend(value);
    record.resize(record.len().next_multiple_of(8), 0);
    record
}

/// A frame of 24 bytes in one raw block, behind the place of its dictionary.
fn value(dictionary: usize) -> Vec<u8> {
    let mut value = (dictionary as u32 >> 3).to_le_bytes().to_vec();
    value.extend([0b0010_0000, 24, 24 << 3 | 1, 0, 0]);
    value.extend([7; 24]);
    value
}

#[test]
fn a_dictionary_for_each_value_takes_memory_in_proportion_to_the_file() {
    if ran_in_own_process(|| ()) {
        return;
    }
    make_compressed(true);
    let disk = SimDisk::new(1);
    let store = open(&disk, &options()).expect("opens");
    store.put(-1, b"the segment is made").expect("writes");
    drop(store);
    let disk = disk.restart(Loss::ProcessOnly);
    let names = disk.list().expect("lists");
    let name = names
        .iter()
        .find(|name| name.starts_with("seg-") && !records(&content_of(&disk, name)).is_empty())
        .expect("it holds the put");
    let mut bytes = content_of(&disk, name);
    let last = *records(&bytes).last().expect("the put");
    let mut at = last + 24 + (u32_at(&bytes, last + 4).expect("a length") as usize).next_multiple_of(8);
    let mut sequence = u64_at(&bytes, last + 8).expect("a sequence") >> 8;
    for key in 0..VALUES {
        let dictionary = at;
        for record in [
            record(11, sequence + 1, 0, &key.to_le_bytes()),
            record(33, sequence + 2, key, &value(dictionary)),
        ] {
            bytes.resize(bytes.len().max(at + record.len()), 0);
            put(&mut bytes, at, &record);
            at = seal_record(&mut bytes, at).expect("fits");
        }
        sequence += 2;
    }
    place(&disk, name, bytes);
    for read_mode in [ReadMode::Mmap, ReadMode::Pread] {
        let store =
            open(&disk, &Options { read_only: true, read_mode, ..options() }).expect("each record is right");
        let keys: Vec<i64> = (0..VALUES as i64).collect();
        let found = store.get_many(&keys).expect("reads");
        assert!((0..keys.len()).all(|i| found.get(i) == Some(&[7; 24][..])));
        assert_eq!(store.get(17).expect("reads").as_deref(), Some(&[7; 24][..]));
        drop((found, store));
    }
    let most = most_kib();
    assert!(most < MOST_KIB, "{most} KiB for one megabyte of files");
}

#[test]
fn compaction_of_long_values_that_shrink_to_little_takes_few_of_them_as_samples() {
    let disk = SimDisk::new(1);
    make_compressed(true);
    let store = open(&disk, &options()).expect("opens");
    let value = |key: i64| [&key.to_le_bytes()[..], &vec![b'x'; 60_000]].concat();
    for from in (0..8000).step_by(200) {
        let keys: Vec<i64> = (from..from + 200).collect();
        store
            .put_many(&keys, &keys.iter().map(|&key| value(key)).collect::<Vec<_>>()[..], false)
            .expect("writes");
    }
    store.delete_range(std::ops::Bound::Included(0), std::ops::Bound::Included(100)).expect("deletes");
    let (report, most) = most_bytes(|| store.compact(&mut |_| true).expect("compacts"));
    assert!(report.moved_bytes > 300_000, "{report:?}");
    assert!(most < 24 << 20, "{} MiB", most >> 20);
    assert_eq!(store.get(7999).expect("reads").as_deref(), Some(&value(7999)[..]));
}
