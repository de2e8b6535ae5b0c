//! A compressed value as a record holds it, and the dictionaries that make short values small: the only code that calls
//! zstd. Knows nothing of segments, or of when to compress. Both ways O(bytes of the value).
//!
//! The first four bytes say where in the same segment the record of the dictionary begins (divided by eight; 0 for none).
//! A zstd frame (RFC 8878) follows without its magic number: its header always names the length of the value, and never a
//! dictionary or a checksum, because the record says both.

use std::cell::RefCell;
use std::convert::Infallible;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::thread::LocalKey;

/// Memory that a value can be decompressed into.
pub(crate) use zstd_safe::WriteBuf;
use zstd_safe::{CCtx, CDict, CompressionLevel, DCtx, DDict, DParameter, FrameFormat};

use crate::disk::fork_generation;
use crate::error::Result;
#[cfg(test)]
use crate::room::with_room;
use crate::room::{copy_of, filled, no_memory, probe, room};

/// The longest value, compressed or not, in bytes.
pub(crate) const MAX_VALUE_BYTES: u64 = u32::MAX as u64;

/// Values shorter than this are left alone: frame and place take ten bytes of what could be saved.
const LEAST_VALUE_BYTES: usize = 24;
/// Where the dictionary is.
const PLACE_BYTES: usize = 4;
/// What begins an ordinary frame, and is not stored.
const MAGIC_BYTES: usize = 4;
const _: () = assert!(PLACE_BYTES == MAGIC_BYTES, "the place takes the room of the magic number");
/// Of all levels the one that makes the values of the demo smallest in less than 2 us each (docs/dev/050).
const LEVEL: CompressionLevel = 3;
/// No block of a frame holds more, and each takes at least three bytes.
const MOST_BLOCK_BYTES: u64 = 128 << 10;
const LEAST_BLOCK_BYTES: u64 = 3;
/// A dictionary begins with a magic number and an id. Ours have the id 0, "none", which frames do not name.
const DICTIONARY_ID: std::ops::Range<usize> = 4..8;
/// What stands where a dictionary was that cannot be read: the magic number and id of one, and what the writer notes of the
/// lost one. zstd takes no dictionary of so few bytes, so the values that need it cannot be read, rather than read wrongly.
const LOST: [u8; 8] = [0x37, 0xa4, 0x30, 0xec, 0, 0, 0, 0];
/// zstd makes no smaller dictionaries.
pub(crate) const LEAST_DICTIONARY_BYTES: usize = 256;

thread_local! {
    /// What zstd works in, kept for the next value: some hundred kilobytes each.
    static COMPRESSING: RefCell<Option<CCtx<'static>>> = const { RefCell::new(None) };
    static READING: RefCell<Option<DCtx<'static>>> = const { RefCell::new(None) };
}

/// Calls `work` with what this thread keeps in `kept`, which `make` makes once there is memory for it.
fn with_context<C, T>(
    kept: &'static LocalKey<RefCell<Option<C>>>,
    make: impl FnOnce() -> Option<C>,
    work: impl FnOnce(&mut C) -> Result<T>,
) -> Result<T> {
    kept.with_borrow_mut(|kept| {
        if kept.is_none() {
            *kept = make();
        }
        match kept {
            Some(context) => work(context),
            None => Err(no_memory::<u8>(1 << 17)),
        }
    })
}

fn reading_context() -> Option<DCtx<'static>> {
    let mut context = DCtx::try_create()?;
    // Cannot fail: the format may change between frames.
    let _ = context.set_parameter(DParameter::Format(FrameFormat::Magicless));
    Some(context)
}

/// What values of a store have in common, ready for use.
pub(crate) struct Dictionary {
    bytes: Vec<u8>,
    /// None for one that is lost.
    reading: Option<DDict<'static>>,
    /// Made once something is compressed with it.
    compressing: OnceLock<CDict<'static>>,
}

impl fmt::Debug for Dictionary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Dictionary({} bytes)", self.bytes.len())
    }
}

/// The dictionaries in use. Segments hold copies of the same few, and memory and caches are to hold each once. A forked
/// child has another list than its parent, one of whose threads may have held the lock.
static IN_USE: [Mutex<Vec<Weak<Dictionary>>>; 16] = [const { Mutex::new(Vec::new()) }; 16];

fn in_use() -> MutexGuard<'static, Vec<Weak<Dictionary>>> {
    IN_USE[fork_generation() as usize % IN_USE.len()].lock().unwrap_or_else(PoisonError::into_inner)
}

