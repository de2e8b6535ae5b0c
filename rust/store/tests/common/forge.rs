//! Forges bytes that no writer wrote but whose checksums are right, as someone could who knows the format in
//! `docs/format.md`. The format is implemented here a second time, so that a mistake in either place shows.

use alex_store::disk::Disk;
use alex_store::disk::sim::{Rng, SimDisk};

/// CRC-32C, continued from `crc`, bit by bit.
pub fn crc32c(crc: u32, bytes: &[u8]) -> u32 {
    let mut crc = !crc;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0x82F6_3B78 } else { crc >> 1 };
        }
    }
    !crc
}

/// Overwrites bytes, if there are enough.
pub fn put(bytes: &mut [u8], at: usize, part: &[u8]) {
    if let Some(place) = at.checked_add(part.len()).and_then(|end| bytes.get_mut(at..end)) {
        place.copy_from_slice(part);
    }
}

pub fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

pub fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

pub fn seal_manifest(bytes: &mut [u8]) {
    if let Some(covered) = bytes.len().checked_sub(4) {
        let crc = crc32c(0, &bytes[..covered]);
        put(bytes, covered, &crc.to_le_bytes());
    }
}

pub fn seal_segment_header(bytes: &mut [u8]) {
    if bytes.len() >= 192 {
        let crc = crc32c(0, &bytes[..188]);
        put(bytes, 188, &crc.to_le_bytes());
    }
}

/// Added to the number of a kind in the record of a key of 128 bits.
const WIDE: u8 = 16;
/// Added to the number of a kind in the record of a put whose value is compressed.
const COMPRESSED: u8 = 32;

/// Where the record at an offset ends, if its length is plausible.
fn end_of(bytes: &[u8], offset: usize) -> Option<usize> {
    let header = if bytes.get(offset + 8)? & WIDE == 0 { 24 } else { 32 };
    offset.checked_add(header + (u32_at(bytes, offset + 4)? as usize).next_multiple_of(8))
}

/// Any kind of record, of one width of keys or the other, compressed or not.
fn any_kind(rng: &mut Rng) -> u8 {
    let compressed = if rng.one_in(6) { COMPRESSED } else { 0 };
    (1 + rng.below(11) as u8) | if rng.one_in(3) { WIDE } else { 0 } | compressed
}

/// Seals the record at an offset, if its length is plausible. Returns where the next one begins.
pub fn seal_record(bytes: &mut [u8], offset: usize) -> Option<usize> {
    let salt = bytes.get(72..80)?.to_vec();
    let end = end_of(bytes, offset)?;
    let seed = crc32c(0, &salt) ^ ((offset >> 3) as u32).wrapping_mul(0x9E37_79B1);
    let crc = crc32c(seed, bytes.get(offset + 4..end)?);
    put(bytes, offset, &crc.to_le_bytes());
    Some(end)
}

/// Seals header, table, blocks and attachment, as far as the lengths in the header lie within the file.
pub fn seal_image(bytes: &mut [u8]) {
    let part = |from: u64, len: u64| Some((from as usize, usize::try_from(from.checked_add(len)?).ok()?));
    let lengths = u64_at(bytes, 72).zip(u64_at(bytes, 120));
    if let Some((nodes, attachment)) = lengths
        && nodes <= bytes.len() as u64
        && attachment <= bytes.len() as u64
    {
        let table = 4096 + nodes;
        let table_bytes = (nodes.div_ceil(65_536) * 4).next_multiple_of(8);
        for (block, from) in (4096..table).step_by(65_536).enumerate() {
            let Some(nodes) = bytes.get(from as usize..(from + 65_536).min(table) as usize) else { break };
            let crc = crc32c(0, nodes);
            put(bytes, table as usize + 4 * block, &crc.to_le_bytes());
        }
        let attached = part(table + table_bytes, attachment.next_multiple_of(8));
        for (at, place) in [(108, part(table, table_bytes)), (112, attached)] {
            let covered = place.and_then(|(from, to)| bytes.get(from..to)).map(|bytes| crc32c(0, bytes));
            if let Some(crc) = covered {
                put(bytes, at, &crc.to_le_bytes());
            }
        }
    }
    if bytes.len() >= 4096 {
        let crc = crc32c(0, &bytes[..4092]);
        put(bytes, 4092, &crc.to_le_bytes());
    }
}

