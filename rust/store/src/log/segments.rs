//! The open segments of a store, by id. Knows nothing of what is in them.

use std::path::PathBuf;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::format::location::Location;
use crate::log::segment::Segment;

/// The open segments by id; shared by everyone who still reads from them.
///
/// Ids that lie close together index a table. If they lie so far apart that most of the table would be empty,
/// they are found by binary search instead; only a forger makes such ids at once, and only years of writing
/// in small segments make them gradually. Memory is O(segments) either way.
#[derive(Clone, Default)]
pub(crate) struct Segments {
    /// The id of the table's first slot.
    first_id: u32,
    /// The table; empty while ids lie far apart.
    by_id: Vec<Option<Arc<Segment>>>,
    /// All segments in order of id while ids lie far apart; otherwise empty.
    apart: Vec<(u32, Arc<Segment>)>,
    count: usize,
}

/// The table has at most `PLACES_EACH` slots for each segment, and `PLACES_FREE` on top.
const PLACES_EACH: usize = 8;
const PLACES_FREE: usize = 1024;
/// So many records before it is counted as dead, a record's header is prefetched.
const COUNTED_AHEAD: usize = 16;

impl Segments {
    /// O(1) if the ids lie close together, otherwise O(log segments).
    #[inline]
    pub(crate) fn get(&self, id: u32) -> Option<&Arc<Segment>> {
        match self.by_id.get(id.wrapping_sub(self.first_id) as usize) {
            Some(place) => place.as_ref(),
            None => self.get_apart(id),
        }
    }

    #[cold]
    fn get_apart(&self, id: u32) -> Option<&Arc<Segment>> {
        let at = self.apart.binary_search_by_key(&id, |&(id, _)| id).ok()?;
        Some(&self.apart[at].1)
    }

    /// Adds a segment, replacing one with the same id. O(1) amortised if its id is higher than all others.
    pub(crate) fn insert(&mut self, segment: Arc<Segment>) {
        let id = segment.id();
        if self.apart.is_empty() && self.fits_table(id) {
            if self.by_id.is_empty() {
                self.first_id = id;
            } else if id < self.first_id {
                let missing = (self.first_id - id) as usize;
                self.by_id.splice(0..0, std::iter::repeat_n(None, missing));
                self.first_id = id;
            }
            let at = (id - self.first_id) as usize;
            if at >= self.by_id.len() {
                self.by_id.resize(at + 1, None);
            }
            if self.by_id[at].replace(segment).is_none() {
                self.count += 1;
            }
            return;
        }
        if self.apart.is_empty() {
            self.apart =
                std::mem::take(&mut self.by_id).into_iter().flatten().map(|it| (it.id(), it)).collect();
        }
        match self.apart.binary_search_by_key(&id, |&(id, _)| id) {
            Ok(at) => self.apart[at].1 = segment,
            Err(at) => {
                self.apart.insert(at, (id, segment));
                self.count += 1;
            }
        }
        self.bring_together();
    }

    /// Whether the table would stay dense enough with this id in it.
    fn fits_table(&self, id: u32) -> bool {
        let last = self.first_id.saturating_add(self.by_id.len().saturating_sub(1) as u32);
        let (first, last) =
            if self.by_id.is_empty() { (id, id) } else { (self.first_id.min(id), last.max(id)) };
        (last - first) as usize <= PLACES_FREE + PLACES_EACH * self.count
    }

    /// Goes back to a table if the ids now lie close together: twice as close as a table requires.
    fn bring_together(&mut self) {
        let (Some(&(first, _)), Some(&(last, _))) = (self.apart.first(), self.apart.last()) else { return };
        if (last - first) as usize > usize::midpoint(PLACES_FREE, PLACES_EACH * self.count) {
            return;
        }
        let apart = std::mem::take(&mut self.apart);
        self.by_id = vec![None; (last - first) as usize + 1];
        self.first_id = first;
        for (id, segment) in apart {
            self.by_id[(id - first) as usize] = Some(segment);
        }
    }

