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
use crate::key::Key;
use crate::mapped::Image;
use crate::node::{
    BLOCK_SHIFT, CHUNK_BYTES, CHUNK_SHIFT, CHUNK_UNITS, Inner, InnerHeader, InnerMut, Leaf, LeafHeader,
    LeafMut, NIL, UNIT, inner_bytes, leaf_bytes, leaf_front_bytes, slot_bytes, units_of,
};
use crate::search::prefetch;

/// Ids leave their top bit to `NodeId`, so there are 2^31 units: 128 GiB.
const MAX_CHUNKS: usize = 1 << (31 - CHUNK_SHIFT);
/// Live bytes from which on chunks ask for huge pages. A small index keeps small pages: one huge page has 2
/// MiB.
const HUGE_PAGES_FROM: u64 = 4 << 20;

/// Chunks of zero-initialised memory, and the free space in them.
#[derive(Debug)]
pub(crate) struct Arena<K: Key> {
    chunks: Vec<NonNull<u8>>,
    free: FreeSpace,
    live_units: u64,
    huge_pages: bool,
    /// A bit for each block of the image, set once every leaf that begins in it is verified. Empty without an
    /// image.
    verified: Vec<AtomicU64>,
    image: Option<Box<Image<K>>>,
    /// What stands for the leaves of a damaged block of the image.
    blank: Option<Box<Blank<K>>>,
}

/// Stands for every leaf of a damaged block of an image: no entries and no neighbours.
#[derive(Debug)]
struct Blank<K: Key> {
    head: LeafHeader<K>,
    keys: [K; 64],
    payloads: [u64; 64],
}

impl<K: Key> Blank<K> {
    const HEADER: LeafHeader<K> = LeafHeader { prev: NIL, next: NIL, grow_at: 54, ..LeafHeader::empty(64) };
}

impl<K: Key> Default for Blank<K> {
    fn default() -> Self {
        Self { head: Self::HEADER, keys: [K::MAX; 64], payloads: [0; 64] }
    }
}

// SAFETY: the chunks are owned by the arena alone; `&Arena` only reads them and `&mut Arena` is exclusive.
unsafe impl<K: Key> Send for Arena<K> {}
// SAFETY: no method writes through a shared reference, except to atomics.
unsafe impl<K: Key> Sync for Arena<K> {}

impl<K: Key> Default for Arena<K> {
    fn default() -> Self {
        Self {
            chunks: Vec::new(),
            free: FreeSpace::default(),
            live_units: 0,
            huge_pages: false,
            verified: Vec::new(),
            image: None,
            blank: None,
        }
    }
}

impl<K: Key> Arena<K> {
    /// An arena whose first chunks are an image. Everything but the image's leaves must be checked already.
    pub(crate) fn over(image: Image<K>) -> Self {
        let mut arena = Self::default();
        arena.chunks = image.chunks();
        arena.live_units = image.live_units();
        arena.verified = (0..image.blocks().div_ceil(64)).map(|_| AtomicU64::new(0)).collect();
        arena.image = Some(Box::new(image));
        arena.blank = Some(Box::default());
        arena
    }

    pub(crate) fn image(&self) -> Option<&Image<K>> {
        self.image.as_deref()
    }

