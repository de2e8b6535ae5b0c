//! Values on their way out: one, or many at once, together with what keeps their bytes alive. Knows nothing
//! of the index or of locks. Reading one value is O(its length).

use std::ops::{ControlFlow, Deref};
use std::sync::Arc;

use crate::error::Result;
use crate::format::location::Location;
use crate::keys::{Key, Keys};
use crate::log::records::Found;
use crate::log::segment::Segment;
use crate::log::segments::Segments;
use crate::room::room;
use crate::values::ahead::{Ahead, AsksAhead};

/// How many records ahead a batch read prefetches.
const PREFETCH_AHEAD: usize = 32;

/// So many records are prefetched at a time, in a loop that does nothing else: a prefetch waits for the page walk of its
/// address, and what lies between two of them keeps the processor from having many walks under way.
const PREFETCHED: usize = 8;

/// A batch read copies values up to this length as it goes.
const COPIED_BYTES: usize = 512;

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

/// The values of a batch read, in the order of its keys. Its memory is reused by the next read.
#[derive(Default)]
pub struct Values {
    segments: Arc<Segments>,
    locations: Vec<Option<Location>>,
    slots: Vec<Slot>,
    copied: Vec<u8>,
    long_bytes: usize,
}

#[derive(Clone, Copy)]
enum Slot {
    Missing,
    Mapped { segment: u32, len: u32, start: u64 },
    Copied { start: usize, len: usize },
}

impl Values {
    /// Reads the values of those `keys` that `locate` finds, in place of what was read before. Unless `all`
    /// of them are wanted at once, stops after as many long values as stay in the caches.
    pub(crate) fn read(
        &mut self,
        keys: Keys<'_>,
        all: bool,
        (verify, asks): (bool, &AsksAhead),
        locate: impl FnOnce(&mut Vec<Option<Location>>) -> Result<Arc<Segments>>,
    ) -> Result<()> {
        self.slots.clear();
        self.copied.clear();
        self.locations.clear();
        self.segments = locate(&mut self.locations)?;
        self.long_bytes = 0;
        let Self { segments, locations, slots, copied, long_bytes } = self;
        room(slots, keys.len())?;
        let segments: &Segments = segments;
        let mut ahead = asks.over(locations.iter().map(|&location| (segments, location)));
        for_each(segments, keys, locations, verify, &mut ahead, |_, found| {
            let Some((value, place)) = found else {
                slots.push(Slot::Missing);
                return Ok(ControlFlow::Continue(()));
            };
            let long = value.len() > COPIED_BYTES;
            *long_bytes += if long { value.len() } else { 0 };
            slots.push(match place {
                Some((segment, start)) if long => Slot::Mapped { segment, len: value.len() as u32, start },
                // Its cache lines are at hand now, and may not be when the caller wants them.
                _ => {
                    let start = copied.len();
                    room(copied, value.len())?;
                    copied.extend_from_slice(value);
                    Slot::Copied { start, len: value.len() }
                }
            });
            let enough = !all && *long_bytes >= NEAR_BYTES;
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

    /// The value of the i-th key; `None` if the key is not in the store.
    #[inline]
    pub fn get(&self, i: usize) -> Option<&[u8]> {
        match self.slots.get(i)? {
            Slot::Missing => None,
            Slot::Mapped { segment, len, start } => Some(self.segments.get(*segment)?.mapped(*start, *len)),
            Slot::Copied { start, len } => self.copied.get(*start..*start + *len),
        }
    }
}

/// Reads the values at `locations` in order, with prefetching, and passes each to `each` until that returns
/// `Break`: the index of the value and, if it exists, its bytes and its place in a mapped segment. `ahead` follows a batch
/// of which these are the next.
pub(crate) fn for_each<'a, L: Copy + Into<Option<Location>>>(
    segments: &Segments,
    keys: Keys<'_>,
    locations: &[L],
    verify: bool,
    ahead: &mut Ahead<'a, impl Iterator<Item = (&'a Segments, L)>>,
    mut each: impl FnMut(usize, Option<(&[u8], Option<(u32, u64)>)>) -> Result<ControlFlow<()>>,
) -> Result<()> {
    prefetch(segments, locations.iter().take(PREFETCH_AHEAD));
    for (i, (key, &location)) in keys.iter().zip(locations).enumerate() {
        ahead.before_next();
        if i.is_multiple_of(PREFETCHED) {
            prefetch(segments, locations.iter().skip(i + PREFETCH_AHEAD).take(PREFETCHED));
        }
        let went_on = if let Some(location) = location.into() {
            let segment = segments.at(location)?;
            match segment.value(location.offset(), key, verify)? {
                Found::Mapped { start, len } => {
                    each(i, Some((segment.mapped(start, len), Some((location.segment(), start)))))?
                }
                Found::Read(bytes) => each(i, Some((&bytes, None)))?,
            }
        } else {
            each(i, None)?
        };
        if went_on.is_break() {
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
