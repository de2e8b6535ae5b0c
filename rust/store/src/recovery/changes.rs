//! What the records of the log change, and which of them count: those of whole commits. Opening and following read the
//! log by the same rules. Knows nothing of the index.

use crate::format::location::Location;
use crate::format::record::{BatchBegin, Kind, Record};
use crate::keys::{Key, Width};

/// One change to the index.
#[derive(Clone, Copy)]
pub(crate) enum Change {
    Put { key: Key, location: Location, size: u64 },
    Delete { key: Key },
    DeleteRange { first: Key, last: Key },
}

impl Change {
    /// The change that a record makes; `None` for records that change nothing, or whose value is not a key.
    pub(crate) fn of(record: &Record<'_>, location: Location) -> Option<Self> {
        let key = record.key;
        match record.kind {
            Kind::Put | Kind::BatchPut => Some(Self::Put { key, location, size: record.size() }),
            Kind::Tombstone | Kind::BatchTombstone => Some(Self::Delete { key }),
            Kind::RangeTombstone | Kind::BatchRangeTombstone => {
                Some(Self::DeleteRange { first: key, last: record.last_key()? })
            }
            Kind::BatchBegin | Kind::BatchCommit | Kind::Mark | Kind::Footer | Kind::Dictionary => None,
        }
    }
}

impl Change {
    /// Size of its record, if that is a tombstone.
    pub(crate) fn tombstone_bytes(&self, width: Width) -> u64 {
        match self {
            Self::Put { .. } => 0,
            Self::Delete { .. } => width.size_of_tombstone(),
            Self::DeleteRange { .. } => width.size_of_range_tombstone(),
        }
    }
}

/// A batch whose end was not reached yet.
struct OpenBatch {
    begin_offset: u64,
    end_offset: u64,
    records: u64,
    ops: Vec<(u64, Change)>,
}

/// The commits of one segment, record by record.
#[derive(Default)]
pub(crate) struct Commits {
    batch: Option<OpenBatch>,
    /// The highest watermark in anything accepted.
    pub(crate) watermark: u64,
}

impl Commits {
    /// Whether the last record ended a commit, so that the log may end behind it.
    pub(crate) fn is_whole(&self) -> bool {
        self.batch.is_none()
    }

    /// Accepts the next record, and passes on its change, or those of the batch that it ends, with their sequence
    /// numbers. An error says what is wrong with the record at this place.
    pub(crate) fn accept(
        &mut self,
        record: &Record<'_>,
        location: Location,
        mut apply: impl FnMut(u64, Change),
    ) -> Result<(), String> {
        let change = Change::of(record, location);
        let (seq, offset) = (record.seq, location.offset());
        match (record.kind, self.batch.as_mut()) {
            (Kind::Put | Kind::Tombstone | Kind::RangeTombstone, None) => {
                apply(seq, change.ok_or("a range tombstone without its last key")?);
            }
            (Kind::Mark | Kind::Footer, None) => {
                let named = record.number().ok_or("a mark without its watermark")?;
                self.watermark = self.watermark.max(named);
            }
            (Kind::Dictionary, None) => {}
            (Kind::BatchBegin, None) => {
                let BatchBegin { records, bytes } = record.batch().ok_or("a batch without its length")?;
                self.batch = Some(OpenBatch {
                    begin_offset: offset,
                    end_offset: offset.saturating_add(bytes.get()),
                    records: records.get(),
                    ops: Vec::new(),
                });
            }
            (Kind::BatchPut | Kind::BatchTombstone | Kind::BatchRangeTombstone, Some(open)) => {
                open.ops.push((seq, change.ok_or("a range tombstone without its last key")?));
            }
            (Kind::BatchCommit, Some(open)) => {
                let whole = record.number() == Some(open.records)
                    && open.ops.len() as u64 == open.records
                    && offset + record.size() == open.end_offset;
                if !whole {
                    return Err(format!(
                        "the end of a batch other than the one that began at {}",
                        open.begin_offset
                    ));
                }
                for (seq, change) in std::mem::take(&mut open.ops) {
                    apply(seq, change);
                }
                self.batch = None;
            }
            (kind, open) => {
                let place = if open.is_some() { "inside" } else { "outside" };
                return Err(format!("{kind:?} {place} a batch"));
            }
        }
        Ok(())
    }
}