/// What zstd makes of a dictionary for reading, beside the dictionary itself; somewhat more than it takes.
const READING_BYTES: usize = 64 << 10;

impl Dictionary {
    /// The dictionary that these bytes are.
    pub(crate) fn of(bytes: &[u8]) -> Result<Result<Arc<Self>, NoDictionary>> {
        Self::made(bytes, |bytes| {
            let made = DDict::try_create(bytes).map(Some).ok_or(NoDictionary);
            if made.is_err() {
                // zstd does not say why. What is for lack of memory must not be taken for damage.
                probe(bytes.len() + READING_BYTES)?;
            }
            Ok(made)
        })
    }

    /// What takes the place of a dictionary that cannot be read. No value is read or written by it.
    pub(crate) fn lost(noted: u64) -> Result<Arc<Self>> {
        let mut bytes = [0; LOST.len() + 8];
        bytes[..LOST.len()].copy_from_slice(&LOST);
        bytes[LOST.len()..].copy_from_slice(&noted.to_le_bytes());
        Ok(Self::made(&bytes, |_| Ok(Ok::<_, Infallible>(None)))?.unwrap_or_else(|never| match never {}))
    }

    /// What was noted of a lost dictionary, if these bytes take the place of one.
    pub(crate) fn lost_at(bytes: &[u8]) -> Option<u64> {
        let noted = bytes.strip_prefix(&LOST)?;
        noted.try_into().ok().map(u64::from_le_bytes)
    }

    /// The one of these bytes that is in use, or one with what `reading` makes of them.
    fn made<E>(
        bytes: &[u8],
        reading: impl FnOnce(&[u8]) -> Result<Result<Option<DDict<'static>>, E>>,
    ) -> Result<Result<Arc<Self>, E>> {
        let mut in_use = in_use();
        in_use.retain(|known| known.strong_count() > 0);
        if let Some(known) = in_use.iter().filter_map(Weak::upgrade).find(|known| known.bytes == bytes) {
            return Ok(Ok(known));
        }
        let bytes = copy_of(bytes)?;
        room(&mut *in_use, 1)?;
        let reading = match reading(&bytes)? {
            Ok(reading) => reading,
            Err(error) => return Ok(Err(error)),
        };
        let made = Arc::new(Self { bytes, reading, compressing: OnceLock::new() });
        in_use.push(Arc::downgrade(&made));
        Ok(Ok(made))
    }

    /// A dictionary of at most `most` bytes of what the samples have in common; `None` if that is too little. O(samples).
    pub(crate) fn train(samples: &[u8], lens: &[usize], most: usize) -> Result<Option<Arc<Self>>> {
        if most < LEAST_DICTIONARY_BYTES || lens.len() < 8 {
            return Ok(None);
        }
        let mut bytes = filled(0, most)?;
        let Ok(len) = zstd_safe::train_from_buffer(&mut bytes[..], samples, lens) else { return Ok(None) };
        bytes.truncate(len);
        let Some(id) = bytes.get_mut(DICTIONARY_ID) else { return Ok(None) };
        id.fill(0);
        Ok(Self::of(&bytes)?.ok())
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn compressing(&self) -> Result<&CDict<'static>> {
        if let Some(made) = self.compressing.get() {
            return Ok(made);
        }
        // There may be memory the next time, so a failure is not remembered.
        let made = CDict::try_create(&self.bytes, LEVEL).ok_or_else(|| no_memory::<u8>(self.bytes.len()))?;
        Ok(self.compressing.get_or_init(|| made))
    }
}

/// The bytes are no dictionary.
#[derive(Debug)]
pub(crate) struct NoDictionary;

/// Appends the compressed value to `out`, with room for the place in front; returns false, and appends nothing, if that
/// is not shorter in a record than the value itself.
pub(crate) fn compress(value: &[u8], by: Option<&Dictionary>, out: &mut Vec<u8>) -> Result<bool> {
    if value.len() < LEAST_VALUE_BYTES {
        return Ok(false);
    }
    let (start, most) = (out.len(), zstd_safe::compress_bound(value.len()));
    room(out, most)?;
    out.resize(start + most, 0);
    let compressed = with_context(&COMPRESSING, CCtx::try_create, |context| {
        let to = &mut out[start..];
        let compressed = match by {
            Some(by) => context.compress_using_cdict(to, value, by.compressing()?),
            None => context.compress(to, value, LEVEL),
        };
        // With room enough, only memory can be missing.
        compressed.map_err(|_| no_memory::<u8>(most))
    });
    let shorter = |&len: &usize| len.next_multiple_of(8) < value.len().next_multiple_of(8);
    let kept = compressed.as_ref().ok().copied().filter(shorter);
    out.truncate(start + kept.unwrap_or_default());
    compressed.map(|_| kept.is_some())
}

