//! Compresses values on their way into the log, and keeps the dictionary for it: trained from the store's own values, first
//! from what is written and again by compaction. Knows nothing of records. Compressing is O(bytes); training takes some
//! tens of milliseconds, for which no lock is held that a reader or another writer waits for.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock};

use crate::error::Result;
use crate::format::compressed::{Compressed, Dictionary, LEAST_DICTIONARY_BYTES, compress};
use crate::format::location::Location;
use crate::log::batch::ValueSource;
use crate::log::dictionaries::Stored;
use crate::options::Options;
use crate::room::{room, with_room};
use crate::schema::Compression;
use crate::values::parallel;

/// A dictionary takes at most so many bytes, and at most this share of a segment. Larger ones of the demo's values make
/// them no smaller.
const MOST_DICTIONARY_BYTES: u64 = 16 << 10;
const SEGMENT_SHARE: u64 = 16;
/// A dictionary is trained from this many times its own bytes, and from no fewer than the second number; more did not make
/// it better (docs/dev/050). A segment gets one when that many bytes of values go into it.
const SAMPLES: u64 = 16;
const LEAST_SAMPLES: u64 = 8;
/// Longer values have little in common that a dictionary could hold.
pub(crate) const LONGEST_SAMPLE_BYTES: usize = 64 << 10;
/// Compaction knows how long records are, and takes at most so many times as many bytes of samples.
const TIMES_A_RECORD: u64 = 4;
const PASSES: usize = 16;
/// After samples that had nothing in common, the next attempt waits for this many times as many bytes, so that a small store
/// pays for two, and for no more than the second number: an attempt takes some tens of milliseconds, a tenth of what
/// writing and compressing so much does.
const PATIENCE: u64 = 16;
const LONGEST_WAIT_BYTES: u64 = 64 << 20;
/// A dictionary, or a newer one, must save this share of the bytes.
const LEAST_GAIN: f64 = 0.03;
/// Values on which dictionaries are compared.
const COMPARED: usize = 256;
/// Compressing takes about as long as copying this many times the bytes, which decides how many threads do it.
const TIMES_A_COPY: usize = 32;

/// One of so many samples is kept apart, to judge dictionaries by: one that was trained from it would hold it.
const JUDGED_EVERY: usize = 4;

/// Values from which a dictionary is trained, and others by which it is judged.
#[derive(Default)]
struct Samples {
    trained: Values,
    judged: Values,
    added: usize,
    /// Bytes of all values of which these are the first ones.
    seen: u64,
}

/// Values, one after another.
#[derive(Default)]
struct Values {
    bytes: Vec<u8>,
    lens: Vec<usize>,
}

impl Samples {
    /// Adds a value, unless those that are there have `most` bytes.
    fn add(&mut self, value: &[u8], most: u64) -> Result<()> {
        self.seen += value.len() as u64;
        if !(1..=LONGEST_SAMPLE_BYTES).contains(&value.len()) || self.trained.bytes.len() as u64 >= most {
            return Ok(());
        }
        self.added += 1;
        let judged = self.added.is_multiple_of(JUDGED_EVERY);
        let values = if judged { &mut self.judged } else { &mut self.trained };
        room(&mut values.bytes, value.len())?;
        room(&mut values.lens, 1)?;
        values.bytes.extend_from_slice(value);
        values.lens.push(value.len());
        Ok(())
    }

    /// What of each value only a record with `by` would hold, summed over some of the values kept apart.
    fn cost(&self, by: Option<&Dictionary>) -> Result<u64> {
        let (mut cost, mut out) = (0, Vec::new());
        let step = self.judged.lens.len().div_ceil(COMPARED).max(1);
        for value in self.judged.each().step_by(step) {
            out.clear();
            cost += if compress(value, by, &mut out)? { out.len() } else { value.len() } as u64;
        }
        Ok(cost)
    }
}

impl Values {
    fn each(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = &self.bytes[..];
        self.lens.iter().map(move |&len| {
            let (value, behind) = rest.split_at(len);
            rest = behind;
            value
        })
    }
}

