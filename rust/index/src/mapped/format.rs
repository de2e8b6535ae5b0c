//! The bytes of an image around its nodes: header, checksum table and attachment. `docs/format.md` has the
//! fields.
//!
//! An image is a header page, the nodes in blocks of 64 KiB, a table with a CRC-32C of each block, and an
//! attachment, which belongs to the caller. Table and attachment are padded with zeros to a multiple of 8
//! bytes. The header has the checksums of both and ends in its own. All integers are little-endian. Knows
//! nothing of trees.

use std::io;

use crate::key::Key;
use crate::node::{BLOCK_SHIFT, NodeId, UNIT};
use crate::options::MAX_LEAF_SLOTS;

/// Bytes of the header: one page, so that the nodes behind it can be mapped.
pub(crate) const HEADER_BYTES: usize = 4096;
/// Bytes that one checksum covers.
pub(crate) const BLOCK_BYTES: usize = UNIT << BLOCK_SHIFT;

const MAGIC: [u8; 8] = *b"ALEXIMG\0";
const VERSION: u16 = 1;
/// No header of any version is longer.
const MAX_HEADER_BYTES: usize = 1 << 20;

/// The longest attachment, in bytes: it is copied into memory.
pub(crate) const MAX_ATTACHMENT_BYTES: u64 = 1 << 30;

/// The store and the number that an image belongs to. It is in the header, for the caller to compare.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// The random number of the store; zeros for an image that belongs to none.
    pub store: [u8; 16],
    /// The number of this image.
    pub file: u64,
}

/// Damage in an image: bytes that differ from what was written.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Damage {
    /// Offset in the file.
    pub offset: u64,
    /// What an undamaged image has there.
    pub expected: String,
    /// What this image has there.
    pub found: String,
}

impl std::fmt::Display for Damage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "damaged at offset {}: expected {}, found {}", self.offset, self.expected, self.found)
    }
}

/// Why an image cannot be opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ImageError {
    /// Some of its bytes differ from what was written.
    #[error("the image is {0}")]
    Damaged(Damage),
    /// The file does not begin like an image.
    #[error("the file is not an image of an ALEX index")]
    Foreign,
    /// The file has fewer bytes than the header of an image.
    #[error(
        "the file is too short to be an image of an ALEX index: {0} bytes, at least {HEADER_BYTES} expected"
    )]
    TooShort(u64),
    /// It is an image that this version cannot read; the text says why.
    #[error("the file {0}")]
    Format(String),
}

impl From<Damage> for ImageError {
    fn from(damage: Damage) -> Self {
        Self::Damaged(damage)
    }
}

pub(crate) fn damage(offset: usize, expected: impl Into<String>, found: impl Into<String>) -> Damage {
    Damage { offset: offset as u64, expected: expected.into(), found: found.into() }
}

/// The kind of an image's keys, which the features of its header tell. All other features are unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Bits64,
    Bits128,
}

impl Kind {
    pub(crate) const fn of<K: Key>() -> Self {
        if K::BITS == 128 { Self::Bits128 } else { Self::Bits64 }
    }

    fn of_features(features: u32) -> Option<Self> {
        [Self::Bits64, Self::Bits128].into_iter().find(|kind| kind.features() == features)
    }

    const fn features(self) -> u32 {
        match self {
            Self::Bits64 => 0,
            Self::Bits128 => 1,
        }
    }

    const fn key_bits(self) -> u32 {
        match self {
            Self::Bits64 => 64,
            Self::Bits128 => 128,
        }
    }
}

/// The fields of the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) kind: Kind,
    pub(crate) identity: Identity,
    pub(crate) keys: u64,
    /// Bytes of the nodes: whole units.
    pub(crate) data_bytes: u64,
    /// Units of the nodes themselves. The other units are padding, which keeps nodes from crossing chunks.
    pub(crate) live_units: u64,
    /// Where the model nodes begin, in units: behind the data nodes.
    pub(crate) inner_start: u32,
    pub(crate) root: u32,
    pub(crate) first_leaf: u32,
    pub(crate) last_leaf: u32,
    pub(crate) max_slots: u32,
    pub(crate) table_crc: u32,
    pub(crate) attachment_crc: u32,
    pub(crate) attachment_bytes: u64,
}

impl Header {
    pub(crate) fn blocks(&self) -> usize {
        (self.data_bytes as usize).div_ceil(BLOCK_BYTES)
    }

    pub(crate) fn table_at(&self) -> usize {
        HEADER_BYTES + self.data_bytes as usize
    }

    pub(crate) fn attachment_at(&self) -> usize {
        self.table_at() + padded(self.blocks() * 4)
    }