/// The offsets of a segment's records.
pub fn records(bytes: &[u8]) -> Vec<usize> {
    let (mut places, mut offset) = (Vec::new(), 192);
    while bytes.get(offset + 8).is_some_and(|&kind| (1..=11).contains(&(kind & !(WIDE | COMPRESSED)))) {
        places.push(offset);
        let Some(end) = end_of(bytes, offset) else { break };
        offset = end;
    }
    places
}

/// The bytes of a file.
pub fn content_of(disk: &SimDisk, name: &str) -> Vec<u8> {
    let mut content = Vec::new();
    disk.corrupt(name, |bytes| content.clone_from(bytes));
    content
}

/// Replaces a file, or creates it.
pub fn place(disk: &SimDisk, name: &str, content: Vec<u8>) {
    let _ = disk.create(name, 0);
    disk.corrupt(name, |bytes| *bytes = content);
}

fn any_number(rng: &mut Rng) -> u64 {
    let edges = [0, 1, 2, 7, 8, 24, 192, 4096, 1 << 31, 1 << 32, 1 << 35, 1 << 55, u64::MAX >> 8, u64::MAX];
    match rng.below(edges.len() as u64 + 1) as usize {
        at if at < edges.len() => edges[at],
        _ => rng.next_u64(),
    }
}

/// Changes the number at a position, to any number or to one nearby.
fn change_number(bytes: &mut [u8], at: usize, width: usize, rng: &mut Rng) {
    let old = match width {
        8 => u64_at(bytes, at),
        4 => u32_at(bytes, at).map(u64::from),
        _ => None,
    };
    let near = old.unwrap_or_default().wrapping_add(rng.below(5)).wrapping_sub(2);
    let new = match rng.below(3) {
        0 => near,
        // By the size of a header, or of a record.
        1 => old.unwrap_or_default().wrapping_add([8, 24, 32, 192][rng.below(4) as usize]),
        _ => any_number(rng),
    };
    put(bytes, at, &new.to_le_bytes()[..width]);
}

/// Overwrites a number somewhere in a range of bytes.
pub fn change_anywhere(bytes: &mut [u8], range: std::ops::Range<usize>, rng: &mut Rng) {
    let width = [1, 2, 4, 8][rng.below(4) as usize];
    let span = range.len().saturating_sub(width) as u64 + 1;
    let at = range.start + rng.below(span) as usize;
    put(bytes, at, &any_number(rng).to_le_bytes()[..width]);
}

/// Changes one of the fields, each given by offset and width.
fn change_field(bytes: &mut [u8], fields: &[(usize, usize)], rng: &mut Rng) {
    let (at, width) = fields[rng.below(fields.len() as u64) as usize];
    change_number(bytes, at, width, rng);
}

fn forge_manifest(bytes: &mut Vec<u8>, rng: &mut Rng) {
    let segments = u32_at(bytes, 100).unwrap_or_default() as usize;
    let images = u32_at(bytes, 104).unwrap_or_default() as usize;
    let entry = |at: usize| 112 + 24 * at;
    let listed = entry(segments).min(bytes.len()) / 24;
    match rng.below(8) {
        0 => change_field(bytes, &[(8, 4), (12, 4), (16, 8), (32, 8), (40, 4), (44, 1)], rng),
        1 | 2 => {
            let fields = [(64, 8), (72, 8), (80, 8), (88, 8), (96, 4), (100, 4), (104, 4), (108, 4)];
            change_field(bytes, &fields, rng);
        }
        3 if images > 0 && images < bytes.len() => {
            let at = entry(segments) + 40 * rng.below(images as u64) as usize;
            let fields = [(at, 4), (at + 4, 4), (at + 8, 8), (at + 16, 8), (at + 24, 8), (at + 32, 8)];
            change_field(bytes, &fields, rng);
        }
        4 if segments > 1 && entry(segments) <= bytes.len() => {
            // Two entries swap places, or one appears twice.
            let pick = |rng: &mut Rng| entry(rng.below(segments as u64) as usize);
            let (a, b) = (pick(rng), pick(rng));
            let (first, second) = (bytes[a..a + 24].to_vec(), bytes[b..b + 24].to_vec());
            bytes[b..b + 24].copy_from_slice(&first);
            if rng.one_in(2) {
                bytes[a..a + 24].copy_from_slice(&second);
            }
        }
        5 if segments > 0 && entry(segments) <= bytes.len() => {
            // One entry is removed.
            let at = entry(rng.below(segments as u64) as usize);
            bytes.drain(at..at + 24);
            put(bytes, 100, &(segments as u32 - 1).to_le_bytes());
        }
        _ if listed > 0 && segments > 0 => {
            let at = entry(rng.below(segments as u64) as usize);
            change_field(bytes, &[(at, 4), (at + 4, 4), (at + 8, 8), (at + 16, 8)], rng);
        }
        _ => {}
    }
    seal_manifest(bytes);
}

