//! Values on their way out: one, or many at once, together with what keeps their bytes alive. Knows nothing
//! of the index or of locks. Reading one value is O(its length).

use std::ops::{ControlFlow, Deref, Range};
use std::sync::Arc;

use crate::error::Result;
use crate::format::compressed::Compressed;
use crate::format::location::Location;
use crate::keys::{Key, Keys};
use crate::log::records::{Found, Packed};
use crate::log::segment::Segment;
use crate::log::segments::Segments;
use crate::room::room;
use crate::values::ahead::{Ahead, AsksAhead};

/// How many records ahead a batch read prefetches.
const PREFETCH_AHEAD: usize = 24;

/// So many records are prefetched at a time, in a loop that does nothing else: a prefetch waits for the page walk of its
/// address, and what lies between two of them keeps the processor from having many walks under way.
const PREFETCHED: usize = 4;

/// A batch read copies values up to this length as it goes.
const COPIED_BYTES: usize = 512;

/// In how many shares a caller can divide the work of decompressing.
pub const SHARES: usize = 16;

/// Longer compressed values are decompressed as they are read, without the caller's locks.
const PACKED_BYTES: usize = 4096;

/// Longer values are only checked. This many bytes of them are still in the caches when the caller copies
/// them.
pub const NEAR_BYTES: usize = 1 << 20;

/// One value. Stays valid after it is overwritten or deleted, and after the store is closed.
#[derive(Clone)]
pub struct Value(Source);

#[derive(Clone)]
enum Source {
    Mapped { segment: Arc<Segment>, start: u64, len: u32 },
    Read(Arc<Vec<u8>>),
}

impl Value {
    #[inline]
    pub(crate) fn read(segment: &Arc<Segment>, offset: u64, key: Key, verify: bool) -> Result<Self> {
        Ok(Self(match segment.value(offset, key, verify)? {
            Found::Mapped { start, len } => Source::Mapped { segment: Arc::clone(segment), start, len },
            Found::Compressed(packed) => Source::Read(Arc::new(packed.value()?)),
            Found::Read(bytes) => Source::Read(Arc::new(bytes)),
        }))
    }
}

impl Deref for Value {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match &self.0 {
            Source::Mapped { segment, start, len } => segment.mapped(*start, *len),
            Source::Read(bytes) => bytes,
        }
    }
}

impl std::fmt::Debug for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        (**self).fmt(f)
    }
}

/// A value as a batch read meets it.
pub(crate) enum Met<'a> {
    /// Its bytes, and its place in a mapped segment.
    Plain(&'a [u8], Option<(u32, u64)>),
    /// It lies compressed in this segment.
    Compressed(Packed<'a>, u32),
}

impl Met<'_> {
    /// Its length.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Plain(value, _) => value.len(),
            Self::Compressed(packed, _) => packed.len,
        }
    }

    /// Writes the value, which is as long as `out`.
    #[inline]
    pub(crate) fn copy_to(&self, out: &mut [u8]) -> Result<()> {
        match self {
            Self::Plain(value, _) => {
                out.copy_from_slice(value);
                Ok(())
            }
            Self::Compressed(packed, _) => packed.copy_to(out),
        }
    }
}

/// The values of a batch read, in the order of its keys. Its memory is reused by the next read.
#[derive(Default)]
pub struct Values {
    segments: Arc<Segments>,
    locations: Vec<Option<Location>>,
    slots: Vec<Slot>,
    copied: Vec<u8>,
    packed: Vec<LeftPacked>,
    long_bytes: usize,
}

#[derive(Clone, Copy)]
enum Slot {
    Missing,
    Mapped { segment: u32, len: u32, start: u64 },
    Copied { start: usize, len: usize },
    Packed { at: usize },
}

/// A value that was left compressed.
struct LeftPacked {
    segment: u32,
    place: u32,
    offset: u64,
    key: Key,
    /// Where its frame was copied to.
    frame: Range<usize>,
    len: usize,
}

