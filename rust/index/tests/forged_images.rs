//! Images with right checksums that no writer wrote: forged by someone who knows the format. Opening one, and
//! every call afterwards, returns an answer or reports damage. There is no panic, no endless loop, no
//! allocation out of proportion to the file, and no count below zero.
//!
//! Cases run from the seed `ALEXPY_FUZZ_SEED` on for `ALEXPY_FUZZ_SECONDS` (default: 2); `ALEXPY_SEED`
//! replays one case.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod common;

use std::ops::Bound;
use std::time::{Duration, Instant};

use alex_index::image::{Identity, ImageError, ImageMemory, ImageWriter};
use alex_index::simd::available;
use alex_index::{Alex, Options};
use common::{Keys, Kind, WideKeys, draw, draw_wide, tree};
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

const NIL: u32 = u32::MAX;

fn write<K: Kind>(index: &Alex<K>) -> Vec<u8> {
    let mut writer = ImageWriter::begin(index, Vec::new(), Identity::default());
    let (keys, payloads): (Vec<K>, Vec<u64>) = index.range(Bound::Unbounded, Bound::Unbounded).unzip();
    writer.push(&keys, &payloads).unwrap();
    writer.finish(&[]).unwrap().1
}

fn open<K: Kind>(bytes: &[u8]) -> Result<Alex<K>, ImageError> {
    let memory = ImageMemory::read(bytes.len() as u64, |memory| {
        memory.copy_from_slice(bytes);
        Ok(())
    });
    Ok(Alex::open_image(memory.unwrap(), Options::default())?.index)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
}

fn put(bytes: &mut [u8], at: usize, part: &[u8]) {
    if let Some(place) = bytes.get_mut(at..at + part.len()) {
        place.copy_from_slice(part);
    }
}

/// Gives a forged image right checksums everywhere, as `docs/format.md` describes them.
fn seal(bytes: &mut [u8]) {
    let table = 4096 + u64_at(bytes, 72) as usize;
    let end = table + ((table - 4096).div_ceil(65_536) * 4).next_multiple_of(8);
    if end > bytes.len() {
        return;
    }
    for (block, from) in (4096..table).step_by(65_536).enumerate() {
        let crc = crc32c::crc32c(&bytes[from..(from + 65_536).min(table)]);
        put(bytes, table + block * 4, &crc.to_le_bytes());
    }
    let crc = crc32c::crc32c(&bytes[table..end]);
    put(bytes, 108, &crc.to_le_bytes());
    let crc = crc32c::crc32c(&bytes[..4092]);
    put(bytes, 4092, &crc.to_le_bytes());
}

/// A data node of an image: its offset, and some fields of its header.
#[derive(Clone, Copy)]
struct Leaf {
    at: usize,
    capacity: usize,
    count: usize,
    begin: usize,
    end: usize,
}

impl Leaf {
    fn bits<K: Kind>(self) -> usize {
        self.at + K::LEAF_HEADER
    }

    fn keys<K: Kind>(self) -> usize {
        self.bits::<K>() + (self.capacity / 8).next_multiple_of(64)
    }

    fn is_set<K: Kind>(self, bytes: &[u8], slot: usize) -> bool {
        bytes[self.bits::<K>() + slot / 8] >> (slot % 8) & 1 == 1
    }

    fn key<K: Kind>(self, bytes: &[u8], slot: usize) -> K {
        K::read(&bytes[self.keys::<K>() + slot * size_of::<K>()..])
    }

    fn put_key<K: Kind>(self, bytes: &mut [u8], slot: usize, key: K) {
        put(bytes, self.keys::<K>() + slot * size_of::<K>(), &key.bytes());
    }
}

/// The data nodes, in the order of their links.
fn leaves<K: Kind>(bytes: &[u8]) -> Vec<Leaf> {
    let (mut leaves, mut id) = (Vec::new(), u32_at(bytes, 96));
    while id != NIL {
        let at = 4096 + id as usize * 64;
        let word = |at: usize| u32_at(bytes, at) as usize;
        let [capacity, count, begin, end] = [0, 4, 8, 12].map(|field| word(at + K::MODEL + field));
        leaves.push(Leaf { at, capacity, count, begin, end });
        id = u32_at(bytes, at + K::MODEL + 20);
    }
    leaves
}

