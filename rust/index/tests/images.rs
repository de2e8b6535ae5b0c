//! An image opens as the index that it was written from and can be changed like any other. If its bytes are
//! damaged, it reports that before any answer comes from them.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;
use std::io;
use std::ops::Bound;

use alex_index::image::{Identity, ImageError, ImageMemory, ImageWriter, check_file};
use alex_index::simd::available;
use alex_index::{Alex, Options};
use common::{ALL, ALL_WIDE, Keys, Kind, WideKeys, assert_equal, assert_range, draw, draw_wide, tree};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

const IDENTITY: Identity = Identity { store: [5; 16], file: 77 };

/// Writes an image of the keys that `index` holds at the beginning, as far as it still holds them, `run`
/// entries at a time. Calls `between` after each run.
fn write_while<K: Kind>(
    index: &mut Alex<K>,
    run: usize,
    mut between: impl FnMut(&mut Alex<K>, Option<K>),
) -> Vec<u8> {
    let mut writer = ImageWriter::begin(index, Vec::new(), IDENTITY);
    let held = oracle_of(index);
    let mut after = Bound::Unbounded;
    loop {
        let (mut keys, mut payloads) = (Vec::new(), Vec::new());
        index.scan_into(after, Bound::Unbounded, false, run, &mut keys, &mut payloads);
        let Some(&last) = keys.last() else { break };
        after = Bound::Excluded(last);
        let entries = keys.into_iter().zip(payloads).filter(|(key, _)| held.contains_key(key));
        let (keys, payloads): (Vec<K>, Vec<u64>) = entries.unzip();
        writer.push(&keys, &payloads).unwrap();
        between(index, writer.last_key());
    }
    let (written, bytes) = writer.finish(b"attached").unwrap();
    assert_eq!(written.bytes, bytes.len() as u64);
    bytes
}

fn write<K: Kind>(index: &mut Alex<K>) -> Vec<u8> {
    write_while(index, 1_000, |_, _| {})
}

fn memory(bytes: &[u8]) -> ImageMemory {
    ImageMemory::read(bytes.len() as u64, |memory| {
        memory.copy_from_slice(bytes);
        Ok(())
    })
    .unwrap()
}

fn open_with<K: Kind>(bytes: &[u8], options: Options) -> Result<Alex<K>, ImageError> {
    let opened = Alex::open_image(memory(bytes), options)?;
    assert_eq!((opened.identity, &opened.attachment[..]), (IDENTITY, &b"attached"[..]));
    Ok(opened.index)
}

fn open<K: Kind>(bytes: &[u8]) -> Alex<K> {
    open_with(bytes, Options::default()).unwrap()
}

fn read_from(bytes: &[u8]) -> impl FnMut(u64, &mut [u8]) -> io::Result<()> {
    move |offset, buffer| {
        buffer.copy_from_slice(&bytes[offset as usize..offset as usize + buffer.len()]);
        Ok(())
    }
}

fn oracle_of<K: Kind>(index: &Alex<K>) -> BTreeMap<K, u64> {
    index.range(Bound::Unbounded, Bound::Unbounded).collect()
}

/// Makes the same random changes to an index and its oracle.
fn change<K: Kind>(index: &mut Alex<K>, oracle: &mut BTreeMap<K, u64>, keys: &[K], random: &mut SmallRng) {
    for _ in 0..40 {
        let at = random.random_range(0..keys.len());
        let run = &keys[at..(at + random.random_range(1..200)).min(keys.len())];
        match random.random_range(0..5) {
            0 => {
                let mut removed = 0;
                index.remove_many(run, |_, _| removed += 1);
                let before = oracle.len();
                for key in run {
                    oracle.remove(key);
                }
                assert_eq!(removed, before - oracle.len());
            }
            1 => {
                let key = keys[at].around(K::of(random.random_range(-50..50)));
                assert_eq!(index.remove(key), oracle.remove(&key));
            }
            2 => {
                let expected = oracle.get(&keys[at]).copied().unwrap_or(9);
                let replaced = index.replace_if(keys[at], expected, 4);
                assert_eq!(replaced, oracle.contains_key(&keys[at]) && expected == oracle[&keys[at]]);
                if replaced {
                    oracle.insert(keys[at], 4);
                }
            }
            3 => {
                let moved: Vec<K> = run.iter().map(|key| key.around(K::of(7))).collect();
                let payloads: Vec<u64> = moved.iter().map(|_| random.random()).collect();
                index.insert_many(&moved, &payloads, |_, _| {});
                oracle.extend(moved.iter().copied().zip(payloads));
            }
            _ => {
                let (key, payload) =
                    (K::narrowed(random.random(), random.random_range(0..60)), random.random());
                assert_eq!(index.insert(key, payload), oracle.insert(key, payload));
            }
        }
    }
}

