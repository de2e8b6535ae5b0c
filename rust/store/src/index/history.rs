//! What changes replaced: a note for each change of a key says where the key's record was before. Notes lie in the
//! order of the changes; an index leads to the newest note of a key, and each note to the key's previous one. Knows
//! nothing of who reads them, nor of locks.

use std::collections::VecDeque;
use std::ops::Bound;

use alex_index::prefetch;

use crate::error::{Error, Result};
use crate::format::location::Location;
use crate::index::checked::{Damaged, Index};
use crate::index::overlay::{GONE, there};
use crate::index::tree::Neighbour;
use crate::keys::{Key, KeyVec, Keys, Packed, Width};
use crate::room::{no_memory, room, with_room};

/// Notes lie in chunks, so that making room never moves them, and memory is given back while later notes stay.
const CHUNK_BITS: u32 = 10;
const CHUNK_NOTES: usize = 1 << CHUNK_BITS;
/// Changes noted, or keys looked up, at a time.
const PIECE: usize = 1 << 10;

/// What a key was after some commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Past {
    /// What it is in the index: it has not changed since.
    Unchanged,
    Absent,
    At(Location),
}

/// What one change of a key replaced.
#[derive(Clone, Copy)]
struct Note {
    key: Packed,
    /// Where the key's record was; `GONE` if the key was absent.
    was: u64,
    /// The sequence number of the change, counted from the chunk's.
    since: u32,
    /// How many numbers further back the key's previous note is; 0 if there is none.
    back: u32,
}

struct Chunk {
    seq: u64,
    notes: Vec<Note>,
}

/// The notes. The number of a note is that of its chunk, times `CHUNK_NOTES`, plus its place there.
pub(crate) struct History {
    /// From each key to the number of its newest note.
    newest: Index,
    chunks: VecDeque<Chunk>,
    /// The number of the first chunk.
    first_chunk: u64,
    /// How many notes of the first chunk nobody needs any more.
    swept: usize,
}

impl History {
    /// No notes.
    pub(crate) fn new(width: Width) -> Result<Self> {
        Ok(Self { newest: Index::empty(width)?, chunks: VecDeque::new(), first_chunk: 0, swept: 0 })
    }

    /// A note and the sequence number of its change; `None` if the note was swept.
    #[inline]
    fn note(&self, number: u64) -> Option<(&Note, u64)> {
        let chunk = self.chunks.get((number >> CHUNK_BITS).checked_sub(self.first_chunk)? as usize)?;
        let place = number as usize % CHUNK_NOTES;
        let swept = number >> CHUNK_BITS == self.first_chunk && place < self.swept;
        let note = chunk.notes.get(place).filter(|_| !swept)?;
        Some((note, chunk.seq + u64::from(note.since)))
    }

    #[inline]
    fn prefetch(&self, number: u64) {
        let chunk = (number >> CHUNK_BITS).wrapping_sub(self.first_chunk) as usize;
        if let Some(note) =
            self.chunks.get(chunk).and_then(|chunk| chunk.notes.get(number as usize % CHUNK_NOTES))
        {
            prefetch(std::ptr::from_ref(note));
        }
    }

    /// What a key was after the change `seq`, given its newest note. O(changes of the key since).
    #[inline]
    fn as_of(&self, newest: u64, seq: u64) -> Past {
        let (mut number, mut past) = (newest, Past::Unchanged);
        while let Some((note, since)) = self.note(number) {
            if since <= seq {
                break;
            }
            past = there(note.was).map_or(Past::Absent, |was| Past::At(Location(was)));
            if note.back == 0 {
                break;
            }
            number -= u64::from(note.back);
        }
        past
    }

    /// Whether a key whose newest note is this one has changed since the change `seq`.
    fn is_above(&self, newest: u64, seq: u64) -> bool {
        self.note(newest).is_some_and(|(_, since)| since > seq)
    }

