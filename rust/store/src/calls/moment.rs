//! One moment for a read of many keys, however large. Keys are looked up one piece at a time, so that no
//! writer waits long, and the result of each piece is corrected by the changes noted meanwhile
//! (`index/noted.rs`). Knows nothing of values.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::calls::store::Store;
use crate::engine::running_calls::Call;
use crate::engine::shared::Shared;
use crate::error::Result;
use crate::format::location::Location;
use crate::index::noted::Noted;
use crate::log::segments::Segments;
use crate::room::room;

/// The store as it was when this was made, for reading many keys; made by [`Store::moment`]. Meant for one
/// call: while it lives, closing the store waits.
pub struct Moment {
    pub(crate) shared: Arc<Shared>,
    /// `None` if nothing can change.
    seen: Option<Seen>,
    _running: Call,
}

struct Seen {
    /// The segments that any key pointed into.
    segments: Arc<Segments>,
    noted: Arc<Mutex<Noted>>,
}

impl Store {
    /// This moment, for reading many keys. O(1).
    pub fn moment(&self) -> Result<Moment> {
        let running = self.shared.enter()?;
        let seen = if self.shared.options.read_only {
            None
        } else {
            let noted = Arc::default();
            let state = self.shared.read_parts()?;
            state.moments.add(&noted);
            Some(Seen { segments: Arc::clone(&state.segments), noted })
        };
        Ok(Moment { shared: Arc::clone(&self.shared), seen, _running: running })
    }
}

impl Moment {
    /// Appends the locations of the records of `keys`, and returns the segments that they are in. Holds the
    /// state's lock meanwhile, so look up many keys in pieces.
    pub(crate) fn locate(
        &self,
        keys: &[i64],
        locations: &mut Vec<Option<Location>>,
    ) -> Result<Arc<Segments>> {
        room(locations, keys.len())?;
        let had = locations.len();
        self.shared.mending(|| {
            locations.truncate(had);
            let state = self.shared.read_parts()?;
            state.index.get_many(keys, |_, found| locations.push(found.map(Location)))?;
            let Some(seen) = &self.seen else { return Ok(Arc::clone(&state.segments)) };
            // Under the state's lock, so that nothing changes between the lookup and this.
            seen.noted.lock().correct(keys, &mut locations[had..])?;
            let seen = &seen.segments;
            let newer = |location: &Location| seen.get(location.segment()).is_none();
            if !locations[had..].iter().flatten().any(newer) {
                return Ok(Arc::clone(seen));
            }
            // The index was built anew, and points to copies that compaction has made since.
            let mut both = Segments::clone(seen);
            for segment in state.segments.iter().filter(|segment| seen.get(segment.id()).is_none()) {
                both.insert(Arc::clone(segment));
            }
            Ok(Arc::new(both))
        })
    }
}