/// Gives the gaps of a leaf keys of their own, in order, and adds these to `forged`.
fn forge_gaps<K: Kind>(bytes: &mut [u8], leaf: Leaf, forged: &mut Vec<K>) {
    let mut slot = leaf.begin;
    while slot < leaf.end {
        let gap = slot;
        while slot < leaf.end && !leaf.is_set::<K>(bytes, slot) {
            slot += 1;
        }
        if gap < slot && gap > 0 && slot < leaf.end {
            let (low, high) = (leaf.key(bytes, gap - 1), leaf.key(bytes, slot));
            for at in gap..slot {
                let key = K::between(low, high, at - gap + 1, slot - gap + 1);
                if low < key && key < high {
                    leaf.put_key(bytes, at, key);
                    forged.push(key);
                }
            }
        }
        slot += 1;
    }
}

fn any_key<K: Kind>(random: &mut SmallRng) -> K {
    let small = K::narrowed(random.random(), 40);
    *[K::of(0), K::of(1), K::of(-1), K::MIN, K::MAX, K::any(random), small].choose(random).unwrap()
}

fn any_number(random: &mut SmallRng) -> u64 {
    *[
        0,
        1,
        2,
        63,
        64,
        1 << 31,
        1 << 32,
        u64::MAX >> 1,
        u64::MAX,
        random.random(),
        random.random::<u64>() >> 44,
    ]
    .choose(random)
    .unwrap()
}

/// Forges one detail of an image.
#[expect(clippy::too_many_lines, reason = "an arm for each kind of detail")]
fn forge<K: Kind>(bytes: &mut [u8], forged: &mut Vec<K>, random: &mut SmallRng) {
    let leaves = leaves::<K>(bytes);
    let leaf = *leaves.choose(random).unwrap();
    let (data_end, inner) = (4096 + u64_at(bytes, 72) as usize, 4096 + 64 * u32_at(bytes, 88) as usize);
    match random.random_range(0..10) {
        0 => {
            forge_gaps(bytes, leaf, forged);
            if random.random() {
                put(bytes, leaf.at + K::MODEL + 36, &[1]);
            }
        }
        1 => {
            // Limits and counters.
            let field = K::MODEL + [24, 26, 28, 30, 32, 34, 36, 38].choose(random).unwrap();
            let values = [0, 1, 17, leaf.count, leaf.count + 1, leaf.capacity - 1, leaf.capacity, 65_535];
            let value = (*values.choose(random).unwrap()).min(65_535) as u16;
            put(bytes, leaf.at + field, &value.to_le_bytes());
        }
        2 => {
            put(bytes, leaf.at, &any_key::<K>(random).bytes());
            put(bytes, leaf.at + size_of::<K>(), &any_number(random).to_le_bytes());
            put(bytes, leaf.at + 2 * size_of::<K>() - 8, &any_number(random).to_le_bytes());
            put(bytes, leaf.at + 2 * size_of::<K>(), &any_number(random).to_le_bytes());
        }
        3 if data_end > inner => {
            let at = inner + 64 * random.random_range(0..(data_end - inner) / 64);
            match random.random_range(0..4) {
                0 => put(bytes, at, &any_key::<K>(random).bytes()),
                1 => put(bytes, at + size_of::<K>() + 4, &random.random_range(0..K::BITS).to_le_bytes()),
                2 => put(bytes, at + size_of::<K>(), &(any_number(random) as u32).to_le_bytes()),
                _ => put(bytes, at + size_of::<K>() + 8, &(any_number(random) as u32).to_le_bytes()),
            }
        }
        4 if data_end > inner => {
            // One child in place of another.
            let place = |random: &mut SmallRng| inner + 4 * random.random_range(0..(data_end - inner) / 4);
            let (from, to) = (place(random), place(random));
            let word = bytes[from..from + 4].to_vec();
            put(bytes, to, &word);
        }
        5 => {
            // Counts and ids in the header.
            let field = [64, 80].choose(random).unwrap();
            let near = u64_at(bytes, *field).wrapping_add(random.random_range(0..200)).wrapping_sub(100);
            let number = if random.random() { near } else { any_number(random) };
            put(bytes, *field, &number.to_le_bytes());
        }
        6 => {
            let field = [88, 92, 96, 100, 104].choose(random).unwrap();
            put(bytes, *field, &(any_number(random) as u32).to_le_bytes());
        }
        7 => {
            // The keys of a leaf moved, in order, mostly to where other leaves own them.
            let by = any_key::<K>(random);
            for slot in leaf.begin..leaf.end {
                let key = leaf.key::<K>(bytes, slot).plus(by);
                leaf.put_key(bytes, slot, key);
            }
        }
        8 => {
            // An entry made a gap, or a gap made an entry, with counts that fit.
            let slot = random.random_range(0..leaf.capacity);
            let change = if leaf.is_set::<K>(bytes, slot) { u32::MAX } else { 1 };
            bytes[leaf.bits::<K>() + slot / 8] ^= 1 << (slot % 8);
            let count = (leaf.count as u32).wrapping_add(change);
            put(bytes, leaf.at + K::MODEL + 4, &count.to_le_bytes());
            let keys = u64_at(bytes, 64).wrapping_add(i64::from(change.cast_signed()).cast_unsigned());
            put(bytes, 64, &keys.to_le_bytes());
        }
        _ => {
            let slot = random.random_range(0..leaf.capacity);
            leaf.put_key::<K>(bytes, slot, any_key(random));
        }
    }
}