    /// Removes a segment that nothing points into. O(segments).
    pub(crate) fn remove(&mut self, id: u32) -> Option<Arc<Segment>> {
        if let Ok(at) = self.apart.binary_search_by_key(&id, |&(id, _)| id) {
            self.count -= 1;
            let removed = self.apart.remove(at).1;
            self.bring_together();
            return Some(removed);
        }
        let at = id.checked_sub(self.first_id)? as usize;
        let removed = self.by_id.get_mut(at)?.take()?;
        self.count -= 1;
        let leading = self.by_id.iter().take_while(|slot| slot.is_none()).count();
        self.by_id.drain(..leading);
        self.first_id += leading as u32;
        while let Some(None) = self.by_id.last() {
            self.by_id.pop();
        }
        Some(removed)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Segment>> {
        self.by_id.iter().flatten().chain(self.apart.iter().map(|(_, segment)| segment))
    }

    /// Hints that the record at this location is about to be read.
    #[inline]
    pub(crate) fn prefetch(&self, location: Location) {
        if let Some(segment) = self.get(location.segment()) {
            segment.prefetch(location.offset());
        }
    }

    /// The segment that a location from the index points into.
    #[inline]
    pub(crate) fn at(&self, location: Location) -> Result<&Arc<Segment>> {
        self.get(location.segment()).ok_or_else(|| Error::Corruption {
            path: PathBuf::from(Segment::name(location.segment())),
            offset: location.offset(),
            expected: "a segment that the index points to".to_owned(),
            found: "no such segment".to_owned(),
        })
    }
}

impl Segments {
    /// Counts records that nothing points to any more. Returns those that cannot be read now, to be counted
    /// later.
    ///
    /// The counts only advise compaction. A damaged record is reported to whoever needs its bytes; it must
    /// not fail the commit that replaced it. Calls `before_next` before each record is read.
    #[must_use]
    pub(crate) fn count_dead(&self, dead: &[Location], mut before_next: impl FnMut()) -> Vec<Location> {
        let mut left = Vec::new();
        for (i, &location) in dead.iter().enumerate() {
            before_next();
            if let Some(&soon) = dead.get(i + COUNTED_AHEAD) {
                self.prefetch(soon);
            }
            let Some(segment) = self.get(location.segment()) else { continue };
            match segment.record_size(location.offset()) {
                Ok(size) => segment.count_dead(size),
                Err(error) if error.says_not_now() => left.push(location),
                Err(_) => {}
            }
        }
        left
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::disk::sim::{Rng, SimDisk};
    use crate::disk::{Disk, DiskFile};
    use crate::format::header::SegmentHeader;

    fn segment(disk: &Arc<dyn Disk>, file: &Arc<dyn DiskFile>, id: u32) -> Arc<Segment> {
        let header = SegmentHeader::of_test(id, 4096);
        Arc::new(Segment::over(disk, header, Arc::clone(file), None, false))
    }

    #[test]
    fn a_table_of_segments_equals_a_map_wherever_the_ids_lie_and_stays_small() {
        let disk: Arc<dyn Disk> = Arc::new(SimDisk::new(1));
        let file = disk.create("file", 0).expect("a file");
        for seed in 0..200 {
            let mut rng = Rng::new(seed);
            let (mut table, mut model) = (Segments::default(), BTreeMap::new());
            let mut asked = vec![0, u32::MAX];
            for _ in 0..200 {
                let near = rng.below(40) as u32;
                let id = match rng.below(8) {
                    0 => u32::MAX - near,
                    1 => rng.next_u64() as u32,
                    2 => 5000 + near * 1000,
                    _ => near,
                };
                asked.push(id);
                if rng.one_in(3) {
                    let removed = table.remove(id).map(|it| it.id());
                    assert_eq!(removed, model.remove(&id).map(|_: Arc<Segment>| id), "seed {seed}");
                } else {
                    let new = segment(&disk, &file, id);
                    table.insert(Arc::clone(&new));
                    model.insert(id, new);
                }
                assert!(table.iter().map(|it| it.id()).eq(model.keys().copied()), "seed {seed}");
                assert!(
                    table.by_id.len() <= PLACES_FREE + PLACES_EACH * (model.len() + 40) + 1,
                    "seed {seed}"
                );
                for &id in &asked {
                    let (found, right) = (table.get(id), model.get(&id));
                    assert!(
                        match (found, right) {
                            (Some(found), Some(right)) => Arc::ptr_eq(found, right),
                            (None, None) => true,
                            _ => false,
                        },
                        "seed {seed}: {id}"
                    );
                }
            }
        }
    }
}