    /// The image, to change: only while it is being opened.
    pub(crate) fn image_mut(&mut self) -> Option<&mut Image<K>> {
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
    pub(crate) fn verify(&self, id: u32) -> bool {
        K::verify(self, id)
    }

    pub(crate) fn do_verify(&self, id: u32) -> bool {
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
    fn leaf_unless_too_long(&self, id: u32) -> Option<Leaf<'_, K>> {
        let (place, room) = self.place(id);
        // SAFETY: `place` is aligned to a unit, the first unit lies inside the chunk with the capacity in it, and any bits
        // are a capacity.
        let capacity = unsafe { (*place.cast::<LeafHeader<K>>()).capacity } as usize;
        let bytes = capacity.checked_mul(slot_bytes::<K>())?.checked_add(leaf_front_bytes::<K>(capacity))?;
        (bytes <= room).then(|| self.leaf_view(id))
    }

    /// A model node that is not checked yet. `None` if its header says that it reaches past its chunk. The id
    /// must lie in the arena.
    pub(crate) fn inner_unless_too_long(&self, id: u32) -> Option<Inner<'_, K>> {
        let (place, room) = self.place(id);
        // SAFETY: as in `leaf_unless_too_long`.
        let fanout = unsafe { (*place.cast::<InnerHeader<K>>()).fanout } as usize;
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
            let place = self.place(id).0.cast::<LeafHeader<K>>();
            // SAFETY: `place` is in bounds, 64-byte aligned, and exclusively ours through `&mut self`.
            unsafe { place.write(Blank::HEADER) };
            let leaf = self.view_mut(id);
            leaf.bits.fill(0);
            leaf.keys.fill(K::MAX);
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
        let id = self.allocate(units_of(leaf_bytes::<K>(capacity)));
        let place = self.place(id).0.cast::<LeafHeader<K>>();
        // SAFETY: `place` is in bounds, 64-byte aligned, and exclusively ours through `&mut self`.
        unsafe { place.write(LeafHeader::<K>::empty(capacity as u32)) };
        id
    }

    /// Allocates a model node of `fanout` children, all zero.
    pub(crate) fn allocate_inner(&mut self, fanout: usize) -> u32 {
        let id = self.allocate(units_of(inner_bytes(fanout)));
        let place = self.place(id).0.cast::<InnerHeader<K>>();
        // SAFETY: `place` is in bounds, 64-byte aligned, and exclusively ours through `&mut self`.
        unsafe { place.write(InnerHeader::<K> { fanout: fanout as u32, ..InnerHeader::default() }) };
        self.inner_mut(id).children.fill(0);
        id
    }

    /// Frees a data node.
    pub(crate) fn free_leaf(&mut self, id: u32) {
        let units = units_of(leaf_bytes::<K>(self.leaf(id).keys.len()));
        self.release(id, units);
    }

    /// Frees a model node.
    pub(crate) fn free_inner(&mut self, id: u32) {
        let units = units_of(inner_bytes(self.inner(id).children.len()));
        self.release(id, units);
    }

    /// The first byte of a node, and the bytes of its chunk from there on: at least a unit, because offsets are
    /// whole units. The header of a data node of wide keys may be longer, but its capacity lies in the first unit
    /// (asserted in `node/header.rs`).
    #[inline(always)]
    fn place(&self, id: u32) -> (*mut u8, usize) {
        let offset = (id & (CHUNK_UNITS - 1)) as usize * UNIT;
        let chunk = self.chunks[(id >> CHUNK_SHIFT) as usize];
        // SAFETY: `offset < CHUNK_BYTES`, the size of the chunk's one allocation.
        (unsafe { chunk.as_ptr().add(offset) }, CHUNK_BYTES - offset)
    }

    /// The parts of a data node, checked to lie inside its chunk.
    #[inline(always)]
    fn leaf_parts(&self, id: u32) -> (*mut LeafHeader<K>, usize, *mut u64, *mut K, *mut u64) {
        let (place, room) = self.place(id);
        for line in (0..size_of::<LeafHeader<K>>()).step_by(UNIT) {
            count::touch_line(place.wrapping_add(line));
        }
        // SAFETY: `place` is aligned to a unit, the first unit lies inside the chunk with the capacity in it, and any bits
        // are a capacity.
        let capacity = unsafe { (*place.cast::<LeafHeader<K>>()).capacity } as usize;
        assert!(leaf_bytes::<K>(capacity) <= room, "a leaf reaches past its chunk");
        let keys = leaf_front_bytes::<K>(capacity);
        // SAFETY: `leaf_bytes::<K>(capacity)`, which ends after both arrays, was checked against the chunk.
        unsafe {
            (
                place.cast(),
                capacity,
                place.add(size_of::<LeafHeader<K>>()).cast(),
                place.add(keys).cast(),
                place.add(keys + capacity * size_of::<K>()).cast(),
            )
        }
    }

