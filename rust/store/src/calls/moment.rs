//! One moment for a read of many keys, however large it is: keys are looked up a piece at a time, so that no writer waits
//! long, and what a piece finds is put right by what was noted of changes meanwhile (`index/noted.rs`). Knows nothing of values.

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

/// The store as it was when this was made, for reading many keys; made by [`Store::moment`]. For one call: it keeps
/// the store from being closed.
pub struct Moment {
    pub(crate) shared: Arc<Shared>,
    /// `None` where nothing can change.
    seen: Option<Seen>,
    _running: Call,
}

struct Seen {
    /// Whatever any key pointed into.
    segments: Arc<Segments>,
    noted: Arc<Mutex<Noted>>,
}

impl Store {
    /// This moment, for a read of many keys. O(1).
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
    /// Appends where the records of `keys` were, and says in which segments that is. Holds the state's lock meanwhile:
    /// many keys are looked up in pieces.
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
            // Under the state's lock, so that nothing is changed between looking and this.
            seen.noted.lock().correct(keys, &mut locations[had..])?;
            Ok(Arc::clone(&seen.segments))
        })
    }
}
