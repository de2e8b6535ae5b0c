//! A check of every invariant of the tree, node by node and slot by slot.
//!
//! Of model nodes: the shift is below the parent's, which bounds the depth; runs and counts of children
//! agree; a nested model node is in exactly one slot; all keys beyond one end of the range are in one leaf.
//! Of leaves: ends, order, gap rule, bitmap, counts and limits; each key is routed from the root to its own
//! leaf. Of the list: it links the leaves of the tree, in order, both ways. Of the arena: no byte is lost or
//! counted twice.
//!
//! `O(slots + keys * height)`.

use std::ops::Bound;

use crate::error::CheckError;
use crate::key::Key;
use crate::node::{Leaf, NIL, NodeId, bitmap, node_bytes};
use crate::tree::Alex;

/// What the walk over the tree has seen so far.
#[derive(Default)]
struct Walk<K> {
    leaves: Vec<u32>,
    keys: usize,
    last: Option<K>,
    bytes: usize,
}

macro_rules! require {
    ($place:expr, $holds:expr, $($message:tt)*) => {
        if !$holds {
            return Err(CheckError { place: $place.to_string(), message: format!($($message)*) });
        }
    };
}

impl<K: Key> Alex<K> {
    /// Checks every invariant. The error says which one does not hold, and where.
    pub fn check(&self) -> Result<(), CheckError> {
        K::check(self)
    }

    pub(crate) fn do_check(&self) -> Result<(), CheckError> {
        self.verify_image().map_err(|damage| CheckError {
            place: "the image that it was opened from".to_owned(),
            message: damage.to_string(),
        })?;
        let mut walk = Walk::default();
        self.check_node(self.root, K::BITS, &mut walk)?;
        self.check_list(&walk.leaves)?;
        require!("the tree", walk.keys == self.len, "{} keys in the leaves, len is {}", walk.keys, self.len);
        let live = self.arena.live_bytes();
        require!("the arena", walk.bytes == live, "nodes take {} bytes, {live} are allocated", walk.bytes);
        require!("the arena", self.arena.is_consistent(), "free and live units do not add up");
        self.check_tally()
    }

    /// Each part of the tally has as many keys as it says.
    fn check_tally(&self) -> Result<(), CheckError> {
        let Some(tally) = self.tally.get() else { return Ok(()) };
        let (starts, counts) = tally.parts();
        require!("the tally", starts.is_sorted_by(|a, b| a < b), "parts do not ascend");
        let mut found = vec![0; counts.len()];
        let mut part = 0;
        for (key, _) in self.range(Bound::Unbounded, Bound::Unbounded) {
            while starts.get(part).is_some_and(|&start| start <= key) {
                part += 1;
            }
            found[part] += 1;
        }
        require!("the tally", found == counts, "its parts hold {found:?} keys, and it says {counts:?}");
        Ok(())
    }

    fn check_node(&self, node: NodeId, below: u32, walk: &mut Walk<K>) -> Result<(), CheckError> {
        if node.is_leaf() {
            return self.check_leaf(node.id(), walk);
        }
        let inner = self.arena.inner(node.id());
        let head = inner.head;
        let place = format!("model node {}", node.id());
        walk.bytes += node_bytes::<K>(0, inner.children.len());
        require!(place, head.fanout >= 2, "fan-out {}", head.fanout);
        require!(place, head.shift < below, "shift {} is not below {below}", head.shift);
        let last = head.slot_start(inner.children.len() - 1);
        require!(place, last.is_some(), "its last slot begins above every key");
        let runs: Vec<&[u32]> = inner.children.chunk_by(|a, b| a == b).collect();
        require!(
            place,
            runs.len() == head.children as usize,
            "{} children, not {}",
            runs.len(),
            head.children
        );
        require!(place, runs.len() >= 2, "a single child");
        self.check_outside(node)?;
        for run in runs {
            let child = NodeId(run[0]);
            require!(place, child.is_leaf() || run.len() == 1, "a model node in {} slots", run.len());
            self.check_node(child, head.shift, walk)?;
        }
        Ok(())
    }

