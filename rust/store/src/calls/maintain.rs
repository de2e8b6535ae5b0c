//! Calls that maintain a store: flush, checkpoint, compact. Their own layers know how each is done.

use crate::calls::store::Store;
use crate::engine::compaction_state::CompactReport;
use crate::error::Result;
use crate::progress::OpenProgress;

impl Store {
    /// Returns when everything written before the call is safe on the device, in the directory that the path
    /// leads to. If the path leads to another directory by now, everything is safe where the store was moved
    /// to, and this returns [`Error::Moved`].
    ///
    /// [`Error::Moved`]: crate::Error::Moved
    pub fn flush(&self) -> Result<()> {
        self.shared.check_usable()?;
        if self.read_only() {
            return Ok(());
        }
        self.shared.flush_in_place(self.shared.watermarks.last())
    }

    /// Writes an image of the index now; the next opening starts from it. Writers and readers go on.
    ///
    /// O(keys). Does nothing if nothing was written since the last image.
    pub fn checkpoint(&self) -> Result<()> {
        let _running = self.shared.enter()?;
        self.shared.checkpoint()
    }

    /// Moves live records together and frees the disk space of all others, unless open scans, values or
    /// backups hold it. `progress` is called between two pieces of work, with no lock held. Once it returns
    /// false, the call ends with [`Error::Interrupted`], and what was done by then stays done.
    ///
    /// O(bytes of the store) at most; writes and reads go on meanwhile.
    ///
    /// [`Error::Interrupted`]: crate::Error::Interrupted
    pub fn compact(&self, progress: &mut dyn FnMut(OpenProgress) -> bool) -> Result<CompactReport> {
        let _running = self.shared.enter()?;
        self.shared.compact(progress)
    }

    /// Ends the active segment and compacts those ended segments whose ids are `chosen`, however little it
    /// gains. For tests that try every order.
    #[doc(hidden)]
    pub fn compact_some(&self, chosen: &dyn Fn(u32) -> bool) -> Result<()> {
        let mut compaction = self.shared.compacting.lock();
        self.shared.end_segment()?;
        let mut inputs = self.shared.inputs(&compaction);
        inputs.retain(|input| chosen(input.segment.id()));
        self.shared.empty(&mut compaction, inputs, &mut |_| self.shared.check_writable())?;
        self.shared.free_emptied(&mut compaction)
    }

    /// Moves the log on to a new segment. For tests that need to control where.
    #[doc(hidden)]
    pub fn end_segment(&self) -> Result<()> {
        self.shared.end_segment()
    }

    /// Runs each periodic task of the background threads once, now. For tests that need to control when.
    #[doc(hidden)]
    pub fn tend(&self) -> Result<()> {
        self.shared.check_writable()?;
        self.shared.prepare();
        self.shared.checkpoint_if_due();
        self.shared.compact_if_due()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;
    use std::time::Duration;

    use crate::calls::store::Store;
    use crate::engine::flow::Follower;
    use crate::options::Options;

    #[test]
    fn a_pinned_segment_keeps_its_file_and_the_others_of_its_unit_until_it_is_let_go() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let options = Options { background: false, segment_bytes: 8192, ..Options::default() };
        let store = Store::open(dir.path(), &options, &mut |_| true).expect("opens");
        for round in 0..4 {
            for key in 0..100 {
                store.put(key, &[round; 40]).expect("writes");
            }
        }
        store.end_segment().expect("ends");
        let there = |id: u32| {
            std::fs::exists(dir.path().join(crate::log::segment::Segment::name(id))).expect("reads")
        };
        let pin = {
            let _catalog = store.shared.catalog.lock();
            store.shared.state.read().segments.get(1).expect("there").pin()
        };
        store.compact_some(&|id| id <= 2).expect("copies");
        assert!(there(1) && there(2), "one is pinned, and both go together");
        store.compact(&mut |_| true).expect("frees the others");
        assert!(!there(3) && there(pin.segment().id()));
        drop(pin);
        store.compact(&mut |_| true).expect("frees it");
        assert!(!there(1) && !there(2));
        assert!(store.verify(&mut |_| true).expect("reads").is_ok());
    }

    #[test]
    fn a_commit_that_waits_for_a_checkpoint_makes_sure_that_one_is_made() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let store = Store::open(dir.path(), &Options::default(), &mut |_| true).expect("opens");
        store.put(1, b"one").expect("writes");
        {
            let mut writing = store.shared.writing.lock();
            // As after an image that was made to free space, much smaller than the one before.
            writing.images.tail_bytes = 1 << 30;
            writing.bound_tail();
            assert_eq!(writing.flow.behind(), Some(Follower::Checkpoint));
        }
        let (told, ended) = mpsc::channel();
        let writer = store.clone();
        // Left running if it hangs.
        thread::spawn(move || told.send(writer.put(2, b"two").is_ok()));
        assert_eq!(ended.recv_timeout(Duration::from_secs(20)), Ok(true));
    }
}