/// Makes every kind of call, among them large changes. Returns whether no damage was found.
fn ask_everything<K: Kind>(mut index: Alex<K>, keys: &[K], forged: &[K], random: &mut SmallRng) -> bool {
    let mut asked: Vec<K> = keys.choose_multiple(random, 60).copied().collect();
    asked.extend(forged.choose_multiple(random, 60));
    asked.extend((0..20).map(|_| any_key::<K>(random)));
    for _ in 0..25 {
        let key = *asked.choose(random).unwrap();
        let other = *asked.choose(random).unwrap();
        match random.random_range(0..12) {
            0 => {
                for &key in &asked {
                    index.remove(key);
                }
            }
            1 => {
                for key in asked.iter().flat_map(|&key| (-20..20).map(move |by| key.moved(by))) {
                    index.insert(key, 1);
                }
            }
            2 => index.insert_many(&asked, &vec![3; asked.len()], |_, _| {}),
            3 => index.remove_many(&asked, |_, _| {}),
            4 => {
                let range = (Bound::Included(key.min(other)), Bound::Included(key.max(other)));
                let doomed: Vec<K> = index.range(range.0, range.1).map(|(key, _)| key).collect();
                index.remove_many(&doomed, |_, _| {});
            }
            5 => index.get_many(&asked, |_, _| {}),
            6 => {
                let _ = (index.floor(key), index.ceiling(key), index.lower(key), index.higher(key));
                let _ = (index.first(), index.last(), index.count(Bound::Included(key), Bound::Unbounded));
            }
            7 => {
                let forth = index.range(Bound::Unbounded, Bound::Unbounded).count();
                let back = index.range(Bound::Unbounded, Bound::Unbounded).rev().count();
                assert!(forth == back || index.damage().is_some());
            }
            8 => drop((index.boundaries(random.random_range(1..50)), index.stats(), index.nbytes())),
            9 => {
                let run: Vec<K> = (0..3_000).map(|i| key.moved(i * 3)).collect();
                index.insert_many(&run, &vec![7; run.len()], |_, _| {});
            }
            10 => {
                let run: Vec<K> = (0..3_000).map(|i| key.moved(i)).collect();
                index.remove_many(&run, |_, _| {});
            }
            _ => {
                index.replace_if(key, 3, 4);
                while index.len() > 5_000 && index.damage().is_none() && random.random_range(0..3_000) > 0 {
                    let Some((key, _)) = index.last() else { break };
                    index.remove(key);
                }
            }
        }
    }
    if index.damage().is_some() || index.verify_image().is_err() {
        return false;
    }
    // Once verified, it is a tree like any other.
    if let Err(broken) = index.check() {
        panic!("verified, and yet {broken}");
    }
    true
}

