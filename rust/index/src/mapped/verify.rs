//! Verification of an opened image: before a data node is first used, its form and the checksums of its
//! blocks.
//!
//! A data node is used, and so changed, only after every block that it touches was compared with its
//! checksum. So each block is compared while it still is what was read from the file. Each node is also
//! checked for everything that other code relies on, the keys that model nodes send to it included. So even
//! an image with forged checksums causes no access outside the memory, no endless loop and no panic.
//!
//! Verifying is `O(bytes)`, once, in one pass; the arena knows what was verified. Of model nodes this file
//! knows only which keys they send to each data node (`image/open.rs`).

use std::ops::RangeInclusive;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::format::{BLOCK_BYTES, Damage, Header, block_at, check_crc, damage};
use super::memory::ImageMemory;
use crate::key::Key;
use crate::node::{BLOCK_SHIFT, CHUNK_BYTES, CHUNK_UNITS, Leaf, NIL, UNIT, bitmap, leaf_bytes, units_of};
use crate::search::{Kernel, Operation, Supported, dispatch};

/// A data node as the model nodes name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Named<K> {
    pub(crate) id: u32,
    /// The keys that the model nodes send to it.
    pub(crate) keys: RangeInclusive<K>,
}

/// An opened image, and how much of it was verified.
#[derive(Debug)]
pub(crate) struct Image<K> {
    memory: ImageMemory,
    header: Header,
    /// The checksum of each block: a copy, because the table in memory might change after it was checked.
    table: Vec<u32>,
    /// A bit for each block, set once its checksum was compared and right.
    compared: Vec<AtomicU64>,
    /// The ids of all data nodes, ascending.
    leaves: Vec<u32>,
    /// For each data node, the keys that it may hold.
    ranges: Vec<RangeInclusive<K>>,
    damage: OnceLock<Damage>,
    totals: Totals,
}

/// Totals of the nodes verified so far, to be compared with the totals in the header: counts that start from
/// a header that says too little would fall below zero later.
#[derive(Debug, Default)]
struct Totals {
    /// A bit for each block, set once its data nodes are counted.
    counted: Vec<AtomicU64>,
    keys: AtomicU64,
    /// Units of the data nodes counted so far and of all model nodes.
    units: AtomicU64,
    /// How many data nodes are not counted yet.
    left: AtomicUsize,
}

impl<K: Key> Image<K> {
    pub(crate) fn new(memory: ImageMemory, header: Header, table: Vec<u32>) -> Self {
        let compared = (0..table.len().div_ceil(64)).map(|_| AtomicU64::new(0)).collect();
        Self {
            memory,
            header,
            table,
            compared,
            leaves: Vec::new(),
            ranges: Vec::new(),
            damage: OnceLock::new(),
            totals: Totals::default(),
        }
    }

    /// Sets the data nodes, as the model nodes name them, and the units that the model nodes take.
    pub(crate) fn name(&mut self, leaves: Vec<Named<K>>, inner_units: u64) {
        let counted = (0..self.table.len().div_ceil(64)).map(|_| AtomicU64::new(0)).collect();
        let left = AtomicUsize::new(leaves.len());
        self.totals = Totals { counted, units: AtomicU64::new(inner_units), left, ..Totals::default() };
        (self.leaves, self.ranges) = leaves.into_iter().map(|named| (named.id, named.keys)).unzip();
    }

    /// The first damage that was found. From then on the index's answers may be wrong.
    pub(crate) fn damage(&self) -> Option<&Damage> {
        self.damage.get()
    }

    pub(crate) fn blocks(&self) -> usize {
        self.table.len()
    }

    pub(crate) fn chunk_count(&self) -> usize {
        (self.header.data_bytes as usize).div_ceil(CHUNK_BYTES)
    }

    pub(crate) fn chunks(&self) -> Vec<std::ptr::NonNull<u8>> {
        (0..self.chunk_count()).map(|number| self.memory.chunk(number)).collect()
    }

    pub(crate) fn live_units(&self) -> u64 {
        self.header.live_units
    }

    /// Units of the image's chunks that hold no node and never will.
    pub(crate) fn unused_units(&self) -> u64 {
        self.chunk_count() as u64 * u64::from(CHUNK_UNITS) - self.header.live_units
    }

    /// The ids of all data nodes of the image, ascending.
    pub(crate) fn leaves(&self) -> &[u32] {
        &self.leaves
    }

    fn leaves_at(&self, block: u32) -> std::ops::Range<usize> {
        let from = self.leaves.partition_point(|&id| id >> BLOCK_SHIFT < block);
        from..self.leaves.partition_point(|&id| id >> BLOCK_SHIFT <= block)
    }

    /// The data nodes that begin in a block.
    pub(crate) fn leaves_of(&self, block: u32) -> &[u32] {
        &self.leaves[self.leaves_at(block)]
    }