/// What the writers of a store share for compressing values.
pub(crate) struct Compressor {
    compression: Compression,
    /// The most bytes of a dictionary, and of the samples for one.
    most_bytes: u64,
    most_samples: u64,
    current: RwLock<Option<Arc<Dictionary>>>,
    /// Where a record of the current dictionary is.
    at: Mutex<Option<Location>>,
    /// Whether the active segment holds the current dictionary.
    placed: AtomicBool,
    /// Bytes of values that went into the active segment.
    in_segment: AtomicU64,
    /// The values that were written while there was no dictionary.
    samples: Mutex<Samples>,
    /// A dictionary is trained when so many bytes were seen; never while one is being trained.
    train_at: AtomicU64,
}

impl Compressor {
    pub(crate) fn new(
        compression: Compression,
        options: &Options,
        found: Option<(Arc<Dictionary>, Location)>,
    ) -> Self {
        let most_bytes = (options.segment_bytes / SEGMENT_SHARE).min(MOST_DICTIONARY_BYTES);
        let most_samples = (SAMPLES * most_bytes).min(options.train_from_bytes);
        let (current, at) = found.unzip();
        Self {
            compression,
            most_bytes,
            most_samples,
            current: RwLock::new(current),
            at: Mutex::new(at),
            placed: AtomicBool::new(false),
            in_segment: AtomicU64::new(0),
            samples: Mutex::default(),
            train_at: AtomicU64::new(most_samples),
        }
    }

    /// Whether values are compressed.
    #[inline]
    pub(crate) fn is_on(&self) -> bool {
        self.compression != Compression::None
    }

    /// The log goes on in a new segment.
    pub(crate) fn rolled(&self) {
        self.placed.store(false, Ordering::Relaxed);
        self.in_segment.store(0, Ordering::Relaxed);
    }

    /// A record of this dictionary was written: to the active segment, or elsewhere.
    pub(crate) fn was_placed(&self, dictionary: &Arc<Dictionary>, at: Location, in_active: bool) {
        let current = self.current.read();
        if current.as_ref().is_some_and(|current| Arc::ptr_eq(current, dictionary)) {
            *self.at.lock() = Some(at);
            if in_active {
                self.placed.store(true, Ordering::Relaxed);
            }
        }
    }

    /// Where the current dictionary is, for the next opening.
    pub(crate) fn at(&self) -> Option<Location> {
        *self.at.lock()
    }