/// An image, and the keys that it was made of.
type Base<K> = (Vec<u8>, Vec<K>);

fn base<K: Kind>(keys: Vec<K>, slots: Option<usize>) -> Base<K> {
    let mut built = tree(available()[0], slots);
    for (i, &key) in keys.iter().enumerate() {
        built.insert(key, i as u64);
    }
    for &key in keys.iter().step_by(7) {
        built.remove(key);
    }
    (write(&built), keys)
}

fn no_forged_image_causes_a_panic_an_endless_loop_or_a_negative_count<K: Kind>(bases: &[Base<K>]) {
    let number = |name: &str, default: u64| {
        let text = std::env::var(name).unwrap_or_default();
        if text.is_empty() { default } else { text.parse().unwrap() }
    };
    let end = Instant::now() + Duration::from_secs(number("ALEXPY_FUZZ_SECONDS", 2));
    let one = std::env::var("ALEXPY_SEED").ok().and_then(|text| text.parse::<u64>().ok());
    let mut seed = one.unwrap_or_else(|| number("ALEXPY_FUZZ_SEED", 0));
    for (bytes, keys) in bases {
        let mut random = SmallRng::seed_from_u64(1);
        assert!(
            ask_everything(open(bytes).unwrap(), keys, &[], &mut random),
            "an undamaged image has no damage"
        );
    }
    let (mut count, mut refused, mut damaged, mut good) = (0, 0, 0, 0);
    while count == 0 || (one.is_none() && Instant::now() < end) {
        let begun = Instant::now();
        let outcome = std::panic::catch_unwind(|| {
            let mut random = SmallRng::seed_from_u64(seed);
            let (whole, keys) = bases.choose(&mut random).unwrap();
            let (mut bytes, mut forged) = (whole.clone(), Vec::new());
            for _ in 0..random.random_range(1..4) {
                // Links are followed to find the next detail to forge.
                forge(&mut bytes, &mut forged, &mut random);
                if u64_at(&bytes, 72) != u64_at(whole, 72) || u32_at(&bytes, 96) != u32_at(whole, 96) {
                    break;
                }
            }
            seal(&mut bytes);
            open::<K>(&bytes).ok().map(|index| ask_everything(index, keys, &forged, &mut random))
        });
        match outcome {
            Ok(None) => refused += 1,
            Ok(Some(false)) => damaged += 1,
            Ok(Some(true)) => good += 1,
            Err(panic) => {
                eprintln!("seed {seed}; replay it with ALEXPY_SEED={seed}");
                std::panic::resume_unwind(panic)
            }
        }
        assert!(
            begun.elapsed() < Duration::from_secs(20),
            "a case took too long; replay it with ALEXPY_SEED={seed}"
        );
        seed += 1;
        count += 1;
    }
    assert!(one.is_some() || (refused > 0 && damaged > 0 && good > 0), "{refused} {damaged} {good}");
}

#[test]
fn no_forged_image_of_keys_of_64_bits_causes_a_panic_an_endless_loop_or_a_negative_count() {
    no_forged_image_causes_a_panic_an_endless_loop_or_a_negative_count(&[
        base(draw(Keys::Uniform, 20_000, 3), None),
        base(draw(Keys::Clustered, 12_000, 3), Some(256)),
        base(draw(Keys::Mixed, 9_000, 3), Some(1024)),
        base(draw(Keys::Sequential, 6_000, 3), Some(128)),
        base(draw(Keys::Uniform, 40, 3), None),
    ]);
}

#[test]
fn no_forged_image_of_keys_of_128_bits_causes_a_panic_an_endless_loop_or_a_negative_count() {
    no_forged_image_causes_a_panic_an_endless_loop_or_a_negative_count(&[
        base(draw_wide(WideKeys::V4AndV7, 12_000, 3), None),
        base(draw_wide(WideKeys::Networks, 12_000, 3), Some(256)),
        base(draw_wide(WideKeys::Outliers, 9_000, 3), Some(1024)),
        base(draw_wide(WideKeys::AcrossWords, 6_000, 3), Some(128)),
        base(draw_wide(WideKeys::V7, 40, 3), None),
    ]);
}
