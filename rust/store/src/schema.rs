//! What is chosen when a store is made, and never changes: the kind of its keys, the name of the codec of its values, and
//! how the engine compresses them. Knows nothing of what codecs do. The kind stands in the header of every file, the rest
//! in the manifest.

use std::fmt;
use std::path::Path;

use zerocopy::little_endian::U32;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::error::{Error, Result};
use crate::keys::{Key, Width};

/// What the keys of a store are. The engine orders and stores them as integers; each kind but [`KeyKind::Uuid`] is an
/// order-preserving map onto `i64`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(u8)]
pub enum KeyKind {
    /// The integers of 64 bits with a sign.
    #[default]
    Int64 = 0,
    /// The integers of 64 bits without a sign.
    Uint64 = 1,
    /// Seconds since 1970, and so on to nanoseconds.
    DatetimeS = 2,
    /// Milliseconds since 1970.
    DatetimeMs = 3,
    /// Microseconds since 1970.
    DatetimeUs = 4,
    /// Nanoseconds since 1970.
    DatetimeNs = 5,
    /// The integers of 128 bits without a sign.
    Uuid = 6,
}

/// What keys without a sign are exclusive-ored with, so that they keep their order.
const TOP_BIT: u64 = 1 << 63;

/// All kinds with their names, in the order of their numbers.
const KINDS: [(KeyKind, &str); 7] = [
    (KeyKind::Int64, "int64"),
    (KeyKind::Uint64, "uint64"),
    (KeyKind::DatetimeS, "datetime64[s]"),
    (KeyKind::DatetimeMs, "datetime64[ms]"),
    (KeyKind::DatetimeUs, "datetime64[us]"),
    (KeyKind::DatetimeNs, "datetime64[ns]"),
    (KeyKind::Uuid, "uuid"),
];

impl KeyKind {
    /// The kind of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        KINDS.iter().find(|(_, known)| *known == name).map(|&(kind, _)| kind)
    }

    /// Its name, as `open` takes it.
    pub fn name(self) -> &'static str {
        KINDS[self as usize].1
    }

    /// The names of all kinds.
    pub fn names() -> impl Iterator<Item = &'static str> {
        KINDS.iter().map(|&(_, name)| name)
    }

    /// How many bytes of a key records hold.
    pub(crate) fn width(self) -> Width {
        if self == Self::Uuid { Width::Wide } else { Width::Narrow }
    }

    /// The least and the greatest integer that a key can be.
    pub fn keys(self) -> (Key, Key) {
        self.width().keys()
    }

    /// Whether a key belongs to the kind.
    pub(crate) fn has(self, key: Key) -> bool {
        self.width() == Width::Wide || i64::try_from(key).is_ok()
    }

    /// A key as its users know it, for messages.
    pub fn shown(self, key: Key) -> String {
        match self {
            Self::Uint64 => (key as u64 ^ TOP_BIT).to_string(),
            Self::Uuid => {
                let number = key as u128 ^ 1 << 127;
                format!(
                    "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
                    number >> 96,
                    number >> 80 & 0xFFFF,
                    number >> 64 & 0xFFFF,
                    number >> 48 & 0xFFFF,
                    number & 0xFFFF_FFFF_FFFF
                )
            }
            Self::Int64 => key.to_string(),
            Self::DatetimeS | Self::DatetimeMs | Self::DatetimeUs | Self::DatetimeNs => {
                format!("{key} ({})", self.name())
            }
        }
    }

    /// The kind of this number.
    pub fn from_number(number: u8) -> Option<Self> {
        KINDS.get(usize::from(number)).map(|&(kind, _)| kind)
    }
}

impl fmt::Display for KeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How the engine compresses values, each by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Compression {
    /// Values are stored as they are.
    #[default]
    None,
    /// By zstd, with dictionaries that are trained from the values of the store.
    Zstd,
}

impl Compression {
    /// The compression of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        (name == "zstd").then_some(Self::Zstd)
    }

    /// Its name, as `open` takes it; `None` for values as they are.
    pub fn name(self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Zstd => Some("zstd"),
        }
    }
}

/// The longest name of a codec, in bytes.
pub(crate) const MAX_CODEC_NAME_BYTES: usize = 4096;

/// What never changes about a store.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Schema {
    /// The kind of all keys.
    pub key: KeyKind,
    /// The name of the codec by which values are read and written; `None` where they are plain bytes.
    pub codec: Option<String>,
    /// How values are compressed.
    pub compression: Compression,
}

/// Begins each part of a schema in the manifest; its bytes follow.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy)]
#[repr(C)]
struct RawPart {
    tag: U32,
    bytes: U32,
}

/// The part that holds the codec's name.
const CODEC: u32 = 1;
/// The part that holds the name of the compression.
const COMPRESSION: u32 = 2;