fn an_image_is_the_index_and_stays_so_under_changes_at_every_backend<K: Kind>(
    keys: &[K],
    slots: Option<usize>,
) {
    let count = keys.len();
    let mut built = tree(available()[0], slots);
    for (i, &key) in keys.iter().enumerate() {
        built.insert(key, i as u64);
    }
    for &key in keys.iter().step_by(7) {
        built.remove(key);
    }
    let bytes = write(&mut built);
    let probes = &keys[..keys.len().min(50)];
    for backend in available() {
        let options = Options { backend: Some(backend), ..Options::default() };
        let mut index = open_with(&bytes, options).unwrap();
        let mut oracle = oracle_of(&built);
        assert_equal(&index, &oracle, probes);
        let mut random = SmallRng::seed_from_u64(count as u64);
        if keys.is_empty() {
            continue;
        }
        // Unlike the first, this one is not verified as a whole before it is changed.
        let mut fresh = open_with(&bytes, options).unwrap();
        let mut same = oracle.clone();
        change(&mut fresh, &mut same, keys, &mut random.clone());
        assert_equal(&fresh, &same, probes);
        for _ in 0..3 {
            change(&mut index, &mut oracle, keys, &mut random);
            assert_equal(&index, &oracle, probes);
            let (low, high) = (keys[0].min(keys[count / 2]), keys[0].max(keys[count / 2]));
            assert_range(&index, &oracle, Bound::Included(low), Bound::Excluded(high), 100);
        }
        // An image of an opened image is right, too.
        let again = open(&write(&mut index));
        assert_equal(&again, &oracle, probes);
    }
}

#[test]
fn an_image_is_the_index_on_every_distribution_and_stays_so_under_changes_at_every_backend() {
    for kind in ALL.into_iter().chain([Keys::Mixed]) {
        for (count, slots) in [(0, None), (1, None), (3_000, Some(128)), (60_000, None)] {
            let keys = draw(kind, count, 3);
            an_image_is_the_index_and_stays_so_under_changes_at_every_backend(&keys, slots);
        }
    }
}

#[test]
fn an_image_of_wide_keys_is_the_index_on_every_distribution_and_stays_so_under_changes() {
    for kind in ALL_WIDE {
        for (count, slots) in [(0, None), (1, None), (3_000, Some(128)), (20_000, None)] {
            let keys = draw_wide(kind, count, 3);
            an_image_is_the_index_and_stays_so_under_changes_at_every_backend(&keys, slots);
        }
    }
}

#[test]
fn an_image_is_refused_where_keys_of_the_other_kind_are_expected() {
    let mut narrow: Alex = Alex::from_sorted(&[1, 2], &[1, 2]).unwrap();
    let mut wide: Alex<i128> = Alex::from_sorted(&[1, 2], &[1, 2]).unwrap();
    let (narrow, wide) = (write(&mut narrow), write(&mut wide));
    let refusals = [
        open_with::<i128>(&narrow, Options::default()).err().unwrap().to_string(),
        open_with::<i64>(&wide, Options::default()).err().unwrap().to_string(),
    ];
    assert!(refusals[0].contains("holds keys of 64 bits and was opened for keys of 128"), "{}", refusals[0]);
    assert!(refusals[1].contains("holds keys of 128 bits and was opened for keys of 64"), "{}", refusals[1]);
    for bytes in [&narrow, &wide] {
        assert_eq!(check_file(bytes.len() as u64, read_from(bytes)).unwrap(), Ok(IDENTITY));
    }
}

#[test]
fn an_image_is_as_good_to_read_as_a_bulk_load() {
    for kind in [Keys::Uniform, Keys::Lognormal, Keys::Timestamps] {
        let mut keys = draw(kind, 400_000, 8);
        let mut inserted = Alex::new();
        for &key in &keys {
            inserted.insert(key, 0);
        }
        keys.sort_unstable();
        keys.dedup();
        let loaded = Alex::from_sorted(&keys, &vec![0; keys.len()]).unwrap().stats();
        let image = open::<i64>(&write(&mut inserted)).stats();
        assert!(image.mean_error <= loaded.mean_error * 1.5 + 1.0, "{kind:?}\n{image:?}\n{loaded:?}");
        assert!(image.bytes <= loaded.bytes * 11 / 10, "{kind:?}\n{image:?}\n{loaded:?}");
        assert!(image.mean_depth <= loaded.mean_depth + 1.0, "{kind:?}\n{image:?}\n{loaded:?}");
    }
}

