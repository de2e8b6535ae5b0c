//! Whole stores that no writer wrote, built byte by byte as `docs/format.md` describes them: with any ids,
//! any number of segments and any records, which would take a writer years.

use std::path::Path;

use alex_store::disk::sim::SimDisk;

use super::forge::{place, put, seal_manifest, seal_record, seal_segment_header};

pub const STORE_ID: [u8; 16] = *b"a forged store..";

/// A segment begun because the one before it was full.
pub const LOG: u32 = 0;
/// A segment that recovery wrote.
pub const RECOVERY: u32 = 1;

pub const PUT: u8 = 1;
pub const RANGE_TOMBSTONE: u8 = 3;

/// A record to be written: kind, key, value.
pub type Record = (u8, i128, Vec<u8>);

/// The segments of a log, one following the other, in files and in the manifest.
#[derive(Default)]
pub struct Forged {
    /// For each segment: its id, its bytes, the end of its records, the last sequence number.
    segments: Vec<(u32, Vec<u8>, u64, u64)>,
}

fn file_header(magic: [u8; 8], file_id: u64, header_bytes: usize) -> Vec<u8> {
    let mut bytes = vec![0; 64];
    put(&mut bytes, 0, &magic);
    put(&mut bytes, 8, &[1, 0, 1, 0]);
    put(&mut bytes, 16, &STORE_ID);
    put(&mut bytes, 32, &file_id.to_le_bytes());
    put(&mut bytes, 40, &(header_bytes as u32).to_le_bytes());
    bytes
}

impl Forged {
    /// Adds a segment that follows the last one.
    pub fn add(&mut self, id: u32, origin: u32, records: impl IntoIterator<Item = Record>) {
        let (before, end, last_seq) =
            self.segments.last().map_or((0, 0, 0), |&(id, _, end, last_seq)| (id, end, last_seq));
        let mut bytes = file_header(*b"ALEXSEG\0", id.into(), 192);
        bytes.resize(192, 0);
        put(&mut bytes, 64, &origin.to_le_bytes());
        let header = [u64::from(id) << 7 | 5, last_seq + 1, 1 << 30, 0, before.into(), end, last_seq];
        for (at, number) in (72..).step_by(8).zip(header) {
            put(&mut bytes, at, &number.to_le_bytes());
        }
        seal_segment_header(&mut bytes);
        let mut seq = last_seq;
        for (kind, key, value) in records {
            seq += 1;
            let at = bytes.len();
            bytes.extend([0; 4]);
            bytes.extend((value.len() as u32).to_le_bytes());
            bytes.extend((seq << 8 | u64::from(kind)).to_le_bytes());
            bytes.extend((key as i64).to_le_bytes());
            bytes.extend(&value);
            bytes.resize(bytes.len().next_multiple_of(8), 0);
            seal_record(&mut bytes, at).expect("a whole record");
        }
        let end = bytes.len() as u64;
        self.segments.push((id, bytes, end, seq));
    }

    /// The manifest of a closed store.
    fn manifest(&self) -> Vec<u8> {
        let (last, last_seq) = self.segments.last().map_or((0, 0), |&(id, _, _, seq)| (id, seq));
        let len = 112 + 24 * self.segments.len() + 4;
        let mut bytes = file_header(*b"ALEXMAN\0", 1, len);
        for number in [u64::from(last.saturating_add(1)), last_seq + 1, last_seq, last_seq] {
            bytes.extend(number.to_le_bytes());
        }
        for number in [1, self.segments.len() as u32, 0, 1] {
            bytes.extend(number.to_le_bytes());
        }
        for &(id, _, end, last_seq) in &self.segments {
            bytes.extend(id.to_le_bytes());
            bytes.extend(1_u32.to_le_bytes());
            bytes.extend(end.to_le_bytes());
            bytes.extend(last_seq.to_le_bytes());
        }
        bytes.extend([0; 4]);
        seal_manifest(&mut bytes);
        bytes
    }

    /// Total size of all segments, in bytes.
    pub fn bytes(&self) -> u64 {
        self.segments.iter().map(|(_, bytes, ..)| bytes.len() as u64).sum()
    }

    fn files(self, manifests: bool) -> impl Iterator<Item = (String, Vec<u8>)> {
        let manifest = self.manifest();
        let copies = ["MANIFEST-A", "MANIFEST-B"].map(|name| (name.to_owned(), manifest.clone()));
        let segments = self.segments.into_iter().map(|(id, bytes, ..)| (format!("seg-{id:08x}.log"), bytes));
        copies.into_iter().filter(move |_| manifests).chain(segments)
    }

    /// The store on a simulated disk, with its manifests or without.
    pub fn on_disk(self, manifests: bool) -> SimDisk {
        let disk = SimDisk::new(1);
        for (name, bytes) in self.files(manifests) {
            place(&disk, &name, bytes);
        }
        disk
    }

    /// The store in an existing directory.
    pub fn in_directory(self, path: &Path) {
        for (name, bytes) in self.files(true) {
            std::fs::write(path.join(name), bytes).expect("writes");
        }
    }
}
