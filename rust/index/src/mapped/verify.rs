//! Verification of an opened image: each block's checksum, and each data node's form, before its first use.
//!
//! A data node is used only after the checksums of every block that it touches were compared, which is
//! also before it can be changed; so a block is compared while it is still as it was read. Beside the
//! checksum each node is checked for all that the code which works on it relies on, its place among the
//! model nodes included, so that even an image with forged checksums cannot lead out of the memory, into an
//! endless loop or to a panic. Of model nodes it knows only which keys they send to each data node
//! (`open.rs`). Verifying is O(bytes), once, in one pass; the test whether it was done is in the arena.

use std::ops::RangeInclusive;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::format::{BLOCK_BYTES, Damage, Header, block_at, check_crc, damage};
use super::memory::ImageMemory;
use crate::node::{BLOCK_SHIFT, CHUNK_BYTES, CHUNK_UNITS, Leaf, NIL, UNIT, bitmap, leaf_bytes, units_of};
use crate::search::{Kernel, Operation, Supported, dispatch};

/// A data node, as the model nodes name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) id: u32,
    /// The keys that the model nodes send to it.
    pub(crate) keys: RangeInclusive<i64>,
}

/// An opened image and what was verified of it.
#[derive(Debug)]
pub(crate) struct Image {
    memory: ImageMemory,
    header: Header,
    /// The checksum of each block, copied: what was checked stays what is compared.
    table: Vec<u32>,
    /// A bit for each block whose checksum was right.
    compared: Vec<AtomicU64>,
    /// All data nodes, ascending.
    leaves: Vec<u32>,
    /// The keys that each of them may hold.
    ranges: Vec<RangeInclusive<i64>>,
    damage: OnceLock<Damage>,
    totals: Totals,
}

/// What was found in the data nodes that were verified, beside what the header says of all nodes. A header
/// that says too little would have figures that are kept from it fall below zero.
#[derive(Debug, Default)]
struct Totals {
    /// A bit for each block whose data nodes are counted.
    counted: Vec<AtomicU64>,
    keys: AtomicU64,
    /// With those of the model nodes.
    units: AtomicU64,
    /// Data nodes that are not counted yet.
    left: AtomicUsize,
}

impl Image {
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

    /// Takes in what the model nodes, which take so many units, say of the data nodes.
    pub(crate) fn name(&mut self, leaves: Vec<Named>, inner_units: u64) {
        let counted = (0..self.table.len().div_ceil(64)).map(|_| AtomicU64::new(0)).collect();
        let left = AtomicUsize::new(leaves.len());
        self.totals = Totals { counted, units: AtomicU64::new(inner_units), left, ..Totals::default() };
        (self.leaves, self.ranges) = leaves.into_iter().map(|named| (named.id, named.keys)).unzip();
    }

    /// The first damage that was met; nothing that the index says counts from then on.
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

    /// Units of its chunks that no node ever gets.
    pub(crate) fn unused_units(&self) -> u64 {
        self.chunk_count() as u64 * u64::from(CHUNK_UNITS) - self.header.live_units
    }

    /// Every data node of the image, ascending.
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

    /// Compares the checksums of the blocks that units `from..to` touch.
    pub(crate) fn compare(&self, from: u32, to: u32) -> Result<(), Damage> {
        let last = (to - 1) >> BLOCK_SHIFT;
        for block in from >> BLOCK_SHIFT..=last {
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

    /// Verifies the data nodes that begin in a block; remembers the first damage, after which none is good any
    /// more. `view` gives a node whose form is not known, unless it is too long.
    pub(crate) fn verify_leaves_of<'a>(&self, block: u32, view: impl Fn(u32) -> Option<Leaf<'a>>) -> bool {
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
                    units += u64::from(units_of(leaf_bytes(leaf.keys.len())));
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

    /// Counts what the data nodes of a block hold, once: never more than the header says, in the end all of it.
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

    fn verify_leaf<'a>(&self, at: usize, view: impl Fn(u32) -> Option<Leaf<'a>>) -> Result<Leaf<'a>, Damage> {
        let id = self.leaves[at];
        let limit = self.leaves.get(at + 1).copied().unwrap_or(self.header.inner_start);
        self.compare(id, limit)?;
        let place = super::format::HEADER_BYTES + id as usize * UNIT;
        let prev = at.checked_sub(1).map_or(NIL, |at| self.leaves[at]);
        let next = self.leaves.get(at + 1).copied().unwrap_or(NIL);
        let keys = self.ranges.get(at).unwrap_or(&NO_KEYS);
        match view(id) {
            Some(leaf) if units_of(leaf_bytes(leaf.keys.len())) > limit - id => {
                Err("one that ends before the next")
            }
            Some(leaf) => check_form(&leaf, self.header.max_leaf_slots(), (prev, next), keys).map(|()| leaf),
            None => Err("one inside its chunk"),
        }
        .map_err(|expected| damage(place, format!("a data node: {expected}"), "another"))
    }
}