#[test]
fn an_image_written_while_the_index_changes_holds_each_key_as_it_was_at_some_moment() {
    for kind in [Keys::Uniform, Keys::Sequential, Keys::Clustered, Keys::Mixed] {
        for slots in [Some(128), None] {
            let keys = draw(kind, 20_000, 9);
            let mut index = tree(available()[0], slots);
            for &key in keys.iter().step_by(2) {
                index.insert(key, 1);
            }
            let start = oracle_of(&index);
            let mut random = SmallRng::seed_from_u64(2);
            let mut live = start.clone();
            // The payloads that a key had at any moment since the beginning; `None` means that it was absent.
            let mut seen: BTreeMap<i64, Vec<Option<u64>>> = BTreeMap::new();
            let bytes = write_while(&mut index, 512, |index, _| {
                let before = live.clone();
                change(index, &mut live, &keys, &mut random);
                // Thousands of new keys above all others, which the tree as it was would put into one leaf.
                for i in 0..300 {
                    let key = i64::MAX / 2 + random.random_range(0..1 << 40) + i;
                    index.insert(key, 3);
                    live.insert(key, 3);
                }
                for key in before.keys().chain(live.keys()) {
                    if before.get(key) != live.get(key) {
                        seen.entry(*key).or_default().push(live.get(key).copied());
                    }
                }
            });
            index.check().unwrap();
            let image = open(&bytes);
            image.check().unwrap();
            let found = oracle_of(&image);
            for key in found.keys().chain(start.keys()) {
                let now = found.get(key).copied();
                let allowed = now == start.get(key).copied()
                    || seen.get(key).is_some_and(|states| states.contains(&now));
                assert!(allowed, "{kind:?}: {key} is {now:?}");
            }
        }
    }
}