/// A record of any kind.
fn any_record(sequence: u64, rng: &mut Rng) -> Vec<u8> {
    let value: Vec<u8> = match rng.below(4) {
        0 => Vec::new(),
        1 => any_number(rng).to_le_bytes().to_vec(),
        2 => [any_number(rng).to_le_bytes(), any_number(rng).to_le_bytes()].concat(),
        _ => vec![7; rng.below(300) as usize],
    };
    let kind = any_kind(rng);
    let mut record = vec![0; if kind & WIDE == 0 { 24 } else { 32 }];
    put(&mut record, 4, &(value.len() as u32).to_le_bytes());
    put(&mut record, 8, &(sequence << 8 | u64::from(kind)).to_le_bytes());
    put(&mut record, 16, &any_number(rng).to_le_bytes());
    record.extend(value);
    record.resize(record.len().next_multiple_of(8), 0);
    record
}

/// Changes something in the value of the record at `place`: the place of a dictionary, a frame, the tables of a dictionary.
fn forge_value(bytes: &mut [u8], place: usize, rng: &mut Rng) {
    let end = end_of(bytes, place).unwrap_or(place).clamp(place + 40, bytes.len().max(place + 40));
    change_anywhere(bytes, place + 24..end, rng);
}

fn forge_segment(bytes: &mut Vec<u8>, rng: &mut Rng) {
    let places = records(bytes);
    match rng.below(6) {
        0 | 1 => {
            let fields = [
                (8, 4),
                (12, 4),
                (16, 8),
                (32, 8),
                (44, 1),
                (64, 4),
                (80, 8),
                (88, 8),
                (96, 8),
                (104, 8),
                (112, 8),
                (120, 8),
            ];
            change_field(bytes, &fields, rng);
            seal_segment_header(bytes);
        }
        2 => {
            // Another salt, for all records.
            change_number(bytes, 72, 8, rng);
            seal_segment_header(bytes);
            for place in places {
                seal_record(bytes, place);
            }
        }
        3 => {
            // Records behind the last one.
            let mut at = places.last().map_or(192, |&last| end_of(bytes, last).unwrap_or(last));
            if at > bytes.len() {
                return;
            }
            let last = places.last().and_then(|&last| u64_at(bytes, last + 8)).map_or(0, |word| word >> 8);
            let mut sequence = if rng.one_in(6) { any_number(rng) >> 8 } else { last };
            for _ in 0..=rng.below(6) {
                sequence = sequence.wrapping_add(1) & (u64::MAX >> 8);
                let record = any_record(sequence, rng);
                bytes.resize(bytes.len().max(at + record.len()), 0);
                put(bytes, at, &record);
                let Some(end) = seal_record(bytes, at) else { return };
                at = end;
            }
        }
        _ => {
            for _ in 0..=rng.below(3) {
                let Some(&place) = places.get(rng.below(places.len().max(1) as u64) as usize) else { return };
                match rng.below(5) {
                    0 => put(bytes, place + 8, &[any_kind(rng)]),
                    1 => change_field(bytes, &[(place + 4, 4), (place + 8, 8), (place + 16, 8)], rng),
                    // The contents of the value: counts, lengths, watermarks, last keys.
                    2 => change_field(bytes, &[(place + 24, 8), (place + 32, 8)], rng),
                    3 => forge_value(bytes, place, rng),
                    _ => change_anywhere(bytes, place + 4..place + 40, rng),
                }
                seal_record(bytes, place);
            }
        }
    }
}

