//! A survey of the tree: every data node with its model, and where keys are compared with where they are
//! predicted.
//!
//! For people, for pictures, and for tests that attack a tree whose shape they know. `O(slots)`.

use crate::key::Key;
use crate::node::{Leaf, NIL, NodeId, bitmap};
use crate::tree::Alex;

/// Number of classes of prediction errors. Class 0 has no error; class `c` has errors of `c` binary digits.
pub const ERROR_CLASSES: usize = 16;

/// One data node.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct LeafSurvey<K = i64> {
    /// Nodes on the path to it, itself included.
    pub depth: usize,
    /// Its keys.
    pub keys: usize,
    /// Its slots, gaps included.
    pub slots: usize,
    /// The number of keys at which an insert makes room first.
    pub grows_at: usize,
    /// Its smallest key; 0 if it is empty.
    pub first_key: K,
    /// Its largest key; 0 if it is empty.
    pub last_key: K,
    /// Whether no model fits it, so that it is searched by binary search.
    pub plain: bool,
    /// The slot that its model predicts for `first_key`; 0 if there is no model.
    pub first_slot: usize,
    /// The slot that its model predicts for `last_key`; 0 if there is no model.
    pub last_slot: usize,
    /// The slot of `first_key`.
    pub first_at: usize,
    /// The slot of `last_key`.
    pub last_at: usize,
    /// Mean distance between a key's predicted slot and its own; 0 if there is no model.
    pub mean_error: f64,
    /// The greatest such distance.
    pub max_error: usize,
    /// Slots of the longest run without a gap. One insert into the node moves at most half of them.
    pub longest_run: usize,
    /// The key in the middle of that run.
    pub longest_run_key: K,
}

/// The data nodes and prediction errors of a tree, from [`Alex::survey`].
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Survey<K = i64> {
    /// The data nodes, in key order.
    pub leaves: Vec<LeafSurvey<K>>,
    /// How many keys of data nodes with a model have a prediction error of each class.
    pub errors: [usize; ERROR_CLASSES],
}

/// The class of an error, which is given in slots.
fn class(error: usize) -> usize {
    ((usize::BITS - error.leading_zeros()) as usize).min(ERROR_CLASSES - 1)
}

impl<K: Key> Alex<K> {
    /// Surveys every data node and every prediction error. `O(slots)`.
    pub fn survey(&self) -> Survey<K> {
        K::survey(self)
    }

    pub(crate) fn do_survey(&self) -> Survey<K> {
        let mut survey = Survey::default();
        self.survey_node(self.root, 1, &mut survey);
        survey
    }

    /// The keys of the data node with number `at` in key order, each with its slot and its predicted slot,
    /// which is its own where there is no model. Empty if there is no such node.
    pub fn leaf_slots(&self, at: usize) -> Vec<(K, usize, usize)> {
        let mut id = self.first_leaf;
        for _ in 0..at {
            if id == NIL {
                break;
            }
            id = self.arena.leaf(id).head.next;
        }
        if id == NIL {
            return Vec::new();
        }
        let leaf = self.arena.leaf(id);
        let occupied = (0..leaf.keys.len()).filter(|&slot| bitmap::is_set(leaf.bits, slot));
        let expected =
            |slot: usize| if leaf.head.model.is_plain() { slot } else { leaf.guess(leaf.keys[slot]) };
        occupied.map(|slot| (leaf.keys[slot], slot, expected(slot))).collect()
    }

    fn survey_node(&self, node: NodeId, depth: usize, survey: &mut Survey<K>) {
        if node.is_leaf() {
            let found = survey_leaf(&self.arena.leaf(node.id()), depth, &mut survey.errors);
            survey.leaves.push(found);
            return;
        }
        for run in self.arena.inner(node.id()).children.chunk_by(|a, b| a == b) {
            self.survey_node(NodeId(run[0]), depth + 1, survey);
        }
    }
}