/// A compressed value, in parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Compressed<'a> {
    /// Where the record of its dictionary begins in the segment, divided by 8; 0 for none.
    pub(crate) place: u32,
    /// The rest of a frame, behind its magic number.
    pub(crate) frame: &'a [u8],
}

impl<'a> Compressed<'a> {
    /// Takes apart what a record holds, or what [`compress`] made. `None` if it is too short.
    pub(crate) fn of(stored: &'a [u8]) -> Option<Self> {
        let (place, frame) = stored.split_first_chunk::<PLACE_BYTES>()?;
        Some(Self { place: u32::from_le_bytes(*place), frame })
    }

    /// How many bytes a record holds of it.
    pub(crate) fn stored_len(&self) -> usize {
        PLACE_BYTES + self.frame.len()
    }

    /// Length of the value, from the first bytes of the frame (RFC 8878, 3.1.1.1). `None` if it names none, or one that no
    /// frame of `frame_len` bytes could hold.
    pub(crate) fn value_len(&self, frame_len: u64) -> Option<u64> {
        let descriptor = *self.frame.first()?;
        let single_segment = descriptor & 1 << 5 != 0;
        // No unused or reserved bit, checksum or dictionary.
        if descriptor & 0b1_1111 != 0 {
            return None;
        }
        let from = if single_segment { 1 } else { 2 };
        let bytes = |len: usize| {
            let mut number = [0; 8];
            number[..len].copy_from_slice(self.frame.get(from..from + len)?);
            Some(u64::from_le_bytes(number))
        };
        let len = match descriptor >> 6 {
            0 if single_segment => bytes(1)?,
            0 => return None,
            1 => bytes(2)? + 256,
            2 => bytes(4)?,
            _ => bytes(8)?,
        };
        let most = (frame_len / LEAST_BLOCK_BYTES).saturating_mul(MOST_BLOCK_BYTES).min(MAX_VALUE_BYTES);
        (len <= most).then_some(len)
    }

    /// The value. Fails with what was found instead of a frame that the dictionary belongs to.
    #[cfg(test)]
    fn value(&self, by: Option<&Dictionary>) -> Result<Result<Vec<u8>, String>> {
        let Some(len) = self.value_len(self.frame.len() as u64) else {
            return Ok(Err("no length".to_owned()));
        };
        let mut value = with_room(len as usize)?;
        Ok(self.copy_to(&mut value, len as usize, by)?.map(|()| value))
    }