    /// Compares every block that units `from..to` touch with its checksum, unless that was done.
    pub(crate) fn compare(&self, from: u32, to: u32) -> Result<(), Damage> {
        let blocks = from >> BLOCK_SHIFT..=(to - 1) >> BLOCK_SHIFT;
        self.will_compare(blocks.clone());
        for block in blocks {
            let block = block as usize;
            let (Some(word), Some(&crc)) = (self.compared.get(block / 64), self.table.get(block)) else {
                return Err(damage(block_at(block), "a block of the image", "no such block"));
            };
            if word.load(Ordering::Acquire) >> (block % 64) & 1 == 1 {
                continue;
            }
            let at = block_at(block);
            let len = BLOCK_BYTES.min(self.header.table_at() - at);
            check_crc("a block", at, self.memory.bytes(at, len).unwrap_or_default(), crc)?;
            word.fetch_or(1 << (block % 64), Ordering::Release);
        }
        Ok(())
    }

    /// Asks for the pages of a data node, if it is one of the image's.
    pub(crate) fn will_read(&self, id: u32) {
        if self.memory.asks_ahead()
            && let Ok(at) = self.leaves.binary_search(&id)
        {
            let limit = self.leaves.get(at + 1).copied().unwrap_or(self.header.inner_start);
            let place = super::format::HEADER_BYTES + id as usize * UNIT;
            self.memory.will_read(place, (limit - id) as usize * UNIT);
        }
    }

    /// Asks for those of the blocks that were not compared yet, from the first to the last.
    fn will_compare(&self, blocks: RangeInclusive<u32>) {
        let new = |&block: &usize| {
            let word = self.compared.get(block / 64).map_or(!0, |word| word.load(Ordering::Acquire));
            word >> (block % 64) & 1 == 0
        };
        let mut blocks = blocks.map(|block| block as usize).filter(new);
        if let Some(first) = blocks.next() {
            let last = blocks.last().unwrap_or(first);
            let end = block_at(last + 1).min(self.header.table_at());
            self.memory.will_read(block_at(first), end - block_at(first));
        }
    }

    /// Verifies the data nodes that begin in a block. Keeps the first damage; after it, no node counts as
    /// good. `view` returns a node that is not verified, or `None` if it reaches past its chunk.
    pub(crate) fn verify_leaves_of<'a>(&self, block: u32, view: impl Fn(u32) -> Option<Leaf<'a, K>>) -> bool {
        if self.damage.get().is_some() {
            return false;
        }
        let leaves = self.leaves_at(block);
        let count = leaves.len();
        let (mut keys, mut units) = (0, 0);
        let mut verified = Ok(());
        for at in leaves {
            match self.verify_leaf(at, &view) {
                Ok(leaf) => {
                    keys += u64::from(leaf.head.count);
                    units += u64::from(units_of(leaf_bytes::<K>(leaf.keys.len())));
                }
                Err(damage) => {
                    verified = Err(damage);
                    break;
                }
            }
        }
        match verified.and_then(|()| self.count(block, count, keys, units)) {
            Ok(()) => true,
            Err(damage) => {
                let _ = self.damage.set(damage);
                false
            }
        }
    }

    /// Adds a block's keys and units to the totals, once for each block. The totals must never exceed the
    /// header's, and must equal them after the last data node.
    fn count(&self, block: u32, leaves: usize, keys: u64, units: u64) -> Result<(), Damage> {
        let Totals { counted, keys: all_keys, units: all_units, left } = &self.totals;
        let Some(word) = counted.get((block / 64) as usize) else { return Ok(()) };
        let bit = 1 << (block % 64);
        let first = word.fetch_or(bit, Ordering::AcqRel) & bit == 0;
        let (keys, units, leaves) = if first { (keys, units, leaves) } else { (0, 0, 0) };
        let keys = all_keys.fetch_add(keys, Ordering::AcqRel) + keys;
        let units = all_units.fetch_add(units, Ordering::AcqRel) + units;
        if keys > self.header.keys || units > self.header.live_units {
            return Err(self.miscounted("at least", keys, units));
        }
        if left.fetch_sub(leaves, Ordering::AcqRel) == leaves {
            let (keys, units) = (all_keys.load(Ordering::Acquire), all_units.load(Ordering::Acquire));
            if (keys, units) != (self.header.keys, self.header.live_units) {
                return Err(self.miscounted("exactly", keys, units));
            }
        }
        Ok(())
    }

    fn miscounted(&self, how: &str, keys: u64, units: u64) -> Damage {
        let expected = format!("{how} the {keys} keys and {units} units that its nodes have");
        damage(64, expected, format!("{} and {}", self.header.keys, self.header.live_units))
    }

    fn verify_leaf<'a>(
        &self,
        at: usize,
        view: impl Fn(u32) -> Option<Leaf<'a, K>>,
    ) -> Result<Leaf<'a, K>, Damage> {
        let id = self.leaves[at];
        let limit = self.leaves.get(at + 1).copied().unwrap_or(self.header.inner_start);
        self.compare(id, limit)?;
        let place = super::format::HEADER_BYTES + id as usize * UNIT;
        let prev = at.checked_sub(1).map_or(NIL, |at| self.leaves[at]);
        let next = self.leaves.get(at + 1).copied().unwrap_or(NIL);
        let keys = self.ranges.get(at).cloned().unwrap_or(no_keys());
        match view(id) {
            Some(leaf) if units_of(leaf_bytes::<K>(leaf.keys.len())) > limit - id => {
                Err("that ends before the next one")
            }
            Some(leaf) => check_form(&leaf, self.header.max_leaf_slots(), (prev, next), &keys).map(|()| leaf),
            None => Err("inside its chunk"),
        }
        .map_err(|expected| damage(place, format!("a data node {expected}"), "another"))
    }
}