    /// Adds a note. Returns its number.
    fn push(&mut self, key: Key, was: Option<u64>, seq: u64) -> Result<u64> {
        let fits = |chunk: &Chunk| {
            chunk.notes.len() < CHUNK_NOTES
                && seq.checked_sub(chunk.seq).is_some_and(|since| u32::try_from(since).is_ok())
        };
        if !self.chunks.back().is_some_and(fits) {
            self.chunks.try_reserve(1).map_err(|_| no_memory::<Chunk>(self.chunks.len()))?;
            self.chunks.push_back(Chunk { seq, notes: with_room(CHUNK_NOTES)? });
        }
        let number = (self.first_chunk + self.chunks.len() as u64 - 1) << CHUNK_BITS;
        let Some(chunk) = self.chunks.back_mut() else { return Err(no_memory::<Chunk>(1)) };
        let number = number + chunk.notes.len() as u64;
        chunk.notes.push(Note {
            key: key.into(),
            was: was.unwrap_or(GONE),
            since: (seq - chunk.seq) as u32,
            back: 0,
        });
        Ok(number)
    }

    /// Lets a note lead to the key's previous one.
    fn link(chunks: &mut VecDeque<Chunk>, first_chunk: u64, number: u64, previous: u64) -> Result<()> {
        // Notes so far apart would take a hundred gigabytes.
        let back = u32::try_from(number - previous).map_err(|_| no_memory::<Note>(u32::MAX as usize))?;
        let chunk = &mut chunks[((number >> CHUNK_BITS) - first_chunk) as usize];
        chunk.notes[number as usize % CHUNK_NOTES].back = back;
        Ok(())
    }

    /// Notes that the change `seq` replaced a record of a key, unless the key has a note above `pinned`, the newest
    /// version that somebody reads. O(log n).
    pub(crate) fn add(&mut self, key: Key, was: Option<u64>, seq: u64, pinned: u64) -> Result<()> {
        let previous = self.newest.get(key).map_err(|damaged| self.failure(damaged))?;
        if previous.is_some_and(|previous| self.is_above(previous, pinned)) {
            return Ok(());
        }
        let number = self.push(key, was, seq)?;
        if let Some(previous) = previous {
            Self::link(&mut self.chunks, self.first_chunk, number, previous)?;
        }
        self.newest.insert(key, number).map_err(|damaged| self.failure(damaged))?;
        Ok(())
    }

    /// Like [`History::add`] for many keys, of which the first of equal ones counts; `was` as in [`Note`].
    pub(crate) fn add_many(&mut self, keys: Keys<'_>, was: &[u64], seq: u64, pinned: u64) -> Result<()> {
        let (mut unnoted, mut noted, mut numbers) =
            (Vec::new(), KeyVec::with_room(PIECE.min(keys.len()), keys)?, Vec::new());
        room(&mut unnoted, PIECE.min(keys.len()))?;
        room(&mut numbers, PIECE.min(keys.len()))?;
        for (keys, was) in keys.chunks(PIECE).zip(was.chunks(PIECE)) {
            unnoted.clear();
            let found = self.newest.get_many(keys, |i, previous| {
                if !previous.is_some_and(|previous| self.is_above(previous, pinned)) {
                    unnoted.push(i);
                }
            });
            found.map_err(|damaged| self.failure(damaged))?;
            noted.clear();
            numbers.clear();
            for &i in &unnoted {
                noted.push(keys.get(i));
                numbers.push(self.push(keys.get(i), there(was[i]), seq)?);
            }
            let (chunks, first_chunk) = (&mut self.chunks, self.first_chunk);
            let mut linked = Ok(());
            let inserted = self.newest.insert_many(noted.as_keys(), &numbers, |i, previous| {
                if let Err(error) = Self::link(chunks, first_chunk, numbers[i], previous) {
                    linked = Err(error);
                }
            });
            linked?;
            inserted.map_err(|damaged| self.failure(damaged))?;
        }
        Ok(())
    }