fn survey_leaf<K: Key>(
    leaf: &Leaf<'_, K>,
    depth: usize,
    errors: &mut [usize; ERROR_CLASSES],
) -> LeafSurvey<K> {
    let (begin, end) = (leaf.head.begin as usize, leaf.head.end as usize);
    let mut found = LeafSurvey {
        depth,
        keys: leaf.head.count as usize,
        slots: leaf.keys.len(),
        grows_at: usize::from(leaf.head.grow_at),
        plain: leaf.head.model.is_plain(),
        ..LeafSurvey::default()
    };
    if begin == end {
        return found;
    }
    // The first and the last slot of `begin..end` hold entries.
    (found.first_key, found.last_key) = (leaf.keys[begin], leaf.keys[end - 1]);
    (found.first_at, found.last_at) = (begin, end - 1);
    if !found.plain {
        (found.first_slot, found.last_slot) = (leaf.guess(found.first_key), leaf.guess(found.last_key));
    }
    let (mut sum, mut run) = (0, 0);
    for slot in begin..end {
        if !bitmap::is_set(leaf.bits, slot) {
            run = 0;
            continue;
        }
        run += 1;
        if run > found.longest_run {
            (found.longest_run, found.longest_run_key) = (run, leaf.keys[slot - run / 2]);
        }
        if !found.plain {
            let error = leaf.guess(leaf.keys[slot]).abs_diff(slot);
            sum += error;
            found.max_error = found.max_error.max(error);
            errors[class(error)] += 1;
        }
    }
    if !found.plain {
        found.mean_error = sum as f64 / found.keys as f64;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::{ERROR_CLASSES, class};
    use crate::tree::Alex;

    #[test]
    fn error_classes_are_binary_digits() {
        assert_eq!([0, 1, 2, 3, 4, 7, 8, 16_383].map(class), [0, 1, 2, 2, 3, 3, 4, 14]);
        assert_eq!(class(usize::MAX), ERROR_CLASSES - 1);
    }

    #[test]
    fn a_survey_accounts_for_every_key_and_agrees_with_the_figures() {
        let mut tree = Alex::new();
        assert_eq!(tree.survey().leaves.len(), 1);
        for i in 0..60_000i64 {
            tree.insert(i * i, 0);
            tree.insert(-i * 1_000, 0);
        }
        let (survey, stats) = (tree.survey(), tree.stats());
        assert_eq!(survey.leaves.len(), stats.leaves);
        assert_eq!(survey.leaves.iter().map(|leaf| leaf.keys).sum::<usize>(), tree.len());
        assert_eq!(survey.leaves.iter().map(|leaf| leaf.slots).sum::<usize>(), stats.slots);
        assert_eq!(survey.leaves.iter().map(|leaf| leaf.depth).max(), Some(stats.height));
        assert_eq!(survey.leaves.iter().map(|leaf| leaf.max_error).max(), Some(stats.max_error));
        let modelled = survey.leaves.iter().filter(|leaf| !leaf.plain);
        assert_eq!(survey.errors.iter().sum::<usize>(), modelled.map(|leaf| leaf.keys).sum());
        for leaf in &survey.leaves {
            assert!(leaf.longest_run <= leaf.keys && leaf.keys <= leaf.grows_at, "{leaf:?}");
            assert!(leaf.first_key <= leaf.longest_run_key && leaf.longest_run_key <= leaf.last_key);
            assert!(tree.contains(leaf.longest_run_key) && leaf.first_slot <= leaf.last_slot);
        }
        let mut keys = 0;
        for (at, leaf) in survey.leaves.iter().enumerate() {
            let slots = tree.leaf_slots(at);
            let ((key, slot, guess), last) = (slots[0], slots[slots.len() - 1]);
            assert!(
                (key, slot) == (leaf.first_key, leaf.first_at) && (leaf.plain || guess == leaf.first_slot)
            );
            assert_eq!((last.0, last.1), (leaf.last_key, leaf.last_at));
            let worst = slots.iter().map(|&(_, slot, guess)| slot.abs_diff(guess)).max();
            assert_eq!((slots.len(), worst), (leaf.keys, Some(leaf.max_error)));
            keys += slots.len();
        }
        assert_eq!((keys, tree.leaf_slots(survey.leaves.len())), (tree.len(), Vec::new()));
        assert!(survey.leaves.is_sorted_by(|a, b| a.last_key < b.first_key));
    }
}
