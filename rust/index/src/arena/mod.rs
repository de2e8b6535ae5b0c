//! The memory of the tree: position-independent, never moved, and all of it plain integers.
//!
//! A node's id is its offset in 64-byte units. Memory comes in chunks of 32 MiB of address space, aligned to
//! huge pages and found through a small table. The first chunks may be an opened image (`mapped`), whose
//! leaves are verified when they are first used.
//!
//! Every view is bounds-checked against its chunk, and every bit pattern is a valid integer. So a wrong id
//! can give wrong numbers or a panic, never undefined behaviour. Views cost `O(1)`, allocation `O(log
//! extents)`. Knows the layout of the two kinds of nodes and nothing of what they mean.
#![allow(unsafe_code)]
// Pointers are cast to headers at multiples of 64 bytes and to arrays at multiples of 8: see `place`,
// `leaf_parts`.
#![allow(clippy::cast_ptr_alignment)]

mod free_space;
pub(crate) mod system;

use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

use self::free_space::FreeSpace;
use crate::count;
use crate::mapped::Image;
use crate::node::{
    BLOCK_SHIFT, CHUNK_BYTES, CHUNK_SHIFT, CHUNK_UNITS, Inner, InnerHeader, InnerMut, Leaf, LeafHeader,
    LeafMut, Model, NIL, UNIT, bitmap_bytes, inner_bytes, leaf_bytes, units_of,
};

/// Ids leave their top bit to `NodeId`, so there are 2^31 units: 128 GiB.
const MAX_CHUNKS: usize = 1 << (31 - CHUNK_SHIFT);
/// Live bytes from which on chunks ask for huge pages. A small index keeps small pages: one huge page has 2
/// MiB.
const HUGE_PAGES_FROM: u64 = 4 << 20;

/// Chunks of zero-initialised memory, and the free space in them.
#[derive(Debug, Default)]
pub(crate) struct Arena {
    chunks: Vec<NonNull<u8>>,
    free: FreeSpace,
    live_units: u64,
    huge_pages: bool,
    /// A bit for each block of the image, set once every leaf that begins in it is verified. Empty without an
    /// image.
    verified: Vec<AtomicU64>,
    image: Option<Box<Image>>,
}

/// Stands for every leaf of a damaged block of an image: no entries and no neighbours.
static BLANK: (LeafHeader, [i64; 64], [u64; 64]) = (
    LeafHeader {
        model: Model::PLAIN,
        capacity: 64,
        count: 0,
        begin: 0,
        end: 0,
        prev: NIL,
        next: NIL,
        grow_at: 54,
        shrink_at: 0,
        debt: 0,
        inserts: 0,
        tail_inserts: 0,
        head_inserts: 0,
        ghosts: 0,
        coarse: 0,
    },
    [i64::MAX; 64],
    [0; 64],
);

// SAFETY: the chunks are owned by the arena alone; `&Arena` only reads them and `&mut Arena` is exclusive.
unsafe impl Send for Arena {}
// SAFETY: no method writes through a shared reference, except to atomics.
unsafe impl Sync for Arena {}

impl Arena {
    /// An arena whose first chunks are an image. Everything but the image's leaves must be checked already.
    pub(crate) fn over(image: Image) -> Self {
        let mut arena = Self::default();
        arena.chunks = image.chunks();
        arena.live_units = image.live_units();
        arena.verified = (0..image.blocks().div_ceil(64)).map(|_| AtomicU64::new(0)).collect();
        arena.image = Some(Box::new(image));
        arena
    }

    pub(crate) fn image(&self) -> Option<&Image> {
        self.image.as_deref()
    }

    /// The image, to change: only while it is being opened.
    pub(crate) fn image_mut(&mut self) -> Option<&mut Image> {
        self.image.as_deref_mut()
    }

    /// How many chunks belong to the image.
    fn image_chunks(&self) -> usize {
        self.image().map_or(0, Image::chunk_count)
    }

    /// Whether a leaf may be read: it is not an image's, or it is verified.
    #[inline(always)]
    fn is_verified(&self, id: u32) -> bool {
        match self.verified.get((id >> (BLOCK_SHIFT + 6)) as usize) {
            None => true,
            Some(word) => word.load(Ordering::Acquire) >> (id >> BLOCK_SHIFT & 63) & 1 == 1,
        }
    }