    /// Keys below a model node's range must all belong to one leaf of it, and so must keys above the range:
    /// extending a range moves the keys of one leaf only (`adapt/extend.rs`).
    fn check_outside(&self, node: NodeId) -> Result<(), CheckError> {
        let head = self.arena.inner(node.id()).head;
        let place = format!("model node {}", node.id());
        if let Some(beyond) = head.nominal_last().next() {
            let (near, far) = (self.leaf_below(node, beyond), self.leaf_below(node, K::MAX));
            require!(place, near == far, "keys from {beyond} on lie in leaves {near} to {far}");
        }
        if let Some(before) = head.nominal_first().previous() {
            let (near, far) = (self.leaf_below(node, before), self.leaf_below(node, K::MIN));
            require!(place, near == far, "keys up to {before} lie in leaves {far} to {near}");
        }
        Ok(())
    }

    fn check_leaf(&self, id: u32, walk: &mut Walk<K>) -> Result<(), CheckError> {
        let leaf = self.arena.leaf(id);
        let place = format!("leaf {id}");
        let (head, capacity) = (leaf.head, leaf.keys.len());
        let (begin, end, count) = (head.begin as usize, head.end as usize, head.count as usize);
        walk.leaves.push(id);
        walk.bytes += node_bytes::<K>(capacity, 0);
        require!(place, capacity > 0 && capacity.is_multiple_of(64), "capacity {capacity}");
        require!(place, capacity <= self.max_slots, "{capacity} slots, at most {}", self.max_slots);
        require!(place, begin <= end && end <= capacity, "ends {begin}..{end} of {capacity}");
        let set = bitmap::count(leaf.bits, 0, capacity);
        require!(place, set == count, "{set} slots occupied, count is {count}");
        require!(
            place,
            bitmap::count(leaf.bits, begin, end) == count,
            "occupied slots beyond {begin}..{end}"
        );
        require!(place, count <= usize::from(head.grow_at), "{count} keys, limit {}", head.grow_at);
        require!(place, usize::from(head.grow_at) < capacity, "limit {} of {capacity}", head.grow_at);
        require!(place, (count == 0) == (begin == end), "{count} keys in {begin}..{end}");
        if count > 0 {
            require!(place, bitmap::is_set(leaf.bits, begin), "no entry at begin {begin}");
            require!(place, bitmap::is_set(leaf.bits, end - 1), "no entry before end {end}");
        }
        check_gaps(&leaf, &place)?;
        for slot in (begin..end).filter(|&slot| bitmap::is_set(leaf.bits, slot)) {
            let key = leaf.keys[slot];
            require!(
                place,
                walk.last.is_none_or(|last| last < key),
                "key {key} at slot {slot} is out of order"
            );
            require!(place, self.leaf_of(key) == id, "key {key} routes to leaf {}", self.leaf_of(key));
            walk.last = Some(key);
        }
        walk.keys += count;
        Ok(())
    }

    fn check_list(&self, leaves: &[u32]) -> Result<(), CheckError> {
        let mut prev = NIL;
        let mut id = self.first_leaf;
        for &expected in leaves {
            require!("the leaf list", id == expected, "leaf {id} where the tree has {expected}");
            let head = self.arena.leaf(id).head;
            require!(
                "the leaf list",
                head.prev == prev,
                "leaf {id} names {} before it, not {prev}",
                head.prev
            );
            (prev, id) = (id, head.next);
        }
        require!("the leaf list", id == NIL, "leaf {id} after the last");
        require!("the leaf list", self.last_leaf == prev, "the last leaf is {prev}, not {}", self.last_leaf);
        Ok(())
    }
}

/// Checks the unoccupied slots: before the first entry they hold the least key, behind the last one the greatest,
/// and in between the key of the next entry. In a leaf with ghosts, any key will do in between that keeps the
/// slots sorted and is above the entry on the left.
fn check_gaps<K: Key>(leaf: &Leaf<'_, K>, place: &str) -> Result<(), CheckError> {
    let (begin, end) = (leaf.head.begin as usize, leaf.head.end as usize);
    for slot in 0..begin {
        require!(place, leaf.keys[slot] == K::MIN, "slot {slot} before the first entry holds a key");
    }
    for slot in end..leaf.keys.len() {
        require!(place, leaf.keys[slot] == K::MAX, "slot {slot} after the last entry holds a key");
    }
    for slot in begin..end.saturating_sub(1) {
        let (key, next) = (leaf.keys[slot], leaf.keys[slot + 1]);
        require!(place, key <= next, "slot {slot} holds {key}, the next one {next}");
        if bitmap::is_set(leaf.bits, slot) {
            require!(place, key < next, "entry {key} at slot {slot} is not the last of its run");
        } else {
            require!(place, key == next || leaf.head.ghosts != 0, "gap {slot} breaks the gap rule");
        }
    }
    Ok(())
}