    /// Whether the next value completes the samples, so that the call with it trains a dictionary first.
    #[inline]
    pub(crate) fn trains_with(&self, value: &[u8]) -> bool {
        let due = |samples: parking_lot::MutexGuard<'_, Samples>| {
            samples.seen + value.len() as u64 >= self.train_at.load(Ordering::Relaxed)
        };
        self.is_on() && self.current.read().is_none() && self.samples.try_lock().is_none_or(due)
    }

    /// One value as it is to be stored.
    #[inline]
    pub(crate) fn one(&self, value: &[u8]) -> Result<One> {
        if self.is_on() { self.compressed(value) } else { Ok(One::default()) }
    }

    fn compressed(&self, value: &[u8]) -> Result<One> {
        if self.current.read().is_none() {
            let enough = {
                let mut samples = self.samples.lock();
                samples.add(value, self.most_samples)?;
                let due = samples.seen >= self.train_at.load(Ordering::Relaxed);
                due.then(|| std::mem::take(&mut *samples))
            };
            enough.map_or(Ok(()), |samples| self.train_first(&samples))?;
        }
        let by = self.dictionary_for(value.len() as u64);
        let mut out = Vec::new();
        let shorter = compress(value, by.as_deref(), &mut out)?;
        Ok(One { by: by.filter(|_| shorter), stored: out })
    }

    /// Many values as they are to be stored. Several threads compress a large batch.
    pub(crate) fn many<'v, V: ValueSource + ?Sized>(&self, values: &'v V) -> Result<Many<'v, V>> {
        let plain = Many::plain(values);
        if !self.is_on() || values.is_empty() {
            return Ok(plain);
        }
        let bytes: u64 = (0..values.len()).map(|i| values.get(i).len() as u64).sum();
        if self.current.read().is_none() {
            self.sample_batch(values, bytes)?;
        }
        let by = self.dictionary_for(bytes);
        let likely = bytes as usize / values.len();
        let part_len = parallel::part_len(values.len(), likely.saturating_mul(TIMES_A_COPY));
        let starts = (0..values.len()).step_by(part_len);
        let parts = parallel::map(starts, |start| {
            let end = values.len().min(start + part_len);
            let mut part = Part { ends: with_room(end - start)?, stored: Vec::new() };
            for i in start..end {
                compress(values.get(i), by.as_deref(), &mut part.stored)?;
                part.ends.push(part.stored.len());
            }
            Ok(part)
        });
        let parts = parts.into_iter().collect::<Result<Vec<_>>>()?;
        if parts.iter().all(|part| part.stored.is_empty()) {
            // Deletes, or values that do not get shorter: nothing needs a dictionary, or room for one.
            return Ok(plain);
        }
        Ok(Many { by, parts, part_len, ..plain })
    }

    /// The dictionary for values of this many bytes, which go into the active segment: none yet if it would take much of
    /// what is there.
    fn dictionary_for(&self, bytes: u64) -> Option<Arc<Dictionary>> {
        let there = self.in_segment.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let current = self.current.read();
        let current = current.as_ref()?;
        let pays = there >= self.least_samples(current.bytes().len() as u64);
        (pays || self.placed.load(Ordering::Relaxed)).then(|| Arc::clone(current))
    }

    /// Takes samples of a batch, from all of it if it is large, and trains a dictionary once there are enough.
    fn sample_batch<V: ValueSource + ?Sized>(&self, values: &V, bytes: u64) -> Result<()> {
        let most = self.most_samples;
        let enough = {
            let mut samples = self.samples.lock();
            let (before, step) = (samples.seen, bytes.div_ceil(most).max(1) as usize);
            for i in (0..values.len()).step_by(step) {
                samples.add(values.get(i), most)?;
            }
            samples.seen = before + bytes;
            let train_at = self.train_at.load(Ordering::Relaxed);
            // A large batch shows what there is.
            let large = train_at <= most && bytes >= self.least_samples(self.most_bytes);
            (large || samples.seen >= train_at).then(|| std::mem::take(&mut *samples))
        };
        enough.map_or(Ok(()), |samples| self.train_first(&samples))
    }

    /// From how many bytes of values on a dictionary of this length pays.
    fn least_samples(&self, dictionary: u64) -> u64 {
        (LEAST_SAMPLES * dictionary).min(self.most_samples)
    }

    /// Trains the first dictionary, on one thread at a time.
    fn train_first(&self, samples: &Samples) -> Result<()> {
        let due = self.train_at.swap(u64::MAX, Ordering::Relaxed);
        if due == u64::MAX {
            return Ok(());
        }
        let trained = self.train(samples);
        // It takes time, and there may never be anything in common.
        let next = due.max(samples.seen).saturating_mul(PATIENCE).min(LONGEST_WAIT_BYTES);
        self.train_at.store(next, Ordering::Relaxed);
        trained.map(|_| ())
    }

    /// Trains a dictionary, which becomes the current one if it saves more than that. Returns whether it did.
    fn train(&self, samples: &Samples) -> Result<bool> {
        if self.most_bytes < LEAST_DICTIONARY_BYTES as u64 {
            return Ok(false);
        }
        let trained = {
            let Values { bytes, lens } = &samples.trained;
            Dictionary::train(bytes, lens, self.most_bytes as usize)?
        };
        let Some(trained) = trained else { return Ok(false) };
        let current = self.current.read().clone();
        let (cost, now) = (samples.cost(Some(&trained))?, samples.cost(current.as_deref())?);
        let better = (cost as f64) < now as f64 * (1.0 - LEAST_GAIN);
        if better {
            *self.current.write() = Some(trained);
            *self.at.lock() = None;
            self.placed.store(false, Ordering::Relaxed);
        }
        Ok(better)
    }

    /// Trains again from values that compaction is about to write, whose records have `bytes` in all: some of `count` values
    /// that `value` reads. Returns the dictionary that suits them best, if any.
    pub(crate) fn for_relocation(
        &self,
        count: usize,
        bytes: u64,
        mut value: impl FnMut(usize) -> Result<Vec<u8>>,
    ) -> Result<Option<Arc<Dictionary>>> {
        if !self.is_on() || bytes < self.least_samples(self.most_bytes) {
            return Ok(None);
        }
        let mut samples = Samples::default();
        let step = bytes.div_ceil(self.most_samples).max(1) as usize;
        // `bytes` are those of records, and values may be much longer: several passes from the first to the last value, each
        // between those of the others, until there is enough.
        let most = self.most_samples.saturating_mul(TIMES_A_RECORD);
        for pass in 0..PASSES {
            for i in (pass * step..count).step_by(PASSES * step) {
                if (samples.trained.bytes.len() as u64) < most {
                    samples.add(&value(i)?, most)?;
                }
            }
        }
        self.train(&samples)?;
        let current = self.current.read().clone();
        let Some(current) = current else { return Ok(None) };
        let saves = samples.cost(Some(&current))? < samples.cost(None)?;
        Ok(saves.then_some(current))
    }
}