/// A range of no key: `start` is above `end`.
#[allow(clippy::reversed_empty_ranges, reason = "no key is the point")]
pub(crate) const NO_KEYS: RangeInclusive<i64> = i64::MAX..=i64::MIN;

/// What the code that works on a leaf relies on. The model and the counters of its adaptation may be anything:
/// predictions are held inside the leaf and searched from whichever side they err on, and counters decide only
/// when a leaf is rebuilt.
fn check_form(
    leaf: &Leaf<'_>,
    max_slots: usize,
    neighbours: (u32, u32),
    keys: &RangeInclusive<i64>,
) -> Result<(), &'static str> {
    let (head, capacity) = (leaf.head, leaf.keys.len());
    let (begin, end, count) = (head.begin as usize, head.end as usize, head.count as usize);
    let require = |holds: bool, what: &'static str| if holds { Ok(()) } else { Err(what) };
    require(capacity > 0 && capacity.is_multiple_of(64), "of whole words")?;
    require(capacity <= max_slots, "no larger than the image's largest")?;
    require(begin <= end && end <= capacity, "with ends in order")?;
    require(count <= usize::from(head.grow_at), "with no more keys than its limit")?;
    require(usize::from(head.grow_at) < capacity, "with a gap at its limit")?;
    require((count == 0) == (begin == end), "with ends around its keys")?;
    require(bitmap::count(leaf.bits, 0, capacity) == count, "with as many keys as its header says")?;
    require(bitmap::count(leaf.bits, begin, end) == count, "with no key beyond its ends")?;
    if count > 0 {
        require(bitmap::is_set(leaf.bits, begin), "that begins with a key")?;
        require(bitmap::is_set(leaf.bits, end - 1), "that ends with a key")?;
        // Routing is monotone: what holds for the first key and the last holds for all between.
        let routed = keys.contains(&leaf.keys[begin]) && keys.contains(&leaf.keys[end - 1]);
        require(routed, "of keys that the model nodes send to it")?;
    }
    require((head.prev, head.next) == neighbours, "between its neighbours")?;
    let Slots { in_order, gaps } = dispatch(Supported::active(), CheckSlots { leaf: *leaf, begin, end });
    require(in_order, "in order")?;
    require(gaps, "whose gaps hold the next key")?;
    // In order: the least value before the first entry, and the greatest behind the last, stands for all there.
    require(begin == 0 || leaf.keys[begin - 1] == i64::MIN, "with the least key before its first entry")?;
    require(end == capacity || leaf.keys[end] == i64::MAX, "with the greatest key behind its last entry")
}

/// What is true of the slots of a leaf.
struct Slots {
    /// None holds more than the next.
    in_order: bool,
    /// Between the first entry and the last, an entry is the last slot of its key, and a gap is not, unless
    /// there are ghosts, which may be any.
    gaps: bool,
}

/// One pass over the slots.
struct CheckSlots<'a> {
    leaf: Leaf<'a>,
    begin: usize,
    end: usize,
}

impl Operation for CheckSlots<'_> {
    type Output = Slots;

    #[inline(always)]
    fn run<K: Kernel>(self) -> Slots {
        let Self { leaf, begin, end } = self;
        let forgiven = if leaf.head.ghosts == 0 { 0 } else { !0 };
        let last = end.saturating_sub(1);
        let (mut falls, mut wrong) = (0, 0);
        for (word, &bits) in leaf.bits.iter().enumerate() {
            let (keys, _) = leaf.word(word);
            let after = leaf.keys.get(word * 64 + 64).copied().unwrap_or(i64::MAX);
            // A bit for each slot whose key is below, and for each whose key is above the next one.
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

/// The lowest `slots` bits, or all.
#[inline(always)]
fn mask_below(slots: usize) -> u64 {
    if slots >= 64 { !0 } else { (1 << slots) - 1 }
}