    /// Writes the value, which has `len` bytes, into `out`, which holds that many. Fails with what was found instead of a
    /// frame of so many bytes that the dictionary belongs to.
    pub(crate) fn copy_to(
        &self,
        out: &mut (impl WriteBuf + ?Sized),
        len: usize,
        by: Option<&Dictionary>,
    ) -> Result<Result<(), String>> {
        let by = match by.map(|by| by.reading.as_ref()) {
            Some(None) => return Ok(Err("a dictionary that is lost".to_owned())),
            by => by.flatten(),
        };
        let read = with_context(&READING, reading_context, |context| {
            Ok(match by {
                Some(by) => context.decompress_using_ddict(out, self.frame, by),
                None => context.decompress(out, self.frame),
            })
        })?;
        Ok(match read {
            Ok(read) if read == len => Ok(()),
            Ok(read) => Err(format!("a frame of {read} bytes where {len} are named")),
            Err(code) => Err(format!("a frame that zstd refuses: {}", zstd_safe::get_error_name(code))),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Compressed, Dictionary, compress};

    fn rows(from: u32) -> Vec<Vec<u8>> {
        let row = |i: u32| {
            let (a, b) = (i.wrapping_mul(2_654_435_761) >> 20, i.wrapping_mul(40_503) >> 12);
            format!("{{\"carrier\": \"UA\", \"flight\": {a}, \"origin\": \"EWR\", \"minute\": {b}}}")
                .into_bytes()
        };
        (from..from + 4000).map(row).collect()
    }

    fn trained() -> std::sync::Arc<Dictionary> {
        let rows = rows(0);
        let lens: Vec<_> = rows.iter().map(Vec::len).collect();
        Dictionary::train(&rows.concat(), &lens, 2048).expect("memory").expect("they have much in common")
    }

    #[test]
    fn values_come_back_as_they_were_with_a_dictionary_and_without() {
        let dictionary = trained();
        let (long, same) = (rows(9).concat(), vec![7; 1 << 20]);
        for by in [None, Some(&*dictionary)] {
            for value in
                [&long[..24], &long[..255], &long[..256], &long[..257], &long[..65_792], &long, &same]
            {
                let mut out = b"before".to_vec();
                if !compress(value, by, &mut out).expect("memory") {
                    assert_eq!(out, b"before");
                    continue;
                }
                let stored = Compressed::of(&out[6..]).expect("a place and a frame");
                assert_eq!(stored.stored_len(), out.len() - 6);
                assert_eq!(stored.value_len(stored.frame.len() as u64), Some(value.len() as u64));
                assert_eq!(stored.value(by).expect("memory").as_deref(), Ok(value));
                if by.is_some() && value.len() < 300 {
                    let without = stored.value(None).expect("memory");
                    assert_ne!(without.as_deref(), Ok(value), "the dictionary was used");
                }
            }
        }
    }

    #[test]
    fn a_dictionary_makes_short_values_much_shorter() {
        let dictionary = trained();
        let bytes = |by| {
            let stored = |row: &Vec<u8>| {
                let mut out = Vec::new();
                if compress(row, by, &mut out).expect("memory") { out.len() } else { row.len() }
            };
            rows(10_000).iter().map(stored).sum::<usize>()
        };
        let (with, without) = (bytes(Some(&dictionary)), bytes(None));
        assert!(2 * with < without, "{with} {without}");
    }

    #[test]
    fn what_does_not_shrink_is_left_alone() {
        let mut state = 1_u64;
        let random: Vec<u8> = std::iter::repeat_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        })
        .take(5000)
        .collect();
        for len in [0, 1, 23, 24, 100, 5000] {
            let mut out = Vec::new();
            assert!(!compress(&random[..len], None, &mut out).expect("memory"));
            assert!(out.is_empty());
        }
    }

    #[test]
    fn what_takes_the_place_of_a_lost_dictionary_is_one_to_no_reader() {
        for noted in [0, 1, u64::MAX, 0x0123_4567_89ab_cdef] {
            let lost = Dictionary::lost(noted).expect("memory");
            assert_eq!(Dictionary::lost_at(lost.bytes()), Some(noted));
            assert!(std::sync::Arc::ptr_eq(&lost, &Dictionary::lost(noted).expect("memory")));
            let mut out = Vec::new();
            assert!(compress(&rows(5).concat(), None, &mut out).expect("memory"));
            let stored = Compressed::of(&out).expect("a place and a frame");
            assert!(stored.value(Some(&lost)).expect("memory").is_err(), "though no dictionary was needed");
            let bytes = lost.bytes().to_vec();
            drop(lost);
            assert!(Dictionary::of(&bytes).expect("memory").is_err(), "read from a file");
        }
        assert_eq!(Dictionary::lost_at(trained().bytes()), None);
    }

    #[test]
    fn equal_dictionaries_are_one() {
        let dictionary = trained();
        let again = Dictionary::of(dictionary.bytes()).expect("memory").expect("a dictionary");
        assert!(std::sync::Arc::ptr_eq(&dictionary, &again));
    }

    #[test]
    fn a_frame_that_is_cut_or_changed_is_refused_or_another_value_and_takes_no_memory_that_it_cannot_fill() {
        let value = &rows(5).concat()[..4000];
        let mut out = Vec::new();
        assert!(compress(value, None, &mut out).expect("memory"));
        for len in 0..out.len() {
            let cut = Compressed::of(&out[..len]).map(|cut| cut.value(None).expect("memory"));
            assert!(!matches!(cut, Some(Ok(_))), "length {len}");
        }
        for bit in 32..out.len() * 8 {
            let mut changed = out.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            let _ = Compressed::of(&changed).expect("long enough").value(None).expect("memory in proportion");
        }
        let forged = [0, 0, 0, 0, 0b1110_0000, 255, 255, 255, 255, 0, 0, 0, 0, 1, 0, 0];
        let forged = Compressed::of(&forged).expect("long enough");
        assert_eq!(forged.value_len(forged.frame.len() as u64), None, "four gigabytes in twelve bytes");
    }
}