#[test]
fn keys_out_of_order_are_refused() {
    let mut writer = ImageWriter::begin(&Alex::<i64>::new(), Vec::new(), IDENTITY);
    writer.push(&[1, 5], &[0, 0]).unwrap();
    assert_eq!(writer.push(&[5], &[0]).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    assert_eq!(writer.push(&[9, 8], &[0, 0]).unwrap_err().kind(), io::ErrorKind::InvalidInput);
}

#[test]
fn an_error_of_the_sink_is_returned() {
    struct Full(usize);
    impl alex_index::image::ImageSink for Full {
        fn write_at(&mut self, _: u64, _: &[u8]) -> io::Result<()> {
            self.0 = self.0.checked_sub(1).ok_or(io::ErrorKind::StorageFull)?;
            Ok(())
        }
    }
    let index: Alex = Alex::from_sorted(&[1, 2], &[1, 2]).unwrap();
    for writes in 0..3 {
        let mut writer = ImageWriter::begin(&index, Full(writes), IDENTITY);
        writer.push(&[1, 2], &[1, 2]).unwrap();
        assert_eq!(writer.finish(b"").err().unwrap().kind(), io::ErrorKind::StorageFull);
    }
}

/// Asks everything. Answers must be right if no damage was found. Returns whether that was so.
#[expect(clippy::too_many_lines, reason = "there are many kinds of calls")]
fn ask_everything<K: Kind>(mut index: Alex<K>, oracle: &BTreeMap<K, u64>, random: &mut SmallRng) -> bool {
    let keys: Vec<K> = oracle.keys().copied().collect();
    let whole = |index: &Alex<K>| index.damage().is_none();
    let mut probes: Vec<K> = (0..40).map(|_| keys[random.random_range(0..keys.len())]).collect();
    probes.push(K::any(random));
    for &key in &probes {
        let found =
            (index.get(key), index.floor(key), index.ceiling(key), index.lower(key), index.higher(key));
        if !whole(&index) {
            break;
        }
        let pair = |entry: Option<(&K, &u64)>| entry.map(|(&k, &v)| (k, v));
        assert_eq!(found.0, oracle.get(&key).copied());
        assert_eq!(found.1, pair(oracle.range(..=key).next_back()));
        assert_eq!(found.2, pair(oracle.range(key..).next()));
        assert_eq!(found.3, pair(oracle.range(..key).next_back()));
        assert_eq!(found.4, pair(oracle.range((Bound::Excluded(key), Bound::Unbounded)).next()));
    }
    let mut many = Vec::new();
    index.get_many(&probes, |_, payload| many.push(payload));
    if whole(&index) {
        assert!(many.into_iter().eq(probes.iter().map(|key| oracle.get(key).copied())));
    }
    let (low, high) = (probes[0].min(probes[1]), probes[0].max(probes[1]));
    let (low, high) = (Bound::Included(low), Bound::Included(high));
    let expected: Vec<(K, u64)> = oracle.range((low, high)).map(|(&k, &v)| (k, v)).collect();
    let count = index.count(low, high);
    let forward: Vec<_> = index.range(low, high).collect();
    let backward: Vec<_> = index.range(low, high).rev().collect();
    let (mut scanned, mut payloads) = (Vec::new(), Vec::new());
    for reverse in [false, true] {
        index.scan_into(low, high, reverse, usize::MAX, &mut scanned, &mut payloads);
    }
    let ends = (index.first(), index.last());
    let boundaries = index.boundaries(9);
    if whole(&index) {
        assert_eq!((count, scanned.len()), (expected.len(), 2 * expected.len()));
        assert_eq!(forward, expected);
        let at = |part: usize| keys[part * keys.len() / 9];
        assert!(boundaries.into_iter().eq((1..9).map(at)));
        assert!(backward.iter().eq(expected.iter().rev()));
        let pair = |entry: Option<(&K, &u64)>| entry.map(|(&k, &v)| (k, v));
        assert_eq!(ends, (pair(oracle.first_key_value()), pair(oracle.last_key_value())));
    }
    // Changes, structural ones among them, must not panic either.
    let mut oracle = oracle.clone();
    for round in 0..2 {
        for &key in &probes {
            for step in 0..60 {
                let (key, payload) = (key.around(K::of(step * 3)), random.random());
                let replaced = index.insert(key, payload);
                let expected = oracle.insert(key, payload);
                assert!(!whole(&index) || replaced == expected);
            }
            let removed = index.remove(key);
            let expected = oracle.remove(&key);
            assert!(!whole(&index) || removed == expected);
        }
        let run: Vec<K> = keys.iter().copied().skip(round * 500).take(1_000).collect();
        let mut removed = 0;
        index.remove_many(&run, |_, _| removed += 1);
        let before = oracle.len();
        for key in &run {
            oracle.remove(key);
        }
        assert!(!whole(&index) || removed == before - oracle.len());
    }
    let found = oracle_of(&index);
    if whole(&index) {
        assert_eq!(found, oracle);
        index.check().unwrap();
    } else {
        assert!(index.check().is_err(), "check must report the damage");
    }
    whole(&index)
}

fn a_bit_flipped_anywhere_is_an_error_or_damage_and_never_an_answer<K: Kind>(keys: &[K], every: usize) {
    let mut built = tree(available()[0], Some(1024));
    for (&key, payload) in keys.iter().zip(0..) {
        built.insert(key, payload);
    }
    let oracle = oracle_of(&built);
    let bytes = write(&mut built);
    let mut random = SmallRng::seed_from_u64(6);
    // Every byte of header, table and attachment, and one in so many of the nodes.
    let places = (0..bytes.len()).filter(|&at| at < 4096 || at > bytes.len() - 200 || at % every == 0);
    let (mut refused, mut met, mut unmet) = (0, 0, 0);
    for at in places {
        let mut broken = bytes.clone();
        broken[at] ^= 1 << random.random_range(0..8);
        let told = check_file(broken.len() as u64, read_from(&broken)).unwrap();
        assert!(told.is_err(), "check_file misses a flipped bit at {at}");
        match open_with::<K>(&broken, Options::default()) {
            Err(_) => refused += 1,
            Ok(index) => {
                let probe = open_with::<K>(&broken, Options::default()).unwrap();
                assert!(probe.verify_image().is_err(), "verify_image misses a flipped bit at {at}");
                let damage = probe.damage().unwrap();
                assert_eq!(damage.offset / 65_536, (at as u64 - 4096) / 65_536 * 65_536 / 65_536, "{damage}");
                if ask_everything(index, &oracle, &mut random) { unmet += 1 } else { met += 1 }
            }
        }
    }
    assert!(refused >= 4096 && met > 100, "{refused} refused, {met} met, {unmet} unmet");
    assert_eq!(check_file(bytes.len() as u64, read_from(&bytes)).unwrap(), Ok(IDENTITY));
}

#[test]
fn a_bit_flipped_anywhere_in_an_image_of_either_kind_is_an_error_or_damage_and_never_an_answer() {
    a_bit_flipped_anywhere_is_an_error_or_damage_and_never_an_answer(&draw(Keys::Clustered, 12_000, 4), 97);
    let wide = draw_wide(WideKeys::Networks, 8_000, 4);
    a_bit_flipped_anywhere_is_an_error_or_damage_and_never_an_answer(&wide, 397);
}

#[test]
fn an_image_cut_or_extended_anywhere_is_refused() {
    let mut built: Alex = Alex::from_sorted(&[1, 2, 3], &[4, 5, 6]).unwrap();
    let bytes = write(&mut built);
    for len in 0..bytes.len() {
        let error = open_with::<i64>(&bytes[..len], Options::default()).unwrap_err();
        let short = matches!(error, ImageError::TooShort(found) if found == len as u64);
        let damaged = matches!(error, ImageError::Damaged(_));
        assert!(if len < 4096 { short } else { damaged }, "{len}: {error}");
    }
    let longer = [&bytes[..], &[0; 8]].concat();
    assert!(matches!(open_with::<i64>(&longer, Options::default()), Err(ImageError::Damaged(_))));
}

/// Gives a damaged image right checksums everywhere.
fn forge(bytes: &mut [u8]) {
    let long = |bytes: &[u8], at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap()) as usize;
    let data = long(bytes, 72);
    if data > bytes.len() - 4096 {
        return;
    }
    let table = 4096 + data;
    let blocks = data.div_ceil(65_536);
    for block in 0..blocks {
        let from = 4096 + block * 65_536;
        let crc = crc32c::crc32c(&bytes[from..(from + 65_536).min(table)]);
        let Some(place) = bytes.get_mut(table + block * 4..table + block * 4 + 4) else { return };
        place.copy_from_slice(&crc.to_le_bytes());
    }
    let end = table + (blocks * 4).next_multiple_of(8);
    let Some(covered) = bytes.get(table..end) else { return };
    let crc = crc32c::crc32c(covered);
    bytes[108..112].copy_from_slice(&crc.to_le_bytes());
    let crc = crc32c::crc32c(&bytes[..4092]);
    bytes[4092..4096].copy_from_slice(&crc.to_le_bytes());
}

