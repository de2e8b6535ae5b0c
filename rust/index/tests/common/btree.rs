//! The B+tree that the index is compared with: a textbook tree with nodes of 64 keys, which counts its work
//! as the index counts its own.
//!
//! It searches each node by binary search. A full node is split into halves; a node that is less than half
//! full borrows from a neighbour or merges with it. A node has a header line, 64 keys, and 64 payloads or
//! children. The tree is kept plain on purpose, and is compared with `BTreeMap` in its own tests.

use alex_index::count;

const KEYS: usize = 64;
const HALF: usize = KEYS / 2;

/// A leaf or an inner node.
#[repr(C, align(64))]
struct Node {
    header: Header,
    keys: [i64; KEYS],
    /// The payloads of a leaf, or the ids of an inner node's children. Child `i` holds keys from `keys[i]`
    /// on; `keys[0]` of an inner node stands for every key below `keys[1]`.
    values: [u64; KEYS],
}

#[repr(C, align(64))]
struct Header {
    count: usize,
    is_leaf: bool,
}

impl Node {
    fn new(is_leaf: bool) -> Box<Self> {
        Box::new(Self { header: Header { count: 0, is_leaf }, keys: [0; KEYS], values: [0; KEYS] })
    }

    /// How many keys are less than or equal to `key`, by binary search.
    fn upper_bound(&self, key: i64) -> usize {
        let (mut low, mut high) = (0, self.header.count);
        while low < high {
            let middle = low.midpoint(high);
            count::touch_one(&self.keys[middle]);
            if self.keys[middle] <= key {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    /// The child that owns `key`.
    fn route(&self, key: i64) -> usize {
        let child = self.upper_bound(key).saturating_sub(1);
        count::touch_one(&self.values[child]);
        child
    }

    fn find(&self, key: i64) -> Option<usize> {
        let slot = self.upper_bound(key).checked_sub(1)?;
        if self.keys[slot] != key {
            return None;
        }
        count::touch_one(&self.values[slot]);
        Some(slot)
    }

    fn insert(&mut self, at: usize, key: i64, value: u64) {
        let end = self.header.count;
        count::moved(end - at);
        self.keys.copy_within(at..end, at + 1);
        self.values.copy_within(at..end, at + 1);
        count::touch_one(&self.keys[at]);
        count::touch_one(&self.values[at]);
        (self.keys[at], self.values[at]) = (key, value);
        self.header.count += 1;
    }

    fn remove(&mut self, at: usize) -> (i64, u64) {
        let end = self.header.count;
        count::moved(end - at - 1);
        let entry = (self.keys[at], self.values[at]);
        self.keys.copy_within(at + 1..end, at);
        self.values.copy_within(at + 1..end, at);
        self.header.count -= 1;
        entry
    }

    /// Moves the entries from position `at` on to the end of `other`.
    fn give(&mut self, at: usize, other: &mut Self) {
        let (end, to) = (self.header.count, other.header.count);
        count::moved(end - at);
        other.keys[to..to + end - at].copy_from_slice(&self.keys[at..end]);
        other.values[to..to + end - at].copy_from_slice(&self.values[at..end]);
        other.header.count += end - at;
        self.header.count = at;
    }
}

/// An ordered map from `i64` to `u64`.
pub struct BTree {
    nodes: Vec<Option<Box<Node>>>,
    free: Vec<usize>,
    root: usize,
    len: usize,
}

impl Default for BTree {
    fn default() -> Self {
        Self { nodes: vec![Some(Node::new(true))], free: Vec::new(), root: 0, len: 0 }
    }
}

impl BTree {
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn nodes(&self) -> usize {
        self.nodes.len() - self.free.len()
    }

    fn node(&self, id: usize) -> &Node {
        let node = self.nodes[id].as_ref().unwrap();
        count::touch_one(&node.header);
        node
    }

    fn node_mut(&mut self, id: usize) -> &mut Node {
        let node = self.nodes[id].as_mut().unwrap();
        count::touch_one(&node.header);
        node
    }

    fn allocate(&mut self, node: Box<Node>) -> usize {
        if let Some(id) = self.free.pop() {
            self.nodes[id] = Some(node);
            return id;
        }
        self.nodes.push(Some(node));
        self.nodes.len() - 1
    }

    pub fn get(&self, key: i64) -> Option<u64> {
        let mut node = self.node(self.root);
        while !node.header.is_leaf {
            node = self.node(node.values[node.route(key)] as usize);
        }
        node.find(key).map(|slot| node.values[slot])
    }

    /// The path to a leaf: inner nodes, each with the number of the child that the path takes, and the leaf.
    fn path(&self, key: i64) -> (Vec<(usize, usize)>, usize) {
        let (mut path, mut id) = (Vec::new(), self.root);
        loop {
            let node = self.node(id);
            if node.header.is_leaf {
                return (path, id);
            }
            let child = node.route(key);
            path.push((id, child));
            id = node.values[child] as usize;
        }
    }

    pub fn insert(&mut self, key: i64, payload: u64) -> Option<u64> {
        let (mut path, leaf) = self.path(key);
        let node = self.node_mut(leaf);
        if let Some(slot) = node.find(key) {
            return Some(std::mem::replace(&mut node.values[slot], payload));
        }
        self.len += 1;
        let (mut id, mut key, mut value) = (leaf, key, payload);
        loop {
            if self.node(id).header.count < KEYS {
                let node = self.node_mut(id);
                let at = node.upper_bound(key);
                node.insert(at, key, value);
                return None;
            }
            let mut right = Node::new(self.node(id).header.is_leaf);
            self.node_mut(id).give(HALF, &mut right);
            let first = right.keys[0];
            let into = if key >= first { &mut right } else { self.node_mut(id) };
            let at = into.upper_bound(key);
            into.insert(at, key, value);
            let right = self.allocate(right) as u64;
            match path.pop() {
                Some((parent, _)) => (id, key, value) = (parent, first, right),
                None => {
                    let mut root = Node::new(false);
                    root.insert(0, i64::MIN, self.root as u64);
                    root.insert(1, first, right);
                    self.root = self.allocate(root);
                    return None;
                }
            }
        }
    }

    pub fn remove(&mut self, key: i64) -> Option<u64> {
        let (mut path, leaf) = self.path(key);
        let node = self.node_mut(leaf);
        let slot = node.find(key)?;
        let (_, payload) = node.remove(slot);
        self.len -= 1;
        let mut id = leaf;
        while self.node(id).header.count < HALF {
            let Some((parent, child)) = path.pop() else { break };
            if !self.refill(parent, child) {
                break;
            }
            id = parent;
        }
        while !self.node(self.root).header.is_leaf && self.node(self.root).header.count == 1 {
            let old = self.root;
            self.root = self.node(old).values[0] as usize;
            self.nodes[old] = None;
            self.free.push(old);
        }
        Some(payload)
    }

    /// Borrows one entry for a child that is less than half full, or merges it with a neighbour. Returns
    /// whether it merged.
    fn refill(&mut self, parent: usize, child: usize) -> bool {
        let children = self.node(parent).header.count;
        let left = if child + 1 < children { child } else { child - 1 };
        let ids = [left, left + 1].map(|at| self.node(parent).values[at] as usize);
        let [mut low, mut high] = ids.map(|id| self.nodes[id].take().unwrap());
        count::touch_one(&low.header);
        count::touch_one(&high.header);
        let bound = self.node(parent).keys[left + 1];
        if !high.header.is_leaf {
            // The first key of an inner node may be stale; the parent has the right one.
            high.keys[0] = bound;
        }
        let merged = low.header.count + high.header.count <= KEYS;
        if merged {
            high.give(0, &mut low);
            self.node_mut(parent).remove(left + 1);
            self.free.push(ids[1]);
        } else {
            if low.header.count < high.header.count {
                let (key, value) = high.remove(0);
                let end = low.header.count;
                low.insert(end, key, value);
            } else {
                let (key, value) = low.remove(low.header.count - 1);
                high.insert(0, key, value);
            }
            let first = high.keys[0];
            self.node_mut(parent).keys[left + 1] = first;
            self.nodes[ids[1]] = Some(high);
        }
        self.nodes[ids[0]] = Some(low);
        merged
    }

    /// The entry with the smallest key.
    pub fn first(&self) -> Option<(i64, u64)> {
        let mut node = self.node(self.root);
        while !node.header.is_leaf {
            count::touch_one(&node.values[0]);
            node = self.node(node.values[0] as usize);
        }
        count::touch_one(&node.keys[0]);
        count::touch_one(&node.values[0]);
        (node.header.count > 0).then(|| (node.keys[0], node.values[0]))
    }
}