/// The range of no key: its start is above its end.
#[allow(clippy::reversed_empty_ranges, reason = "no key is the point")]
pub(crate) const fn no_keys<K: Key>() -> RangeInclusive<K> {
    K::MAX..=K::MIN
}

/// Checks everything that other code relies on in a leaf. The model and the counters of trend and debt may be
/// anything: a prediction is clamped to the leaf and its errors are searched on both sides, and the counters
/// decide only when a leaf is rebuilt.
fn check_form<K: Key>(
    leaf: &Leaf<'_, K>,
    max_slots: usize,
    neighbours: (u32, u32),
    keys: &RangeInclusive<K>,
) -> Result<(), &'static str> {
    let (head, capacity) = (leaf.head, leaf.keys.len());
    let (begin, end, count) = (head.begin as usize, head.end as usize, head.count as usize);
    let require = |holds: bool, what: &'static str| if holds { Ok(()) } else { Err(what) };
    require(capacity > 0 && capacity.is_multiple_of(64), "of whole bitmap words")?;
    require(capacity <= max_slots, "no larger than the image allows")?;
    require(begin <= end && end <= capacity, "with ends in order")?;
    require(count <= usize::from(head.grow_at), "with no more keys than its limit")?;
    require(usize::from(head.grow_at) < capacity, "with a gap at its limit")?;
    require((count == 0) == (begin == end), "with ends around its keys")?;
    require(bitmap::count(leaf.bits, 0, capacity) == count, "with as many keys as its header says")?;
    require(bitmap::count(leaf.bits, begin, end) == count, "with no key beyond its ends")?;
    if count > 0 {
        require(bitmap::is_set(leaf.bits, begin), "that begins with a key")?;
        require(bitmap::is_set(leaf.bits, end - 1), "that ends with a key")?;
        // Routing is monotone, so what holds for the first and the last key holds for all keys between them.
        let routed = keys.contains(&leaf.keys[begin]) && keys.contains(&leaf.keys[end - 1]);
        require(routed, "whose keys the model nodes send to it")?;
    }
    require((head.prev, head.next) == neighbours, "between its neighbours")?;
    let Slots { in_order, gaps } = dispatch(Supported::active(), CheckSlots { leaf: *leaf, begin, end });
    require(in_order, "whose keys ascend")?;
    require(gaps, "whose gaps hold the next key")?;
    // The slots ascend, so the slot next to the first entry tells of all before it, and the slot next to the
    // last of all behind it.
    require(begin == 0 || leaf.keys[begin - 1] == K::MIN, "with the least key before its first entry")?;
    require(end == capacity || leaf.keys[end] == K::MAX, "with the greatest key behind its last entry")
}

/// What one pass over the slots of a leaf found.
struct Slots {
    /// No slot holds a greater key than the next slot.
    in_order: bool,
    /// Between the first entry and the last, an entry is the last slot of its key and a gap is not. In a leaf
    /// with ghosts a gap may be either.
    gaps: bool,
}

/// The pass over the slots.
struct CheckSlots<'a, K: Key> {
    leaf: Leaf<'a, K>,
    begin: usize,
    end: usize,
}

impl<K: Key> Operation for CheckSlots<'_, K> {
    type Output = Slots;

    #[inline(always)]
    fn run<S: Kernel>(self) -> Slots {
        let Self { leaf, begin, end } = self;
        let forgiven = if leaf.head.ghosts == 0 { 0 } else { !0 };
        let last = end.saturating_sub(1);
        let (mut falls, mut wrong) = (0, 0);
        for (word, &bits) in leaf.bits.iter().enumerate() {
            let (keys, _) = leaf.word(word);
            let after = leaf.keys.get(word * 64 + 64).copied().unwrap_or(K::MAX);
            // A bit for each slot whose key is below the next slot's, and one for each whose key is above it.
            let (mut below, mut above) = (0u64, 0u64);
            for slot in 0..63 {
                below |= u64::from(keys[slot] < keys[slot + 1]) << slot;
                above |= u64::from(keys[slot] > keys[slot + 1]) << slot;
            }
            below |= u64::from(keys[63] < after) << 63;
            above |= u64::from(keys[63] > after) << 63;
            falls |= above;
            let from = begin.saturating_sub(word * 64);
            let to = last.saturating_sub(word * 64);
            let inside = mask_below(to) & !mask_below(from);
            wrong |= inside & (bits & !below | below & !bits & !forgiven);
        }
        Slots { in_order: falls == 0, gaps: wrong == 0 }
    }
}

/// A word whose lowest `slots` bits are set, or all of them.
#[inline(always)]
fn mask_below(slots: usize) -> u64 {
    if slots >= 64 { !0 } else { (1 << slots) - 1 }
}
