//! A trial of the index beside a B+tree: the same operations on both, the answers compared, the work of
//! both counted, and the bounds of every input judged phase by phase.

use std::ops::Bound;

use alex_index::count::{self, Work};
use alex_index::{Alex, MAX_LEAF_SLOTS};

use super::btree::BTree;

/// No input may cost more than this many times the work of the B+tree ...
pub const MAX_RATIO: f64 = 3.0;
/// ... or more bytes a key than this,
pub const MAX_BYTES_PER_KEY: usize = 40;
/// a few leaves of a small tree aside.
pub const FREE_BYTES: usize = 64 << 10;
/// Model nodes on any path, and entries of all of them for each data node, whatever comes.
pub const MAX_HEIGHT: usize = 16;
/// Leaves' worth of slots that one operation may write: a leaf copied out and its two halves, a few times.
pub const MAX_OPERATION_LEAVES: u64 = 16;

/// Slots that only a change of structure moves.
const STRUCTURAL_SLOTS: u64 = 64;

/// What a phase cost so far.
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

    /// Starts with a loaded tree; the B+tree gets the same entries, uncounted.
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

    /// Prints nothing but what is broken.
    pub fn quiet(mut self) -> Self {
        self.quiet = true;
        self
    }

    /// Operations of the phase so far.
    pub fn operations(&self) -> u64 {
        self.phase.operations
    }

    /// The keys at this moment, ascending.
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

    /// Whether this insert cost more than a shift within a leaf can.
    pub fn insert_is_structural(&mut self, key: i64) -> bool {
        let before = self.phase.index;
        self.insert(key);
        self.phase.index.slots - before.slots > STRUCTURAL_SLOTS
    }

    /// The same for a removal.
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

    /// Removes the smallest entry, found by both for themselves.
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

    /// Forgets what the phase cost: it only set the stage.
    pub fn begin(&mut self) {
        self.tree.check().unwrap();
        self.phase = Phase::default();
    }

    /// Judges the phase and begins the next.
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
    /// All phases are judged before the test fails, so that one run shows the whole picture.
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert!(self.broken.is_empty(), "bounds broken:\n{}", self.broken.join("\n"));
        }
    }
}
