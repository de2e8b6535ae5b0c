//! A trial of the index beside a B+tree: both do the same operations, their answers are compared and their
//! work is counted. Phase by phase, the trial judges whether the bounds hold that every input must stay
//! within.

use std::ops::Bound;

use alex_index::count::{self, Work};
use alex_index::{Alex, MAX_LEAF_SLOTS};

use super::btree::BTree;

/// The most work of the index for each unit of the B+tree's.
pub const MAX_RATIO: f64 = 3.0;
/// The most bytes of the index for each key.
pub const MAX_BYTES_PER_KEY: usize = 40;
/// Bytes that do not count in `MAX_BYTES_PER_KEY`: a small tree has a few leaves, however few its keys are.
pub const FREE_BYTES: usize = 64 << 10;
/// The most nodes on any path.
pub const MAX_HEIGHT: usize = 16;
/// The most slots that one operation may write, in leaves of the largest size: a leaf is copied out and its
/// two halves are written, a few times.
pub const MAX_OPERATION_LEAVES: u64 = 16;

/// An operation that moves more slots than this has changed the structure.
const STRUCTURAL_SLOTS: u64 = 64;

/// The work of a phase so far.
#[derive(Clone, Copy, Debug, Default)]
struct Phase {
    operations: u64,
    index: Work,
    reference: Work,
    worst: Work,
    most_bytes_per_key: f64,
}

pub struct Trial {
    pub tree: Alex,
    reference: BTree,
    phase: Phase,
    broken: Vec<String>,
    quiet: bool,
}

impl Trial {
    pub fn new() -> Self {
        Self::of(Alex::new())
    }

    /// A trial of a loaded tree. The B+tree gets the same entries, which is not counted.
    pub fn loaded(sorted: &[i64]) -> Self {
        let payloads: Vec<u64> = sorted.iter().map(|&key| !key as u64).collect();
        let mut trial = Self::of(Alex::from_sorted(sorted, &payloads).unwrap());
        for &key in sorted {
            trial.reference.insert(key, !key as u64);
        }
        trial
    }

    fn of(tree: Alex) -> Self {
        const { assert!(count::COUNTS, "a build without debug assertions does not count") };
        Self { tree, reference: BTree::default(), phase: Phase::default(), broken: Vec::new(), quiet: false }
    }

    /// Prints only the bounds that are broken.
    pub fn quiet(mut self) -> Self {
        self.quiet = true;
        self
    }

    /// How many operations the phase has had so far.
    pub fn operations(&self) -> u64 {
        self.phase.operations
    }

    /// The keys of the index, ascending.
    pub fn keys(&self) -> Vec<i64> {
        self.tree.range(Bound::Unbounded, Bound::Unbounded).map(|(key, _)| key).collect()
    }

    fn note(&mut self, index: Work, reference: Work) {
        let phase = &mut self.phase;
        phase.index += index;
        phase.reference += reference;
        phase.operations += 1;
        if index.cost() > phase.worst.cost() {
            phase.worst = index;
        }
        let over = self.tree.nbytes().saturating_sub(FREE_BYTES) as f64;
        phase.most_bytes_per_key = phase.most_bytes_per_key.max(over / self.tree.len().max(1) as f64);
    }

    pub fn insert(&mut self, key: i64) {
        let payload = !key as u64;
        let (found, index) = count::work(|| self.tree.insert(key, payload));
        let (expected, reference) = count::work(|| self.reference.insert(key, payload));
        assert_eq!(found, expected, "insert {key}");
        self.note(index, reference);
    }

    /// Inserts a key. Returns whether that changed the structure.
    pub fn insert_is_structural(&mut self, key: i64) -> bool {
        let before = self.phase.index;
        self.insert(key);
        self.phase.index.slots - before.slots > STRUCTURAL_SLOTS
    }

    /// Removes a key. Returns whether that changed the structure.
    pub fn remove_is_structural(&mut self, key: i64) -> bool {
        let before = self.phase.index;
        self.remove(key);
        self.phase.index.slots - before.slots > STRUCTURAL_SLOTS
    }

    pub fn remove(&mut self, key: i64) {
        let (found, index) = count::work(|| self.tree.remove(key));
        let (expected, reference) = count::work(|| self.reference.remove(key));
        assert_eq!(found, expected, "remove {key}");
        self.note(index, reference);
    }

    pub fn get(&mut self, key: i64) {
        let (found, index) = count::work(|| self.tree.get(key));
        let (expected, reference) = count::work(|| self.reference.get(key));
        assert_eq!(found, expected, "get {key}");
        self.note(index, reference);
    }

    /// Removes the entry with the smallest key, which index and B+tree each find by themselves.
    pub fn pop_first(&mut self) -> Option<i64> {
        let (found, index) = count::work(|| self.tree.first());
        let (expected, reference) = count::work(|| self.reference.first());
        assert_eq!(found, expected, "first");
        self.note(index, reference);
        let (key, _) = found?;
        self.remove(key);
        Some(key)
    }

    pub fn insert_all(&mut self, keys: impl IntoIterator<Item = i64>) {
        keys.into_iter().for_each(|key| self.insert(key));
    }

    pub fn remove_all(&mut self, keys: impl IntoIterator<Item = i64>) {
        keys.into_iter().for_each(|key| self.remove(key));
    }

    pub fn get_all(&mut self, keys: impl IntoIterator<Item = i64>) {
        keys.into_iter().for_each(|key| self.get(key));
    }

    /// Begins a phase, and forgets the work so far, which only prepared it.
    pub fn begin(&mut self) {
        self.tree.check().unwrap();
        self.phase = Phase::default();
    }

    /// Judges the phase, and begins the next.
    #[allow(clippy::print_stderr)]
    pub fn end(&mut self, name: &str) {
        self.tree.check().unwrap();
        assert_eq!(self.tree.len(), self.reference.len());
        let stats = self.tree.stats();
        let phase = std::mem::take(&mut self.phase);
        let each = |work: Work| work.cost() / phase.operations.max(1) as f64;
        let ratio = phase.index.cost() / phase.reference.cost().max(1.0);
        let report = format!(
            "{name:<44} {:>8} operations, {:6.1} lines each, B+tree {:5.1}: {ratio:4.2}; worst {:7.0}; \
             {:4.1} B/key; height {}, {} leaves, {} entries",
            phase.operations,
            each(phase.index),
            each(phase.reference),
            phase.worst.cost(),
            phase.most_bytes_per_key,
            stats.height,
            stats.leaves,
            stats.pointer_entries,
        );
        if !self.quiet {
            eprintln!("{report}");
        }
        let holds = ratio <= MAX_RATIO
            && phase.most_bytes_per_key <= MAX_BYTES_PER_KEY as f64
            && phase.worst.slots <= MAX_OPERATION_LEAVES * MAX_LEAF_SLOTS as u64
            && stats.height <= MAX_HEIGHT
            && stats.largest_leaf <= MAX_LEAF_SLOTS
            && stats.pointer_entries <= 32 * stats.leaves + 1_024 * stats.inner_nodes;
        if !holds {
            self.broken.push(report);
        }
    }
}

impl Drop for Trial {
    /// Fails the test here, after all phases were judged, so that one run shows every broken bound.
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert!(self.broken.is_empty(), "bounds broken:\n{}", self.broken.join("\n"));
        }
    }
}