/// One value as it is to be stored.
#[derive(Default)]
pub(crate) struct One {
    by: Option<Arc<Dictionary>>,
    /// Empty if the value is stored as it is.
    stored: Vec<u8>,
}

impl One {
    /// The value, which is the one that this was made from.
    #[inline]
    pub(crate) fn stored<'a>(&'a self, value: &'a [u8]) -> Stored<'a> {
        as_stored(value, &self.stored, self.by.as_ref())
    }
}

/// Many values as they are to be stored.
pub(crate) struct Many<'v, V: ?Sized> {
    values: &'v V,
    pub(crate) by: Option<Arc<Dictionary>>,
    /// Empty if all values are stored as they are.
    parts: Vec<Part>,
    part_len: usize,
}

/// The compressed values of one thread.
struct Part {
    /// Where each value ends; nothing lies between its ends if it is stored as it is.
    ends: Vec<usize>,
    stored: Vec<u8>,
}

impl<'v, V: ValueSource + ?Sized> Many<'v, V> {
    /// Values that are stored as they are.
    pub(crate) fn plain(values: &'v V) -> Self {
        Self { values, by: None, parts: Vec::new(), part_len: 1 }
    }

    /// The i-th value.
    #[inline]
    pub(crate) fn get(&self, i: usize) -> Stored<'_> {
        let value = self.values.get(i);
        if self.parts.is_empty() {
            return Stored::Plain(value);
        }
        let (part, at) = (&self.parts[i / self.part_len], i % self.part_len);
        let start = if at == 0 { 0 } else { part.ends[at - 1] };
        as_stored(value, &part.stored[start..part.ends[at]], self.by.as_ref())
    }

    /// Whether any value may be compressed.
    pub(crate) fn is_compressed(&self) -> bool {
        !self.parts.is_empty()
    }

    /// A hint that the values from the i-th on are about to be copied, in order.
    #[inline]
    pub(crate) fn prefetch(&self, i: usize) {
        if self.parts.is_empty() {
            self.values.prefetch(i);
        }
    }
}

fn as_stored<'a>(value: &'a [u8], stored: &'a [u8], by: Option<&'a Arc<Dictionary>>) -> Stored<'a> {
    match Compressed::of(stored) {
        Some(Compressed { frame, .. }) => Stored::Compressed { frame, by },
        None => Stored::Plain(value),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::{Compressor, LONGEST_WAIT_BYTES};
    use crate::options::Options;
    use crate::schema::Compression;

    #[test]
    fn after_a_large_batch_with_nothing_in_common_the_next_training_is_not_out_of_reach() {
        let compressor = Compressor::new(Compression::Zstd, &Options::default(), None);
        let mut state = 1_u64;
        let mut random = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33).to_le_bytes()[..4].try_into().expect("four bytes")
        };
        let values: Vec<[u8; 64]> = (0..1 << 17)
            .map(|_| std::array::from_fn::<[u8; 4], 16, _>(|_| random()).concat().try_into().expect("64"))
            .collect();
        compressor.many(&values[..]).expect("memory");
        assert!(compressor.current.read().is_none(), "nothing can be learnt from noise");
        assert_eq!(compressor.train_at.load(Ordering::Relaxed), LONGEST_WAIT_BYTES);
    }
}
