//! Verification of an opened image: each block's checksum, and each data node's form, before its first use.
//!
//! A data node is used only after the checksums of every block that it touches were compared, which is
//! also before it can be changed; so a block is compared while it is still as it was read. Beside the
//! checksum each node is checked for form, so that even an image with forged checksums cannot lead out
//! of the memory, into an endless loop or to a panic. Knows nothing of model nodes (`open.rs`).
//! Verifying is O(bytes), once; the test whether it was done is in the arena.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use super::format::{BLOCK_BYTES, Damage, Header, block_at, check_crc, damage};
use super::memory::ImageMemory;
use crate::arena::{BLOCK_SHIFT, CHUNK_BYTES, CHUNK_UNITS, Leaf, UNIT, leaf_bytes, units_of};
use crate::bitmap;
use crate::node::NIL;

/// An opened image and what was verified of it.
#[derive(Debug)]
pub(crate) struct Image {
    memory: ImageMemory,
    header: Header,
    /// The checksum of each block, copied: what was checked stays what is compared.
    table: Vec<u32>,
    /// A bit for each block whose checksum was right.
    compared: Vec<AtomicU64>,
    /// All data nodes, ascending, as the model nodes name them.
    pub(super) leaves: Vec<u32>,
    damage: OnceLock<Damage>,
}

impl Image {
    pub(super) fn new(memory: ImageMemory, header: Header, table: Vec<u32>) -> Self {
        let compared = (0..table.len().div_ceil(64)).map(|_| AtomicU64::new(0)).collect();
        Self { memory, header, table, compared, leaves: Vec::new(), damage: OnceLock::new() }
    }

    /// The first damage that was met; nothing that the index says counts from then on.
    pub(crate) fn damage(&self) -> Option<&Damage> {
        self.damage.get()
    }

    /// Counts as damaged from now on, whatever the checksums say.
    pub(super) fn distrust(&self, reason: &str) {
        let _ = self.damage.set(damage(0, "an image of a sound index", reason));
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
    pub(super) fn compare(&self, from: u32, to: u32) -> Result<(), Damage> {
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

    /// Verifies the data nodes that begin in a block; remembers the first damage. `view` gives a node
    /// whose form is not known, unless it is too long.
    pub(crate) fn verify_leaves_of<'a>(&self, block: u32, view: impl Fn(u32) -> Option<Leaf<'a>>) -> bool {
        for at in self.leaves_at(block) {
            if let Err(damage) = self.verify_leaf(at, &view) {
                let _ = self.damage.set(damage);
                return false;
            }
        }
        true
    }

    fn verify_leaf<'a>(&self, at: usize, view: impl Fn(u32) -> Option<Leaf<'a>>) -> Result<(), Damage> {
        let id = self.leaves[at];
        let limit = self.leaves.get(at + 1).copied().unwrap_or(self.header.inner_start);
        self.compare(id, limit)?;
        let place = super::format::HEADER_BYTES + id as usize * UNIT;
        let prev = at.checked_sub(1).map_or(NIL, |at| self.leaves[at]);
        let next = self.leaves.get(at + 1).copied().unwrap_or(NIL);
        match view(id) {
            Some(leaf) if units_of(leaf_bytes(leaf.keys.len())) > limit - id => {
                Err("one that ends before the next")
            }
            Some(leaf) => check_form(&leaf, self.header.max_leaf_slots(), prev, next),
            None => Err("one inside its chunk"),
        }
        .map_err(|expected| damage(place, format!("a data node: {expected}"), "another"))
    }
}

/// What the code that works on a leaf relies on.
fn check_form(leaf: &Leaf<'_>, max_slots: usize, prev: u32, next: u32) -> Result<(), &'static str> {
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
    }
    require((head.prev, head.next) == (prev, next), "between its neighbours")?;
    require(leaf.keys.is_sorted(), "in order")
}