impl Values {
    /// Reads the values of those `keys` that `locate` finds, in place of what was read before.
    pub(crate) fn read(
        &mut self,
        keys: Keys<'_>,
        how: HowMuch,
        (verify, asks): (bool, &AsksAhead),
        locate: impl FnOnce(&mut Vec<Option<Location>>) -> Result<Arc<Segments>>,
    ) -> Result<()> {
        self.slots.clear();
        self.copied.clear();
        self.packed.clear();
        self.locations.clear();
        self.segments = locate(&mut self.locations)?;
        self.long_bytes = 0;
        let Self { segments, locations, slots, copied, packed, long_bytes } = self;
        room(slots, keys.len())?;
        let segments: &Segments = segments;
        let mut ahead = asks.over(locations.iter().map(|&location| (segments, location)));
        for_each(segments, keys, locations, verify, &mut ahead, |_, met| {
            let Some(met) = met else {
                slots.push(Slot::Missing);
                return Ok(ControlFlow::Continue(()));
            };
            let len = met.len();
            let long = len > COPIED_BYTES;
            *long_bytes += if long { len } else { 0 };
            let start = copied.len();
            slots.push(match met {
                Met::Plain(_, Some((segment, start))) if long => {
                    Slot::Mapped { segment, len: len as u32, start }
                }
                // Its cache lines are at hand now, and may not be when the caller wants them.
                Met::Plain(value, _) => {
                    room(copied, len)?;
                    copied.extend_from_slice(value);
                    Slot::Copied { start, len }
                }
                Met::Compressed(value, segment) if how.leaves(slots.len()) && len <= PACKED_BYTES => {
                    room(copied, value.stored.frame.len())?;
                    room(packed, 1)?;
                    copied.extend_from_slice(value.stored.frame);
                    let Packed { offset, key, stored, .. } = value;
                    let frame = start..copied.len();
                    packed.push(LeftPacked { segment, place: stored.place, offset, key, frame, len });
                    Slot::Packed { at: packed.len() - 1 }
                }
                Met::Compressed(value, _) => {
                    value.append_to(copied)?;
                    Slot::Copied { start, len }
                }
            });
            let enough = how != HowMuch::All && *long_bytes >= NEAR_BYTES;
            Ok(if enough { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })
    }

    /// How many keys were read.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether no keys were read.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Total length of the long values, in bytes.
    pub fn long_bytes(&self) -> usize {
        self.long_bytes
    }

    /// The value of the i-th key; `None` if the key is not in the store, or if its value was left compressed.
    #[inline]
    pub fn get(&self, i: usize) -> Option<&[u8]> {
        match self.slots.get(i)? {
            Slot::Missing | Slot::Packed { .. } => None,
            Slot::Mapped { segment, len, start } => Some(self.segments.get(*segment)?.mapped(*start, *len)),
            Slot::Copied { start, len } => self.copied.get(*start..*start + *len),
        }
    }

    /// Length of the value of the i-th key, if that was left compressed: [`Values::unpack`] has it.
    #[inline]
    pub fn packed_len(&self, i: usize) -> Option<usize> {
        match self.slots.get(i)? {
            Slot::Packed { at } => Some(self.packed.get(*at)?.len),
            _ => None,
        }
    }

    /// Writes the value of the i-th key, which was left compressed and is as long as `out`.
    ///
    /// # Panics
    /// It was not left compressed.
    pub fn unpack(&self, i: usize, out: &mut [u8]) -> Result<()> {
        let Some(Slot::Packed { at }) = self.slots.get(i) else {
            panic!("value {i} was not left compressed")
        };
        let LeftPacked { segment, place, offset, key, frame, len } = &self.packed[*at];
        let segment = self.segments.at(Location::new(*segment, *offset))?;
        let stored = Compressed { place: *place, frame: &self.copied[frame.clone()] };
        Packed { segment, offset: *offset, key: *key, stored, len: *len }.copy_to(out)
    }
}

/// How many values a batch reads, and in which form.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum HowMuch {
    /// All of them.
    All,
    /// As many long values as stay in the caches. Of [`SHARES`] compressed values that are not long, so many are left
    /// compressed.
    Some { left_packed: usize },
}

impl HowMuch {
    fn leaves(self, i: usize) -> bool {
        matches!(self, Self::Some { left_packed } if i % SHARES < left_packed)
    }
}

/// Reads the values at `locations` in order, with prefetching, and passes each to `each` until that returns
/// `Break`: the index of the value and, if it exists, how it was met. `ahead` follows a batch of which these are the next.
pub(crate) fn for_each<'a, L: Copy + Into<Option<Location>>>(
    segments: &Segments,
    keys: Keys<'_>,
    locations: &[L],
    verify: bool,
    ahead: &mut Ahead<'a, impl Iterator<Item = (&'a Segments, L)>>,
    mut each: impl FnMut(usize, Option<Met<'_>>) -> Result<ControlFlow<()>>,
) -> Result<()> {
    prefetch(segments, locations.iter().take(PREFETCH_AHEAD));
    for (i, (key, &location)) in keys.iter().zip(locations).enumerate() {
        ahead.before_next();
        if i.is_multiple_of(PREFETCHED) {
            prefetch(segments, locations.iter().skip(i + PREFETCH_AHEAD).take(PREFETCHED));
        }
        let read;
        let met = match location.into() {
            None => None,
            Some(location) => {
                let segment = segments.at(location)?;
                Some(match segment.value(location.offset(), key, verify)? {
                    Found::Mapped { start, len } => {
                        Met::Plain(segment.mapped(start, len), Some((location.segment(), start)))
                    }
                    Found::Compressed(packed) => Met::Compressed(packed, location.segment()),
                    Found::Read(bytes) => {
                        read = bytes;
                        Met::Plain(&read, None)
                    }
                })
            }
        };
        if each(i, met)?.is_break() {
            break;
        }
    }
    Ok(())
}

fn prefetch<'l, L: Copy + Into<Option<Location>> + 'l>(
    segments: &Segments,
    locations: impl Iterator<Item = &'l L>,
) {
    for location in locations.filter_map(|&location| location.into()) {
        segments.prefetch(location);
    }
}