/// Fields in the header of a data node, and the first one behind it, with their widths.
const DATA_NODE_FIELDS: [(usize, usize); 14] = [
    (0, 8),
    (8, 8),
    (16, 8),
    (24, 4),
    (28, 4),
    (32, 4),
    (36, 4),
    (40, 4),
    (44, 4),
    (48, 4),
    (52, 4),
    (56, 4),
    (60, 4),
    (64, 8),
];

fn forge_image(bytes: &mut [u8], rng: &mut Rng) {
    let nodes = u64_at(bytes, 72).unwrap_or_default().min(bytes.len() as u64) as usize;
    let attached = 4096 + nodes + (nodes.div_ceil(65_536) * 4).next_multiple_of(8);
    let inner = 4096 + 64 * (u32_at(bytes, 88).unwrap_or_default() as usize).min(nodes / 64);
    match rng.below(6) {
        0 => {
            let fields = [
                (8, 4),
                (12, 4),
                (16, 8),
                (32, 8),
                (40, 4),
                (44, 1),
                (64, 8),
                (72, 8),
                (80, 8),
                (88, 4),
                (92, 4),
                (96, 4),
                (100, 4),
                (104, 4),
                (120, 8),
            ];
            change_field(bytes, &fields, rng);
        }
        1 | 2 => {
            // Where replay begins, up to where it only applies, and the counts of the segments.
            let mut fields = vec![
                (attached, 4),
                (attached + 8, 8),
                (attached + 16, 8),
                (attached + 24, 4),
                (attached + 32, 8),
                (attached + 40, 8),
                (attached + 48, 8),
            ];
            for at in (attached + 56..bytes.len()).step_by(24) {
                fields.extend([(at, 4), (at + 8, 8), (at + 16, 8)]);
            }
            change_field(bytes, &fields, rng);
        }
        3 => {
            // The header of a data node, or any part of it.
            let at = 4096 + 64 * u32_at(bytes, 96).unwrap_or_default() as usize;
            let fields = DATA_NODE_FIELDS.map(|(field, width)| (at + field, width));
            change_field(bytes, &fields, rng);
        }
        4 if inner < 4096 + nodes => change_anywhere(bytes, inner..4096 + nodes, rng),
        // A key, or the location of its record.
        _ => change_anywhere(bytes, 4096..4096 + nodes.max(8), rng),
    }
    seal_image(bytes);
}

/// Forges one thing in a file and seals it.
pub fn forge(name: &str, bytes: &mut Vec<u8>, rng: &mut Rng) {
    if name.starts_with("MANIFEST") {
        forge_manifest(bytes, rng);
    } else if name.starts_with("img-") {
        forge_image(bytes, rng);
    } else {
        forge_segment(bytes, rng);
    }
}

/// Gives a segment another id, in its header and in both manifests.
pub fn rename_segment(disk: &SimDisk, from: u32, to: u32) {
    let name = |id: u32| format!("seg-{id:08x}.log");
    let mut bytes = content_of(disk, &name(from));
    put(&mut bytes, 32, &u64::from(to).to_le_bytes());
    seal_segment_header(&mut bytes);
    let _ = disk.remove(&name(from));
    place(disk, &name(to), bytes);
    for manifest in ["MANIFEST-A", "MANIFEST-B"] {
        disk.corrupt(manifest, |bytes| {
            let segments = u32_at(bytes, 100).unwrap_or_default() as usize;
            for at in (0..segments).map(|at| 112 + 24 * at) {
                if u32_at(bytes, at) == Some(from) {
                    put(bytes, at, &to.to_le_bytes());
                }
            }
            if u64_at(bytes, 64).is_some_and(|next| next <= u64::from(to)) {
                put(bytes, 64, &u64::from(to.saturating_add(1)).to_le_bytes());
            }
            seal_manifest(bytes);
        });
    }
}