    /// The most slots of a data node, as [`Options`](crate::Options) allow.
    pub(crate) fn max_leaf_slots(&self) -> usize {
        (self.max_slots as usize).clamp(128, MAX_LEAF_SLOTS).next_multiple_of(64)
    }

    /// Length of the file in bytes.
    pub(crate) fn file_bytes(&self) -> usize {
        self.attachment_at() + padded(self.attachment_bytes as usize)
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER_BYTES);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&self.kind.features().to_le_bytes());
        bytes.extend_from_slice(&self.identity.store);
        bytes.extend_from_slice(&self.identity.file.to_le_bytes());
        bytes.extend_from_slice(&(HEADER_BYTES as u32).to_le_bytes());
        bytes.resize(64, 0);
        for number in [self.keys, self.data_bytes, self.live_units] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        for number in [self.inner_start, self.root, self.first_leaf, self.last_leaf, self.max_slots] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(&self.table_crc.to_le_bytes());
        bytes.extend_from_slice(&self.attachment_crc.to_le_bytes());
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&self.attachment_bytes.to_le_bytes());
        bytes.resize(HEADER_BYTES - 4, 0);
        bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
        bytes
    }

    /// Reads and checks the header of a file that is `file_bytes` long and begins with `bytes`.
    pub(crate) fn decode(bytes: &[u8], file_bytes: u64) -> Result<Self, ImageError> {
        let short = || ImageError::TooShort(file_bytes);
        if bytes.get(..MAGIC.len()).ok_or_else(short)? != MAGIC {
            return Err(ImageError::Foreign);
        }
        if bytes.len() < HEADER_BYTES {
            return Err(short());
        }
        let header_bytes = u32_at(bytes, 40).ok_or_else(short)? as usize;
        let sealed = header_bytes.checked_sub(4).filter(|_| header_bytes <= MAX_HEADER_BYTES);
        let covered = sealed.and_then(|end| bytes.get(..end));
        let (Some(covered), Some(stored)) = (covered, sealed.and_then(|end| u32_at(bytes, end))) else {
            return Err(damage(40, "the length of a header", header_bytes.to_string()).into());
        };
        let computed = crc32c::crc32c(covered);
        if computed != stored {
            let expected = format!("header checksum {computed:#010x}");
            return Err(damage(header_bytes - 4, expected, format!("{stored:#010x}")).into());
        }
        let (reader, features) = (u16_at(bytes, 10), u32_at(bytes, 12));
        let kind =
            features.and_then(Kind::of_features).filter(|_| reader.is_some_and(|reader| reader <= VERSION));
        let Some(kind) = kind else {
            return Err(ImageError::Format(format!(
                "needs a reader of image format {} with features {:#x} and this alexpy reads up to format \
                 {VERSION}; install a newer alexpy (nothing was changed)",
                reader.unwrap_or_default(),
                features.unwrap_or_default()
            )));
        };
        if header_bytes != HEADER_BYTES {
            return Err(damage(40, HEADER_BYTES.to_string(), header_bytes.to_string()).into());
        }
        let long = |at: usize| u64_at(bytes, at).unwrap_or_default();
        let word = |at: usize| u32_at(bytes, at).unwrap_or_default();
        let mut store = [0; 16];
        store.copy_from_slice(&bytes[16..32]);
        let header = Self {
            kind,
            identity: Identity { store, file: long(32) },
            keys: long(64),
            data_bytes: long(72),
            live_units: long(80),
            inner_start: word(88),
            root: word(92),
            first_leaf: word(96),
            last_leaf: word(100),
            max_slots: word(104),
            table_crc: word(108),
            attachment_crc: word(112),
            attachment_bytes: long(120),
        };
        header.check(file_bytes)?;
        Ok(header)
    }

    /// Refuses an image of other keys.
    pub(crate) fn require_kind(&self, wanted: Kind) -> Result<(), ImageError> {
        if self.kind == wanted {
            return Ok(());
        }
        let (found, wanted) = (self.kind.key_bits(), wanted.key_bits());
        Err(ImageError::Format(format!(
            "holds keys of {found} bits and was opened for keys of {wanted}; only what has such keys, for \
             instance its store, can open it (nothing was changed)"
        )))
    }

    /// Checks that the fields fit each other and the length of the file.
    fn check(&self, file_bytes: u64) -> Result<(), Damage> {
        let require = |holds: bool, at: usize, expected: &str, found: u64| {
            if holds { Ok(()) } else { Err(damage(at, expected, found.to_string())) }
        };
        let data = self.data_bytes;
        require(
            data <= file_bytes && data.is_multiple_of(UNIT as u64),
            72,
            "no more bytes of nodes than the file has, in whole units",
            data,
        )?;
        let units = data / UNIT as u64;
        require(units < u64::from(NodeId::LEAF), 72, "nodes of less than 128 GiB", data)?;
        let slot_bytes = u64::from(self.kind.key_bits() / 8) + 8;
        require(self.keys <= data / slot_bytes, 64, "no more keys than the nodes have room for", self.keys)?;
        require(self.live_units <= units, 80, "no more units than the nodes have", self.live_units)?;
        let inner_start = u64::from(self.inner_start);
        require((1..=units).contains(&inner_start), 88, "model nodes behind data nodes", inner_start)?;
        let attachment = self.attachment_bytes;
        require(attachment <= file_bytes, 120, "an attachment no longer than the file", attachment)?;
        require(attachment <= MAX_ATTACHMENT_BYTES, 120, "an attachment of at most 1 GiB", attachment)?;
        let whole = self.file_bytes() as u64;
        if whole != file_bytes {
            let expected = format!("a file of {whole} bytes");
            return Err(damage(whole.min(file_bytes) as usize, expected, format!("{file_bytes}")));
        }
        Ok(())
    }
}