fn forged_checksums_lead_to_no_crash_and_no_endless_loop<K: Kind>(keys: &[K], rounds: usize) {
    let mut built = tree(available()[0], Some(256));
    for (&key, payload) in keys.iter().zip(0..) {
        built.insert(key, payload);
    }
    let bytes = write(&mut built);
    let probes = &keys[..200];
    let mut random = SmallRng::seed_from_u64(1);
    let inner_start = 4096 + 64 * u32::from_le_bytes(bytes[88..92].try_into().unwrap()) as usize;
    let mut opened = 0;
    for round in 0..rounds {
        let mut broken = bytes.clone();
        for _ in 0..random.random_range(1..4) {
            let at = match round % 4 {
                0 => random.random_range(64..128),
                1 => random.random_range(inner_start..bytes.len() - 300),
                2 => 4096 + random.random_range(0..K::LEAF_HEADER),
                _ => random.random_range(4096..bytes.len()),
            };
            broken[at] =
                if random.random() { broken[at] ^ 1 << random.random_range(0..8) } else { random.random() };
        }
        forge(&mut broken);
        let Ok(index) = Alex::<K>::open_image(memory(&broken), Options::default()) else { continue };
        opened += 1;
        // The forger is to blame for wrong answers, but this code for a panic, except for debug assertions.
        let mut index = index.index;
        for &key in probes {
            let _ = (index.get(key), index.floor(key), index.higher(key));
        }
        index.get_many(probes, |_, _| {});
        let _ = index.count(Bound::Unbounded, Bound::Unbounded);
        let _ = index.range(Bound::Unbounded, Bound::Unbounded).count();
        let _ = index.range(Bound::Unbounded, Bound::Unbounded).rev().count();
        if index.verify_image().is_ok() {
            let (mut out, mut payloads) = (Vec::new(), Vec::new());
            index.scan_into(Bound::Unbounded, Bound::Unbounded, false, usize::MAX, &mut out, &mut payloads);
            for (&key, payload) in probes.iter().zip(0..) {
                index.replace_if(key, payload, 5);
            }
        }
    }
    assert!(opened > rounds / 12, "{opened} opened");
}

