//! Measures how long the commit lock and the state's lock are held, for each place that takes them, and how
//! long threads wait for them. This is how "no put is blocked inside our locks for more than 5 ms" is checked
//! (`benches/lock_times.rs`). Only with the feature `lock-times`. Knows nothing of what the locks protect.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fs::File;
use std::ops::{Deref, DerefMut};
use std::os::unix::fs::FileExt;
use std::panic::Location;
use std::time::Instant;

use parking_lot::{Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// What one place in the code did with one lock.
#[doc(hidden)]
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct LockTimes {
    /// Nanoseconds of each hold, without the time in which the scheduler ran others, and without the time in
    /// which the holder waited for the other of these locks: that time is charged to whoever held it.
    pub held: Histogram,
    /// The longest hold by the clock, in nanoseconds, with nothing left out.
    pub longest_by_the_clock: u64,
    /// Nanoseconds of each wait, when the lock was not free at once.
    pub waited: Histogram,
}

/// Counts of durations, in steps of a sixteenth of their power of two.
#[doc(hidden)]
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Histogram {
    steps: Box<[u64; STEPS]>,
    longest: u64,
}

const STEPS: usize = 16 * 64;

impl Default for Histogram {
    fn default() -> Self {
        Self { steps: Box::new([0; STEPS]), longest: 0 }
    }
}

impl Histogram {
    /// Adds one duration.
    pub fn add(&mut self, nanos: u64) {
        self.steps[Self::step(nanos)] += 1;
        self.longest = self.longest.max(nanos);
    }

    fn step(nanos: u64) -> usize {
        let scale = nanos.max(16).ilog2() - 4;
        (scale as usize) * 16 + (nanos >> scale) as usize
    }

    fn absorb(&mut self, other: &Self) {
        self.steps.iter_mut().zip(other.steps.iter()).for_each(|(mine, more)| *mine += more);
        self.longest = self.longest.max(other.longest);
    }

    /// How many durations there are.
    pub fn count(&self) -> u64 {
        self.steps.iter().sum()
    }

    /// The duration that this share of them did not exceed, at most a sixteenth too long; for all of them,
    /// the longest.
    pub fn at(&self, share: f64) -> u64 {
        let rank = (self.count() as f64 * share) as u64;
        let mut below = 0;
        for (step, &count) in self.steps.iter().enumerate() {
            below += count;
            if below > rank {
                let next = step as u64 + 1;
                let end = if next < 32 { next } else { (next % 16 + 16) << (next / 16 - 1) };
                return (end - 1).min(self.longest);
            }
        }
        self.longest
    }
}

#[doc(hidden)]
pub type Places = BTreeMap<(&'static str, u32, &'static str), LockTimes>;

/// Times of the threads that have ended.
static ENDED: Mutex<Places> = Mutex::new(Places::new());

#[derive(Default)]
struct Mine(RefCell<Places>);

impl Drop for Mine {
    fn drop(&mut self) {
        self.hand_over();
    }
}

impl Mine {
    fn hand_over(&self) {
        let mut ended = ENDED.lock();
        for (place, times) in self.0.take() {
            let sum = ended.entry(place).or_default();
            sum.held.absorb(&times.held);
            sum.waited.absorb(&times.waited);
            sum.longest_by_the_clock = sum.longest_by_the_clock.max(times.longest_by_the_clock);
        }
    }
}

/// The times since the last call of this thread and of all threads that have ended, by file, line and kind of
/// lock. (A running thread keeps its own account, since a shared one would be one more lock.)
#[doc(hidden)]
pub fn lock_times() -> Places {
    MINE.with(Mine::hand_over);
    std::mem::take(&mut ENDED.lock())
}

fn note(place: &'static Location<'static>, kind: &'static str, note: impl FnOnce(&mut LockTimes)) {
    // If the thread's own account is gone, the thread is ending.
    let _ = MINE.try_with(|mine| {
        note(mine.0.borrow_mut().entry((place.file(), place.line(), kind)).or_default());
    });
}

thread_local! {
    static MINE: Mine = Mine::default();
    /// The scheduler's statistics for this thread.
    static ACCOUNT: Option<File> = File::open("/proc/thread-self/schedstat").ok();
    /// Nanoseconds that this thread waited for these locks, without scheduling delays.
    static WAITED: Cell<u64> = const { Cell::new(0) };
}

/// Nanoseconds in which this thread could have run but others ran.
fn delayed() -> u64 {
    let mut text = [0; 64];
    let read = ACCOUNT.try_with(|file| file.as_ref()?.read_at(&mut text, 0).ok());
    let text = str::from_utf8(&text[..read.ok().flatten().unwrap_or(0)]).unwrap_or_default();
    text.split(' ').nth(1).and_then(|nanos| nanos.parse().ok()).unwrap_or(0)
}

/// Created when a lock is taken. Records the hold when dropped, after the lock is released.
struct Hold {
    place: &'static Location<'static>,
    kind: &'static str,
    since: Instant,
    delayed: u64,
    waited: u64,
}

impl Hold {
    fn begin(place: &'static Location<'static>, kind: &'static str) -> Self {
        Self { place, kind, delayed: delayed(), waited: WAITED.get(), since: Instant::now() }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let clock = self.since.elapsed().as_nanos() as u64;
        let held = clock.saturating_sub(delayed() - self.delayed + WAITED.get() - self.waited);
        note(self.place, self.kind, |times| {
            times.held.add(held);
            times.longest_by_the_clock = times.longest_by_the_clock.max(clock);
        });
    }
}

/// Waits if necessary, and records how long.
fn waited<T>(
    place: &'static Location<'static>,
    kind: &'static str,
    at_once: Option<T>,
    wait: impl FnOnce() -> T,
) -> T {
    at_once.unwrap_or_else(|| {
        let (since, before) = (Instant::now(), delayed());
        let guard = wait();
        let nanos = since.elapsed().as_nanos() as u64;
        WAITED.set(WAITED.get() + nanos.saturating_sub(delayed() - before));
        note(place, kind, |times| times.waited.add(nanos));
        guard
    })
}

macro_rules! guard {
    ($name:ident, $inner:ident) => {
        // Fields drop in order: the lock is released before the hold is recorded.
        pub(crate) struct $name<'l, T> {
            guard: $inner<'l, T>,
            _hold: Hold,
        }

        impl<T> Deref for $name<'_, T> {
            type Target = T;

            fn deref(&self) -> &T {
                &self.guard
            }
        }
    };
    ($name:ident, $inner:ident, mut) => {
        guard!($name, $inner);

        impl<T> DerefMut for $name<'_, T> {
            fn deref_mut(&mut self) -> &mut T {
                &mut self.guard
            }
        }
    };
}