/// Compares the checksum of a part of the file with the stored one.
pub(crate) fn check_crc(name: &str, at: usize, bytes: &[u8], stored: u32) -> Result<(), Damage> {
    let computed = crc32c::crc32c(bytes);
    if computed == stored {
        return Ok(());
    }
    Err(damage(at, format!("{name} with checksum {stored:#010x}"), format!("{computed:#010x}")))
}

/// The offset of a block in the file.
pub(crate) fn block_at(block: usize) -> usize {
    HEADER_BYTES + block * BLOCK_BYTES
}

/// The checksums of all blocks, decoded from the table.
pub(crate) fn table_of(bytes: &[u8], blocks: usize) -> Vec<u32> {
    bytes.chunks_exact(4).take(blocks).map(|word| u32_at(word, 0).unwrap_or_default()).collect()
}

/// A length rounded up to a multiple of 8.
pub(crate) fn padded(bytes: usize) -> usize {
    bytes.next_multiple_of(8)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// Reads all of an image's file, which is `file_bytes` long, and compares all checksums. `read` fills a
/// buffer from an offset. `O(bytes)`, 64 KiB at a time.
pub fn check_file(
    file_bytes: u64,
    mut read: impl FnMut(u64, &mut [u8]) -> io::Result<()>,
) -> io::Result<Result<Identity, ImageError>> {
    let mut head = vec![0; HEADER_BYTES.min(file_bytes as usize)];
    read(0, &mut head)?;
    let header = match Header::decode(&head, file_bytes) {
        Ok(header) => header,
        Err(error) => return Ok(Err(error)),
    };
    let mut table = vec![0; header.attachment_at() - header.table_at()];
    read(header.table_at() as u64, &mut table)?;
    let mut attachment = vec![0; header.file_bytes() - header.attachment_at()];
    read(header.attachment_at() as u64, &mut attachment)?;
    let checked = check_crc("a checksum table", header.table_at(), &table, header.table_crc).and_then(|()| {
        check_crc("an attachment", header.attachment_at(), &attachment, header.attachment_crc)
    });
    if let Err(damage) = checked {
        return Ok(Err(damage.into()));
    }
    let mut bytes = vec![0; BLOCK_BYTES];
    for (block, &crc) in table_of(&table, header.blocks()).iter().enumerate() {
        let len = BLOCK_BYTES.min(header.table_at() - block_at(block));
        read(block_at(block) as u64, &mut bytes[..len])?;
        if let Err(damage) = check_crc("a block", block_at(block), &bytes[..len], crc) {
            return Ok(Err(damage.into()));
        }
    }
    Ok(Ok(header.identity))
}

#[cfg(test)]
mod tests {
    use super::{Header, Identity, Kind};

    #[test]
    fn every_flipped_bit_of_a_header_is_noticed() {
        let header = Header {
            kind: Kind::Bits64,
            identity: Identity { store: [7; 16], file: 3 },
            keys: 5,
            data_bytes: 1216,
            live_units: 19,
            inner_start: 18,
            root: 18,
            first_leaf: 0,
            last_leaf: 0,
            max_slots: 16_384,
            table_crc: 1,
            attachment_crc: 2,
            attachment_bytes: 3,
        };
        let bytes = header.encode();
        let file_bytes = header.file_bytes() as u64;
        assert_eq!(Header::decode(&bytes, file_bytes), Ok(header));
        for bit in 0..bytes.len() * 8 {
            let mut broken = bytes.clone();
            broken[bit / 8] ^= 1 << (bit % 8);
            assert!(Header::decode(&broken, file_bytes).is_err(), "bit {bit}");
        }
        for len in 0..bytes.len() {
            assert!(Header::decode(&bytes[..len], file_bytes).is_err(), "length {len}");
        }
        assert!(Header::decode(&bytes, file_bytes + 8).is_err());
    }
}