    /// Verifies every leaf that begins in the same block as this one. Returns false if one of them is
    /// damaged.
    #[cold]
    #[inline(never)]
    pub(crate) fn verify(&self, id: u32) -> bool {
        let block = id >> BLOCK_SHIFT;
        let (Some(image), Some(word)) = (self.image(), self.verified.get((block / 64) as usize)) else {
            return true;
        };
        let good = image.verify_leaves_of(block, |id| self.leaf_unless_too_long(id));
        if good {
            word.fetch_or(1 << (block % 64), Ordering::Release);
        }
        good
    }

    /// Verifies a leaf and its block unless that was done.
    pub(crate) fn verify_once(&self, id: u32) {
        if !self.is_verified(id) {
            self.verify(id);
        }
    }

    /// A leaf that is not verified yet. `None` if its header says that it reaches past its chunk.
    fn leaf_unless_too_long(&self, id: u32) -> Option<Leaf<'_>> {
        let (place, room) = self.place(id);
        // SAFETY: a header lies inside the chunk, aligned to 64 bytes, and any bits are a valid header.
        let capacity = unsafe { (*place.cast::<LeafHeader>()).capacity } as usize;
        let bytes = capacity.checked_mul(16)?.checked_add(UNIT + bitmap_bytes(capacity))?;
        (bytes <= room).then(|| self.leaf_view(id))
    }

    /// A model node that is not checked yet. `None` if its header says that it reaches past its chunk. The id
    /// must lie in the arena.
    pub(crate) fn inner_unless_too_long(&self, id: u32) -> Option<Inner<'_>> {
        let (place, room) = self.place(id);
        // SAFETY: as in `leaf_unless_too_long`.
        let fanout = unsafe { (*place.cast::<InnerHeader>()).fanout } as usize;
        (inner_bytes(fanout) <= room).then(|| self.inner(id))
    }

    /// Empties every leaf that begins in the same, damaged block as this one, so that changes find valid
    /// nodes. From here on the index's answers may be wrong (`Alex::damage`).
    #[cold]
    #[inline(never)]
    fn blank(&mut self, id: u32) {
        let block = id >> BLOCK_SHIFT;
        let leaves = self.image().map_or_else(Vec::new, |image| image.leaves_of(block).to_vec());
        for id in leaves {
            let place = self.place(id).0.cast::<LeafHeader>();
            // SAFETY: `place` is in bounds, 64-byte aligned, and exclusively ours through `&mut self`.
            unsafe { place.write(BLANK.0) };
            let leaf = self.view_mut(id);
            leaf.bits.fill(0);
            leaf.keys.fill(i64::MAX);
        }
        if let Some(word) = self.verified.get_mut((block / 64) as usize) {
            *word.get_mut() |= 1 << (block % 64);
        }
    }

    /// Bytes of live nodes.
    pub(crate) fn live_bytes(&self) -> usize {
        self.live_units as usize * UNIT
    }

    /// Allocates a data node of `capacity` slots. Only its capacity is set.
    pub(crate) fn allocate_leaf(&mut self, capacity: usize) -> u32 {
        debug_assert!(capacity.is_multiple_of(64) && capacity > 0);
        let id = self.allocate(units_of(leaf_bytes(capacity)));
        let place = self.place(id).0.cast::<LeafHeader>();
        // SAFETY: `place` is in bounds, 64-byte aligned, and exclusively ours through `&mut self`.
        unsafe { place.write(LeafHeader { capacity: capacity as u32, ..LeafHeader::default() }) };
        id
    }

    /// Allocates a model node of `fanout` children, all zero.
    pub(crate) fn allocate_inner(&mut self, fanout: usize) -> u32 {
        let id = self.allocate(units_of(inner_bytes(fanout)));
        let place = self.place(id).0.cast::<InnerHeader>();
        // SAFETY: `place` is in bounds, 64-byte aligned, and exclusively ours through `&mut self`.
        unsafe { place.write(InnerHeader { fanout: fanout as u32, ..InnerHeader::default() }) };
        self.inner_mut(id).children.fill(0);
        id
    }

    /// Frees a data node.
    pub(crate) fn free_leaf(&mut self, id: u32) {
        let units = units_of(leaf_bytes(self.leaf(id).keys.len()));
        self.release(id, units);
    }

    /// Frees a model node.
    pub(crate) fn free_inner(&mut self, id: u32) {
        let units = units_of(inner_bytes(self.inner(id).children.len()));
        self.release(id, units);
    }

    /// The first byte of a node, and the bytes of its chunk from there on: at least a header, because offsets
    /// are whole units.
    #[inline(always)]
    fn place(&self, id: u32) -> (*mut u8, usize) {
        let offset = (id & (CHUNK_UNITS - 1)) as usize * UNIT;
        let chunk = self.chunks[(id >> CHUNK_SHIFT) as usize];
        // SAFETY: `offset < CHUNK_BYTES`, the size of the chunk's one allocation.
        (unsafe { chunk.as_ptr().add(offset) }, CHUNK_BYTES - offset)
    }

    /// The parts of a data node, checked to lie inside its chunk.
    #[inline(always)]
    fn leaf_parts(&self, id: u32) -> (*mut LeafHeader, usize, *mut u64, *mut i64, *mut u64) {
        let (place, room) = self.place(id);
        count::touch_line(place);
        // SAFETY: a header lies inside the chunk, aligned to 64 bytes, and any bits are a valid header.
        let capacity = unsafe { (*place.cast::<LeafHeader>()).capacity } as usize;
        assert!(leaf_bytes(capacity) <= room, "a leaf reaches past its chunk");
        let keys = UNIT + bitmap_bytes(capacity);
        // SAFETY: `leaf_bytes(capacity)`, which ends after both arrays, was checked against the chunk.
        unsafe {
            (
                place.cast(),
                capacity,
                place.add(UNIT).cast(),
                place.add(keys).cast(),
                place.add(keys + capacity * 8).cast(),
            )
        }
    }

    /// A data node.
    #[inline(always)]
    pub(crate) fn leaf(&self, id: u32) -> Leaf<'_> {
        if !self.is_verified(id) && !self.verify(id) {
            return Leaf { head: &BLANK.0, bits: &[0], keys: &BLANK.1, payloads: &BLANK.2 };
        }
        self.leaf_view(id)
    }

    #[inline(always)]
    fn leaf_view(&self, id: u32) -> Leaf<'_> {
        let (head, capacity, bits, keys, payloads) = self.leaf_parts(id);
        // SAFETY: the parts are disjoint, in bounds (`leaf_parts`), aligned to 8, initialised (chunks
        // start as zeroes), and nobody writes while `&self` lives.
        unsafe {
            Leaf {
                head: &*head,
                bits: std::slice::from_raw_parts(bits, capacity / 64),
                keys: std::slice::from_raw_parts(keys, capacity),
                payloads: std::slice::from_raw_parts(payloads, capacity),
            }
        }
    }

    /// A data node, to change.
    #[inline(always)]
    pub(crate) fn leaf_mut(&mut self, id: u32) -> LeafMut<'_> {
        if !self.is_verified(id) && !self.verify(id) {
            self.blank(id);
        }
        self.view_mut(id)
    }

    #[inline(always)]
    fn view_mut(&mut self, id: u32) -> LeafMut<'_> {
        let (head, capacity, bits, keys, payloads) = self.leaf_parts(id);
        // SAFETY: as in `leaf`; the parts are disjoint, and `&mut self` makes this the only view.
        unsafe {
            LeafMut {
                head: &mut *head,
                bits: std::slice::from_raw_parts_mut(bits, capacity / 64),
                keys: std::slice::from_raw_parts_mut(keys, capacity),
                payloads: std::slice::from_raw_parts_mut(payloads, capacity),
            }
        }
    }

    /// A data node's header, to change: the links of a neighbour.
    pub(crate) fn leaf_head_mut(&mut self, id: u32) -> &mut LeafHeader {
        self.leaf_mut(id).head
    }

    /// The address of a data node's header, for prefetching.
    #[inline(always)]
    pub(crate) fn address(&self, id: u32) -> *const u8 {
        self.place(id).0
    }

    #[inline(always)]
    fn inner_parts(&self, id: u32) -> (*mut InnerHeader, usize, *mut u32) {
        let (place, room) = self.place(id);
        count::touch_line(place);
        // SAFETY: a header lies inside the chunk, aligned to 64 bytes, and any bits are a valid header.
        let fanout = unsafe { (*place.cast::<InnerHeader>()).fanout } as usize;
        assert!(inner_bytes(fanout) <= room, "a model node reaches past its chunk");
        // SAFETY: `inner_bytes(fanout)`, which is past the header, was checked against the chunk.
        unsafe { (place.cast(), fanout, place.add(UNIT).cast()) }
    }

    /// A model node.
    #[inline(always)]
    pub(crate) fn inner(&self, id: u32) -> Inner<'_> {
        let (head, fanout, children) = self.inner_parts(id);
        // SAFETY: header and array are disjoint, in bounds (`inner_parts`), aligned, initialised, and
        // nobody writes while `&self` lives.
        unsafe { Inner { head: &*head, children: std::slice::from_raw_parts(children, fanout) } }
    }

    /// A model node, to change.
    pub(crate) fn inner_mut(&mut self, id: u32) -> InnerMut<'_> {
        let (head, fanout, children) = self.inner_parts(id);
        // SAFETY: as in `inner`; `&mut self` makes this the only view.
        unsafe { InnerMut { head: &mut *head, children: std::slice::from_raw_parts_mut(children, fanout) } }
    }

    fn allocate(&mut self, units: u32) -> u32 {
        assert!(units <= CHUNK_UNITS, "a node is larger than a chunk");
        let id = self.free.take(units).unwrap_or_else(|| {
            self.add_chunk();
            // A fresh chunk is one free extent of CHUNK_UNITS >= units.
            self.free.take(units).expect("a fresh chunk holds any node")
        });
        self.live_units += u64::from(units);
        if !self.huge_pages && self.live_units * UNIT as u64 >= HUGE_PAGES_FROM {
            self.huge_pages = true;
            for &chunk in &self.chunks[self.image_chunks()..] {
                system::ask_for_huge_pages(chunk);
            }
        }
        id
    }

    fn release(&mut self, id: u32, units: u32) {
        self.live_units -= u64::from(units);
        self.free.give(id, units, CHUNK_UNITS);
    }

    fn add_chunk(&mut self) {
        assert!(self.chunks.len() < MAX_CHUNKS, "the index has outgrown 128 GiB");
        let chunk = system::map();
        if self.huge_pages {
            system::ask_for_huge_pages(chunk);
        }
        self.free.give((self.chunks.len() as u32) << CHUNK_SHIFT, CHUNK_UNITS, CHUNK_UNITS);
        self.chunks.push(chunk);
    }

    /// Whether live and free units add up to the chunks.
    pub(crate) fn is_consistent(&self) -> bool {
        let unused = self.image().map_or(0, Image::unused_units);
        self.live_units + self.free.units() + unused == self.chunks.len() as u64 * u64::from(CHUNK_UNITS)
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        // The chunks of an image are unmapped by its `ImageMemory`.
        for &chunk in &self.chunks[self.image_chunks()..] {
            // SAFETY: every other chunk came from `system::map` and no view outlives the arena.
            unsafe { system::unmap(chunk) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Arena;

    #[test]
    fn freed_nodes_are_reused_and_chunks_add_up() {
        let mut arena = Arena::default();
        let leaves: Vec<u32> = (1..200).map(|i| arena.allocate_leaf(64 * (1 + i % 256))).collect();
        let inner = arena.allocate_inner(1 << 16);
        arena.inner_mut(inner).children.fill(7);
        for &id in &leaves {
            let leaf = arena.leaf_mut(id);
            leaf.keys.fill(-1);
            leaf.payloads.fill(2);
            leaf.bits.fill(3);
        }
        assert!(arena.inner(inner).children.iter().all(|&child| child == 7));
        assert!(arena.is_consistent());
        for id in leaves {
            arena.free_leaf(id);
        }
        arena.free_inner(inner);
        assert!(arena.is_consistent());
        assert_eq!(arena.live_bytes(), 0);
    }

    #[test]
    #[should_panic(expected = "index out of bounds")]
    fn an_id_of_no_chunk_panics() {
        let _ = Arena::default().leaf(0).keys.len();
    }
}