guard!(TimedGuard, MutexGuard, mut);
guard!(TimedReadGuard, RwLockReadGuard);
guard!(TimedWriteGuard, RwLockWriteGuard, mut);

pub(crate) struct Timed<T>(Mutex<T>);

impl<T> Timed<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(Mutex::new(value))
    }

    #[track_caller]
    pub(crate) fn lock(&self) -> TimedGuard<'_, T> {
        let place = Location::caller();
        let guard = waited(place, "commit", self.0.try_lock(), || self.0.lock());
        TimedGuard { guard, _hold: Hold::begin(place, "commit") }
    }

    #[track_caller]
    pub(crate) fn try_lock(&self) -> Option<TimedGuard<'_, T>> {
        let guard = self.0.try_lock()?;
        Some(TimedGuard { guard, _hold: Hold::begin(Location::caller(), "commit") })
    }
}

pub(crate) struct TimedRw<T>(RwLock<T>);

impl<T> TimedRw<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(RwLock::new(value))
    }

    #[track_caller]
    pub(crate) fn read(&self) -> TimedReadGuard<'_, T> {
        let place = Location::caller();
        let guard = waited(place, "state, read", self.0.try_read(), || self.0.read());
        TimedReadGuard { guard, _hold: Hold::begin(place, "state, read") }
    }

    #[track_caller]
    pub(crate) fn try_read(&self) -> Option<TimedReadGuard<'_, T>> {
        let guard = self.0.try_read()?;
        Some(TimedReadGuard { guard, _hold: Hold::begin(Location::caller(), "state, read") })
    }

    #[track_caller]
    pub(crate) fn write(&self) -> TimedWriteGuard<'_, T> {
        let place = Location::caller();
        let guard = waited(place, "state, write", self.0.try_write(), || self.0.write());
        TimedWriteGuard { guard, _hold: Hold::begin(place, "state, write") }
    }

    #[track_caller]
    pub(crate) fn try_write(&self) -> Option<TimedWriteGuard<'_, T>> {
        let guard = self.0.try_write()?;
        Some(TimedWriteGuard { guard, _hold: Hold::begin(Location::caller(), "state, write") })
    }
}

#[cfg(test)]
mod tests {
    use super::Histogram;

    #[test]
    fn a_histogram_is_at_most_a_sixteenth_off() {
        let mut histogram = Histogram::default();
        for nanos in 1..=100_000 {
            histogram.add(nanos);
        }
        assert_eq!(histogram.count(), 100_000);
        for (share, exact) in [(0.0001, 10), (0.5, 50_000), (0.99, 99_000), (0.999, 99_900)] {
            let found = histogram.at(share);
            assert!((exact..=exact + exact / 16 + 1).contains(&found), "{share}: {found}");
        }
        assert_eq!(histogram.at(1.0), 100_000);
        for power in 0..64 {
            let mut one = Histogram::default();
            one.add(1 << power);
            assert_eq!(one.at(0.0), 1 << power);
        }
    }
}
