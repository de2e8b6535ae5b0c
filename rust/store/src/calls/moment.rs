//! One moment for a read of many keys, however large: a version of the store. Keys are looked up one piece at a time, so
//! that no writer waits long. Knows nothing of values.

use std::sync::Arc;

use crate::calls::store::Reader;
use crate::engine::running_calls::Call;
use crate::engine::shared::Shared;
use crate::error::Result;
use crate::format::location::Location;
use crate::index::tree::Neighbour;
use crate::index::versions::Version;
use crate::keys::{KeyVec, Keys};
use crate::log::segments::Segments;

/// The store as it was when this was made, for reading many keys; made by [`Reader::moment`]. Meant for one
/// call: while it lives, closing the store waits.
pub struct Moment {
    pub(crate) shared: Arc<Shared>,
    pub(crate) version: Arc<Version>,
    _running: Call,
}

impl Reader {
    /// This moment, for reading many keys; for a snapshot, its own. O(log snapshots).
    pub fn moment(&self) -> Result<Moment> {
        let running = self.shared.enter()?;
        Ok(Moment { shared: Arc::clone(&self.shared), version: self.version()?, _running: running })
    }

    /// The version to read: the snapshot's, or one of this moment.
    pub(crate) fn version(&self) -> Result<Arc<Version>> {
        match &self.at {
            Some(version) => Ok(Arc::clone(version)),
            None => Ok(Arc::new(self.shared.read_parts()?.pin())),
        }
    }
}

impl Moment {
    /// Appends the locations of the records of `keys`, and returns the segments that they, and those of earlier calls,
    /// are in. Holds the state's lock meanwhile, so look up many keys in pieces.
    pub(crate) fn locate(
        &self,
        keys: Keys<'_>,
        locations: &mut Vec<Option<Location>>,
    ) -> Result<Arc<Segments>> {
        let had = locations.len();
        self.shared.mending(|| {
            locations.truncate(had);
            let state = self.shared.read_parts()?;
            let view = state.at(&self.version)?;
            view.locate(keys, locations)?;
            Ok(view.segments())
        })
    }

    /// Like [`Moment::locate`], of a neighbour of each key: appends that to `near`, and 0 for a key without one.
    pub(crate) fn locate_nearest(
        &self,
        keys: Keys<'_>,
        which: Neighbour,
        near: &mut KeyVec,
        locations: &mut Vec<Option<Location>>,
    ) -> Result<Arc<Segments>> {
        let had = (near.len(), locations.len());
        self.shared.mending(|| {
            near.truncate(had.0);
            locations.truncate(had.1);
            let state = self.shared.read_state()?;
            let view = state.at(&self.version)?;
            view.nearest(keys, which, near, locations)?;
            Ok(view.segments())
        })
    }
}
