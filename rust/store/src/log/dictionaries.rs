//! The dictionaries of one segment: those that reading has met, and those that were written to it. A segment holds the
//! dictionaries that its values need, so nothing else has to be kept or found for reading them. Knows nothing of how
//! dictionaries come about. Finding one is O(dictionaries of the segment), which has one or two.

use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use crate::error::Result;
use crate::format::compressed::{Compressed, Dictionary};
use crate::format::record::{Body, size_of_record};

/// So many dictionaries of a segment are kept, far more than this version writes. Those of a forged file that has more are
/// loaded each time, so that memory stays bounded.
const MOST_KEPT: usize = 128;

/// The dictionaries that reading a segment has met, by their places. Grows only; reading it takes no lock.
#[derive(Default)]
pub(crate) struct Met(OnceLock<Box<Node>>);

struct Node {
    place: u32,
    dictionary: Arc<Dictionary>,
    next: Met,
}

impl Met {
    /// The dictionary at a place. Calls `load` the first time, whose failure is not remembered.
    #[inline]
    pub(crate) fn at(
        &self,
        place: u32,
        load: impl FnOnce() -> Result<Arc<Dictionary>>,
    ) -> Result<Loaded<'_>> {
        let (mut last, mut kept) = (self, 0);
        while let Some(node) = last.0.get() {
            if node.place == place {
                return Ok(Loaded::Kept(&node.dictionary));
            }
            (last, kept) = (&node.next, kept + 1);
        }
        let dictionary = load()?;
        Ok(if kept < MOST_KEPT { last.add(place, &dictionary) } else { Loaded::Passing(dictionary) })
    }

    /// Size of the records of those that were met.
    pub(crate) fn bytes(&self) -> u64 {
        let each = std::iter::successors(self.0.get(), |node| node.next.0.get());
        each.map(|node| node.dictionary.record_size()).sum()
    }

    #[cold]
    pub(crate) fn add(&self, place: u32, dictionary: &Arc<Dictionary>) -> Loaded<'_> {
        let mut last = self;
        loop {
            let node = || Box::new(Node { place, dictionary: Arc::clone(dictionary), next: Self::default() });
            // Another thread may have added the same one, or another, meanwhile.
            let node = last.0.get_or_init(node);
            if node.place == place {
                return Loaded::Kept(&node.dictionary);
            }
            last = &node.next;
        }
    }
}

/// A dictionary that a segment keeps, or one that was loaded for this time only.
pub(crate) enum Loaded<'m> {
    Kept(&'m Arc<Dictionary>),
    Passing(Arc<Dictionary>),
}

impl Deref for Loaded<'_> {
    type Target = Arc<Dictionary>;

    #[inline]
    fn deref(&self) -> &Arc<Dictionary> {
        match self {
            Self::Kept(dictionary) => dictionary,
            Self::Passing(dictionary) => dictionary,
        }
    }
}

/// The dictionaries that were written to a segment, and where.
#[derive(Default)]
pub(crate) struct Placed(Vec<(Arc<Dictionary>, u32)>);

impl Placed {
    /// Where a dictionary is.
    pub(crate) fn place_of(&self, dictionary: &Arc<Dictionary>) -> Option<u32> {
        self.0.iter().find(|(placed, _)| Arc::ptr_eq(placed, dictionary)).map(|&(_, place)| place)
    }

    /// Notes that the record of a dictionary begins at `offset`.
    pub(crate) fn add(&mut self, dictionary: &Arc<Dictionary>, offset: u64) {
        self.0.push((Arc::clone(dictionary), (offset >> 3) as u32));
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// A value as a record of this segment holds it. Its dictionary has been placed.
    pub(crate) fn body<'a>(&self, value: Stored<'a>) -> Body<'a> {
        match value {
            Stored::Plain(value) => Body::Plain(value),
            Stored::Compressed { frame, by } => {
                let place = by.and_then(|by| self.place_of(by)).unwrap_or_default();
                debug_assert!(by.is_none() || place != 0, "a dictionary is placed before what needs it");
                Body::Compressed(Compressed { place, frame })
            }
        }
    }
}

/// A value on its way to a segment, before it is known where its dictionary is there.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Stored<'a> {
    Plain(&'a [u8]),
    Compressed { frame: &'a [u8], by: Option<&'a Arc<Dictionary>> },
}

impl Stored<'_> {
    /// How many bytes a record holds of it.
    pub(crate) fn len(&self) -> usize {
        match *self {
            Self::Plain(value) => value.len(),
            Self::Compressed { frame, .. } => Compressed { place: 0, frame }.stored_len(),
        }
    }
}

impl Dictionary {
    /// Size of its record.
    pub(crate) fn record_size(&self) -> u64 {
        size_of_record(self.bytes().len() as u64)
    }
}
