//! How far a writer may run ahead of the two threads that follow it: the checkpoint, so that opening never
//! replays more than a bounded piece of log, and compaction, so that only a bounded share of the disk is
//! dead.
//!
//! Each follower sets two limits on the growth of the log. Beyond the first, commits are slowed, the more so
//! the nearer they come to the second, which they do not pass. A follower that makes no progress raises its
//! limits, so that the writer goes on. Knows nothing of what the followers do. Checking is O(1), behind the
//! commit lock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

/// Halfway between the two limits, a byte costs this many nanoseconds: a writer of 250 MB/s then runs at half
/// speed.
const NANOS_PER_BYTE: f64 = 4.0;
/// Waits are accumulated to at least this, since a sleep takes about 60 us longer than requested.
const LEAST_NAP: Duration = Duration::from_millis(1);
/// The longest time that one commit waits, including accumulated waits of others.
const LONGEST_NAP: Duration = Duration::from_millis(100);

/// A thread that a writer may run ahead of, up to a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Follower {
    Checkpoint,
    Compaction,
}

impl Follower {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Checkpoint => "checkpoint",
            Self::Compaction => "compaction",
        }
    }
}

/// The byte count begins here, so that a limit can lie before the beginning.
const BEGIN: u64 = 1 << 62;

/// Both limits are in bytes of log since the store was opened, counted from [`BEGIN`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limit {
    pub(crate) slow_from: u64,
    pub(crate) stop_at: u64,
}

impl Limit {
    pub(crate) const NONE: Self = Self { slow_from: u64::MAX, stop_at: u64::MAX };
}

/// The writer's side: how far it is, and how far it may go. Guarded by the commit lock.
pub(crate) struct Flow {
    written: u64,
    checkpoint: Limit,
    compaction: Limit,
    /// The lower of the two limits from which commits are slowed.
    free_below: u64,
    /// Whether any thread follows the writer.
    followed: bool,
}

impl Default for Flow {
    fn default() -> Self {
        Self {
            written: BEGIN,
            checkpoint: Limit::NONE,
            compaction: Limit::NONE,
            free_below: u64::MAX,
            followed: false,
        }
    }
}

/// What a commit has to do before it may begin.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Wait {
    For(Duration),
    UntilThereIsRoom,
}

impl Flow {
    /// Bytes of log since the store was opened, counted from [`BEGIN`].
    pub(crate) fn written(&self) -> u64 {
        self.written
    }

    #[inline]
    pub(crate) fn wrote(&mut self, bytes: u64) {
        self.written += bytes;
    }

    /// Sets whether any thread follows from now on. If none does, commits never wait.
    pub(crate) fn follow(&mut self, followed: bool) {
        *self = Self { written: self.written, followed, ..Self::default() };
    }

    pub(crate) fn limit(&mut self, follower: Follower, limit: Limit) {
        if !self.followed {
            return;
        }
        match follower {
            Follower::Checkpoint => self.checkpoint = limit,
            Follower::Compaction => self.compaction = limit,
        }
        self.free_below = self.checkpoint.slow_from.min(self.compaction.slow_from);
    }

    /// Whether commits need not wait.
    #[inline]
    pub(crate) fn is_free(&self) -> bool {
        self.written < self.free_below
    }

    /// The follower that commits wait for, if any.
    pub(crate) fn behind(&self) -> Option<Follower> {
        if self.is_free() {
            return None;
        }
        let slower = self.share(self.checkpoint) >= self.share(self.compaction);
        Some(if slower { Follower::Checkpoint } else { Follower::Compaction })
    }

    /// The distance past the first limit divided by the distance left to the second; infinite if none is
    /// left.
    fn share(&self, limit: Limit) -> f64 {
        let before = limit.stop_at.saturating_sub(self.written);
        if before == 0 {
            return f64::INFINITY;
        }
        self.written.saturating_sub(limit.slow_from) as f64 / before as f64
    }

    /// How a commit of this many bytes must wait, if at all.
    pub(crate) fn wait(&self, bytes: u64) -> Option<Wait> {
        if self.is_free() {
            return None;
        }
        let share = self.share(self.checkpoint).max(self.share(self.compaction));
        if share.is_infinite() {
            return Some(Wait::UntilThereIsRoom);
        }
        Some(Wait::For(Duration::from_nanos((share * NANOS_PER_BYTE * bytes as f64) as u64)))
    }
}

/// How long commits have waited.
#[derive(Default)]
pub(crate) struct Waits {
    /// Nanoseconds of waiting that were too short to sleep for.
    owed: AtomicU64,
    waited: AtomicU64,
}

impl Waits {
    pub(crate) fn waited(&self) -> Duration {
        Duration::from_nanos(self.waited.load(Ordering::Relaxed))
    }

    /// Sleeps, or adds a short wait to those owed. The caller holds no lock.
    pub(crate) fn wait(&self, wait: Wait) {
        let nap = match wait {
            Wait::UntilThereIsRoom => LEAST_NAP,
            Wait::For(time) => {
                let owed = self.owed.fetch_add(time.as_nanos() as u64, Ordering::Relaxed);
                let nap = Duration::from_nanos(owed).saturating_add(time);
                if nap < LEAST_NAP {
                    return;
                }
                self.owed.store(0, Ordering::Relaxed);
                nap.min(LONGEST_NAP)
            }
        };
        thread::sleep(nap);
        self.waited.fetch_add(nap.as_nanos() as u64, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Flow, Follower, Limit, Wait};

    #[test]
    fn commits_are_slowed_more_the_nearer_they_come_and_do_not_pass() {
        let mut flow = Flow::default();
        flow.limit(Follower::Compaction, Limit { slow_from: 0, stop_at: 0 });
        assert_eq!(flow.wait(10), None, "nobody follows");
        flow.follow(true);
        let from = flow.written();
        flow.wrote(500);
        assert_eq!((flow.wait(10), flow.behind()), (None, None));
        flow.limit(Follower::Compaction, Limit { slow_from: from + 1000, stop_at: from + 2000 });
        flow.limit(Follower::Checkpoint, Limit { slow_from: from + 5000, stop_at: from + 6000 });
        assert_eq!((flow.wait(10), flow.behind()), (None, None));
        let mut before = Duration::ZERO;
        for _ in 0..14 {
            flow.wrote(100);
            if flow.written() > from + 1000 {
                let Some(Wait::For(time)) = flow.wait(1 << 20) else { panic!("{:?}", flow.wait(1 << 20)) };
                assert!(time > before, "{time:?} after {before:?}");
                before = time;
                assert_eq!(flow.behind(), Some(Follower::Compaction));
            }
        }
        flow.wrote(100);
        assert_eq!(flow.wait(1), Some(Wait::UntilThereIsRoom));
        flow.limit(Follower::Compaction, Limit::NONE);
        assert_eq!(flow.wait(1), None);
        flow.wrote(10_000);
        assert_eq!((flow.wait(1), flow.behind()), (Some(Wait::UntilThereIsRoom), Some(Follower::Checkpoint)));
    }
}