#[test]
fn forged_checksums_of_either_kind_lead_to_no_crash_and_no_endless_loop() {
    forged_checksums_lead_to_no_crash_and_no_endless_loop(&draw(Keys::Clustered, 3_000, 4), 6_000);
    forged_checksums_lead_to_no_crash_and_no_endless_loop(&draw_wide(WideKeys::Networks, 3_000, 4), 2_000);
}

#[cfg(unix)]
#[test]
fn a_mapped_image_outlives_its_name_and_never_changes_its_file() {
    use std::io::Write;

    let keys = draw(Keys::Uniform, 50_000, 1);
    let mut built = Alex::from_unsorted(&keys, &vec![1; keys.len()]);
    let bytes = write(&mut built);
    let path = std::env::temp_dir().join(format!("alex-image-{}", std::process::id()));
    std::fs::File::create(&path).unwrap().write_all(&bytes).unwrap();
    let file = std::fs::File::open(&path).unwrap();
    let map = || ImageMemory::map(&file, bytes.len() as u64).unwrap();
    let mut oracle = oracle_of(&built);
    let mut index = Alex::open_image(map(), Options::default()).unwrap().index;
    for (i, &key) in keys.iter().enumerate() {
        assert_eq!(index.insert(key, i as u64), oracle.insert(key, i as u64));
        assert_eq!(index.insert(key ^ 1, 3), oracle.insert(key ^ 1, 3));
    }
    std::fs::remove_file(&path).unwrap();
    assert_equal(&index, &oracle, &keys[..20]);
    let other = Alex::open_image(map(), Options::default()).unwrap().index;
    assert_eq!(oracle_of(&other), oracle_of(&built), "the file must not change");
}

/// The bytes that this thread has had read from devices, and its page faults that waited for one.
#[cfg(target_os = "linux")]
fn device_reads() -> (u64, u64) {
    let io = std::fs::read_to_string("/proc/thread-self/io").unwrap();
    let bytes = io.lines().find_map(|line| line.strip_prefix("read_bytes: ")).unwrap();
    let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
    // The name before the last parenthesis may hold spaces; the number of major faults is the tenth field behind it.
    let fields = stat.rsplit(") ").next().unwrap();
    (bytes.parse().unwrap(), fields.split(' ').nth(9).unwrap().parse().unwrap())
}

#[cfg(target_os = "linux")]
#[test]
fn an_image_larger_than_memory_is_read_by_the_data_node() {
    use std::io::Write;

    let keys = draw(Keys::Uniform, 400_000, 1);
    let mut built = Alex::from_unsorted(&keys, &vec![1; keys.len()]);
    let bytes = write(&mut built);
    // Not in memory, as a folder for temporary files may be.
    let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("cold-{}", std::process::id()));
    let mut file =
        std::fs::File::options().read(true).write(true).create(true).truncate(true).open(&path).unwrap();
    file.write_all(&bytes).unwrap();
    let open = || {
        file.sync_all().unwrap();
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
        let mut memory = ImageMemory::map(&file, bytes.len() as u64).unwrap();
        memory.read_nothing_ahead();
        Alex::open_image(memory, Options::default()).unwrap().index
    };

    let index = open();
    let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
    let flags = maps.lines().skip_while(|line| !line.ends_with(path.to_str().unwrap()));
    let flags = flags.into_iter().find(|line| line.starts_with("VmFlags:")).unwrap();
    assert!(flags.split(' ').any(|flag| flag == "rr"), "{flags}");
    let opened = device_reads();
    assert_eq!(index.get(keys[7]), Some(1));
    let looked_up = device_reads();
    let (read, faults) = (looked_up.0 - opened.0, looked_up.1 - opened.1);
    // A data node has at most 2^14 slots of 16 bytes, and lies in whole blocks of 64 KiB.
    assert!(read <= 8 << 16, "{read} bytes read for one key");
    assert!(faults <= 8, "{faults} faults for {read} bytes: the node was not asked for as a whole");

    let mut index = open();
    let mut oracle = oracle_of(&built);
    assert_equal(&index, &oracle, &keys[..20]);
    for &key in &keys[..1_000] {
        assert_eq!(index.insert(key, 2), oracle.insert(key, 2));
        assert_eq!(index.remove(key ^ 1), oracle.remove(&(key ^ 1)));
    }
    assert_equal(&index, &oracle, &keys[..20]);
    index.verify_image().unwrap();
    std::fs::remove_file(&path).unwrap();
}