    /// A data node.
    #[inline(always)]
    pub(crate) fn leaf(&self, id: u32) -> Leaf<'_, K> {
        if !self.is_verified(id) && !self.verify(id) {
            return self.blank_leaf();
        }
        self.leaf_view(id)
    }

    #[cold]
    fn blank_leaf(&self) -> Leaf<'_, K> {
        // Only leaves of an image are ever not verified.
        let blank = self.blank.as_deref().expect("an image comes with a blank leaf");
        Leaf { head: &blank.head, bits: &[0], keys: &blank.keys, payloads: &blank.payloads }
    }

    #[inline(always)]
    fn leaf_view(&self, id: u32) -> Leaf<'_, K> {
        let (head, capacity, bits, keys, payloads) = self.leaf_parts(id);
        // SAFETY: the parts are disjoint, in bounds (`leaf_parts`), each aligned to its type, since header and bitmap fill
        // whole units and a key is no wider, initialised (chunks start as zeroes), and nobody writes while `&self` lives.
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
    pub(crate) fn leaf_mut(&mut self, id: u32) -> LeafMut<'_, K> {
        if !self.is_verified(id) && !self.verify(id) {
            self.blank(id);
        }
        self.view_mut(id)
    }

    #[inline(always)]
    fn view_mut(&mut self, id: u32) -> LeafMut<'_, K> {
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
    pub(crate) fn leaf_head_mut(&mut self, id: u32) -> &mut LeafHeader<K> {
        self.leaf_mut(id).head
    }

    /// Says that all of a leaf is read next, which matters to an image that is larger than memory.
    #[inline(always)]
    pub(crate) fn will_read(&self, id: u32) {
        if let Some(image) = self.image() {
            image.will_read(id);
        }
    }

    /// Prefetches a data node's header.
    #[inline(always)]
    pub(crate) fn prefetch(&self, id: u32) {
        let header = self.place(id).0;
        prefetch(header);
        if size_of::<LeafHeader<K>>() > UNIT {
            prefetch(header.wrapping_add(UNIT));
        }
    }

    #[inline(always)]
    fn inner_parts(&self, id: u32) -> (*mut InnerHeader<K>, usize, *mut u32) {
        let (place, room) = self.place(id);
        count::touch_line(place);
        // SAFETY: a header lies inside the chunk, aligned to 64 bytes, and any bits are a valid header.
        let fanout = unsafe { (*place.cast::<InnerHeader<K>>()).fanout } as usize;
        assert!(inner_bytes(fanout) <= room, "a model node reaches past its chunk");
        // SAFETY: `inner_bytes(fanout)`, which is past the header, was checked against the chunk.
        unsafe { (place.cast(), fanout, place.add(UNIT).cast()) }
    }

    /// A model node.
    #[inline(always)]
    pub(crate) fn inner(&self, id: u32) -> Inner<'_, K> {
        let (head, fanout, children) = self.inner_parts(id);
        // SAFETY: header and array are disjoint, in bounds (`inner_parts`), aligned, initialised, and
        // nobody writes while `&self` lives.
        unsafe { Inner { head: &*head, children: std::slice::from_raw_parts(children, fanout) } }
    }

    /// A model node, to change.
    pub(crate) fn inner_mut(&mut self, id: u32) -> InnerMut<'_, K> {
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

impl<K: Key> Drop for Arena<K> {
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
    use crate::key::Key;

    fn freed_nodes_are_reused_and_chunks_add_up<K: Key>() {
        let mut arena = Arena::<K>::default();
        let leaves: Vec<u32> = (1..200).map(|i| arena.allocate_leaf(64 * (1 + i % 256))).collect();
        let inner = arena.allocate_inner(1 << 16);
        arena.inner_mut(inner).children.fill(7);
        for &id in &leaves {
            let leaf = arena.leaf_mut(id);
            leaf.keys.fill(K::MAX);
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
    fn freed_nodes_are_reused_and_chunks_add_up_in_both_kinds() {
        freed_nodes_are_reused_and_chunks_add_up::<i64>();
        freed_nodes_are_reused_and_chunks_add_up::<i128>();
    }

    #[test]
    #[should_panic(expected = "index out of bounds")]
    fn an_id_of_no_chunk_panics() {
        let _ = Arena::<i64>::default().leaf(0).keys.len();
    }
}