/// Appends a part to those of a manifest.
pub(crate) fn add_part(bytes: &mut Vec<u8>, tag: u32, own: &[u8]) {
    bytes.extend_from_slice(RawPart { tag: U32::new(tag), bytes: U32::new(own.len() as u32) }.as_bytes());
    bytes.extend_from_slice(own);
}

/// The parts that stand in a manifest, each with its number. Fails with what was found instead of a part.
pub(crate) fn parts(mut bytes: &[u8]) -> Result<Vec<(u32, &[u8])>, String> {
    let mut parts = Vec::new();
    while !bytes.is_empty() {
        let (part, rest) = RawPart::ref_from_prefix(bytes).map_err(|_| format!("{} bytes", bytes.len()))?;
        let Some((own, rest)) = rest.split_at_checked(part.bytes.get() as usize) else {
            return Err(format!("a part of {} bytes", part.bytes.get()));
        };
        parts.push((part.tag.get(), own));
        bytes = rest;
    }
    Ok(parts)
}

impl Schema {
    /// Refuses to open a store of this schema if another kind of key, another codec or a compression that it does not have
    /// was asked for.
    pub(crate) fn check_asked(
        &self,
        key: Option<KeyKind>,
        codec: Option<&str>,
        compression: Compression,
        path: &Path,
    ) -> Result<()> {
        let refuse = |problem| Err(Error::Format { path: path.to_owned(), problem });
        if let Some(asked) = key
            && asked != self.key
        {
            return refuse(format!(
                "has keys of kind {}, and {asked} was asked for; open it without naming a kind, or with key=\"{}\"",
                self.key, self.key
            ));
        }
        if let Some(asked) = compression.name()
            && self.compression != compression
        {
            return refuse(format!(
                "has values that are not compressed, and compression=\"{asked}\" was asked for; open it without, or copy \
                 its items into a new store with compression"
            ));
        }
        match (codec, &self.codec) {
            (Some(asked), Some(own)) if asked != own => refuse(format!(
                "has values of the codec {own}, and {asked} was asked for; open it with the codec that it was made with"
            )),
            (Some(asked), None) => refuse(format!(
                "has plain bytes as values, and the codec {asked} was asked for; open it without a codec, and decode \
                 what it returns"
            )),
            _ => Ok(()),
        }
    }

    /// The parts that stand in a manifest; nothing for plain bytes.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let parts = [(CODEC, self.codec.as_deref()), (COMPRESSION, self.compression.name())];
        for (tag, name) in parts {
            if let Some(name) = name {
                add_part(&mut bytes, tag, name.as_bytes());
            }
        }
        bytes
    }

    /// Takes in one part that stands in a manifest. Fails with what was found instead of a part of a schema.
    pub(crate) fn take(&mut self, (tag, own): (u32, &[u8])) -> Result<(), String> {
        let unknown = || format!("a part {tag} of {} bytes", own.len());
        if own.len() > MAX_CODEC_NAME_BYTES {
            return Err(unknown());
        }
        let name = std::str::from_utf8(own).map_err(|_| "a name that is no text".to_owned())?;
        match tag {
            CODEC => self.codec = Some(name.to_owned()),
            COMPRESSION => {
                self.compression =
                    Compression::from_name(name).ok_or_else(|| format!("the compression {name:?}"))?;
            }
            _ => return Err(unknown()),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Compression, KINDS, KeyKind, Schema, parts};

    fn decoded(bytes: &[u8]) -> Result<Schema, String> {
        let mut schema = Schema { key: KeyKind::Uuid, ..Schema::default() };
        parts(bytes)?.into_iter().try_for_each(|part| schema.take(part))?;
        Ok(schema)
    }

    #[test]
    fn kinds_stand_at_their_numbers_and_have_names() {
        for (number, (kind, name)) in KINDS.into_iter().enumerate() {
            assert_eq!(kind as usize, number);
            assert_eq!(KeyKind::from_name(name), Some(kind));
            assert_eq!(KeyKind::from_number(number as u8), Some(kind));
        }
        assert_eq!(KeyKind::from_number(KINDS.len() as u8), None);
    }

    #[test]
    fn a_schema_comes_back_as_written_and_every_cut_is_noticed() {
        for (codec, compression) in
            [(true, Compression::None), (false, Compression::Zstd), (true, Compression::Zstd)]
        {
            let codec = codec.then(|| "numpy:float32:4".to_owned());
            let schema = Schema { key: KeyKind::Uuid, codec, compression };
            let bytes = schema.encode();
            assert_eq!(decoded(&bytes).as_ref(), Ok(&schema));
            for len in 1..bytes.len() {
                assert_ne!(decoded(&bytes[..len]).as_ref(), Ok(&schema), "length {len}");
            }
        }
        assert_eq!(decoded(&[]), Ok(Schema { key: KeyKind::Uuid, ..Schema::default() }));
    }
}