    /// Removes up to `limit` notes of changes that `oldest`, the oldest version that somebody reads, has seen.
    pub(crate) fn sweep(&mut self, oldest: u64, limit: usize) -> Result<()> {
        for _ in 0..limit {
            let Some(chunk) = self.chunks.front() else { break };
            let Some(&note) = chunk.notes.get(self.swept) else {
                if self.chunks.len() == 1 && chunk.notes.len() < CHUNK_NOTES {
                    break;
                }
                self.chunks.pop_front();
                self.first_chunk += 1;
                self.swept = 0;
                continue;
            };
            if chunk.seq + u64::from(note.since) > oldest {
                break;
            }
            let number = (self.first_chunk << CHUNK_BITS) + self.swept as u64;
            let newest = self.newest.get(note.key.into()).map_err(|damaged| self.failure(damaged))?;
            if newest == Some(number) {
                self.newest.remove(note.key.into()).map_err(|damaged| self.failure(damaged))?;
            }
            self.swept += 1;
        }
        Ok(())
    }

    /// Corrects what was found for `keys` to what it was after the change `seq`. O(keys * log n).
    pub(crate) fn correct(&self, keys: Keys<'_>, seq: u64, found: &mut [Option<Location>]) -> Result<()> {
        let mut noted: Vec<(usize, u64)> = with_room(PIECE.min(keys.len()))?;
        for (keys, found) in keys.chunks(PIECE).zip(found.chunks_mut(PIECE)) {
            noted.clear();
            self.newest
                .get_many(keys, |i, newest| {
                    if let Some(newest) = newest {
                        self.prefetch(newest);
                        noted.push((i, newest));
                    }
                })
                .map_err(|damaged| self.failure(damaged))?;
            for &(i, newest) in &noted {
                match self.as_of(newest, seq) {
                    Past::Unchanged => {}
                    Past::Absent => found[i] = None,
                    Past::At(location) => found[i] = Some(location),
                }
            }
        }
        Ok(())
    }

    /// What a key was after the change `seq`.
    #[inline]
    pub(crate) fn find(&self, key: Key, seq: u64) -> Result<Past> {
        let newest = self.newest.get(key).map_err(|damaged| self.failure(damaged))?;
        Ok(newest.map_or(Past::Unchanged, |newest| self.as_of(newest, seq)))
    }

    /// A neighbour of `key` among the keys that have notes, and what it was after the change `seq`.
    pub(crate) fn nearest(&self, key: Key, which: Neighbour, seq: u64) -> Result<Option<(Key, Past)>> {
        let found = self.newest.nearest(key, which).map_err(|damaged| self.failure(damaged))?;
        Ok(found.map(|(key, newest)| (key, self.as_of(newest, seq))))
    }

    /// The same neighbour of each of `keys` among the keys that have notes, in their order.
    pub(crate) fn nearest_many(
        &self,
        keys: Keys<'_>,
        which: Neighbour,
        mut visit: impl FnMut(usize, Option<Key>),
    ) -> Result<()> {
        self.newest
            .nearest_many(keys, which, |i, found| visit(i, found.map(|(key, _)| key)))
            .map_err(|damaged| self.failure(damaged))
    }

    /// Appends up to `limit` keys of a range that have notes, and what each was after the change `seq`, in the order of
    /// a scan.
    #[expect(clippy::too_many_arguments, reason = "as Alex::scan_into")]
    pub(crate) fn scan_into(
        &self,
        start: Bound<Key>,
        stop: Bound<Key>,
        reverse: bool,
        limit: usize,
        seq: u64,
        keys: &mut KeyVec,
        past: &mut Vec<Past>,
    ) -> Result<()> {
        let mut numbers = Vec::new();
        self.newest
            .scan_into(start, stop, reverse, limit, keys, &mut numbers)
            .map_err(|damaged| self.failure(damaged))?;
        room(past, numbers.len())?;
        past.extend(numbers.iter().map(|&newest| self.as_of(newest, seq)));
        Ok(())
    }

    /// Bytes of memory.
    pub(crate) fn nbytes(&self) -> usize {
        self.newest.nbytes() + self.chunks.len() * CHUNK_NOTES * size_of::<Note>()
    }

    /// Why the index of notes does not answer: a change of it has failed.
    fn failure(&self, _: Damaged) -> Error {
        self.newest.failure().unwrap_or_else(|| no_memory::<Note>(1))
    }
}
