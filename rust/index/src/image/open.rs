//! Opening an image: header, checksum table and model nodes are checked; data nodes are verified at their
//! first use.
//!
//! Model nodes are few and every lookup passes them, so they are checked at once. The walk over them also
//! collects the data nodes, and which keys are sent to each, for their verification later. Model nodes are
//! behind the data nodes in post-order, children first. The walk checks that order, so it reaches no node
//! twice and ends whatever the bytes are. `O(blocks + model nodes)`.

use std::ops::{Range, RangeInclusive};
use std::sync::OnceLock;

use crate::arena::Arena;
use crate::error::BackendError;
use crate::key::Key;
use crate::mapped::format::{
    Damage, HEADER_BYTES, Header, Identity, ImageError, Kind, check_crc, damage, table_of,
};
use crate::mapped::memory::ImageMemory;
use crate::mapped::{Image, Named, no_keys};
use crate::node::{CHUNK_UNITS, InnerHeader, NodeId, UNIT, inner_bytes, leaf_bytes, units_of};
use crate::options::Options;
use crate::search::Supported;
use crate::tree::{Alex, Scratch};

/// An opened image.
#[derive(Debug)]
#[non_exhaustive]
pub struct Opened<K: Key = i64> {
    /// The index. It can be changed; the file never is.
    pub index: Alex<K>,
    /// The store and number that the image belongs to.
    pub identity: Identity,
    /// The bytes that the writer attached.
    pub attachment: Vec<u8>,
}

impl<K: Key> Alex<K> {
    /// Opens an image. Damage in its header, table or model nodes is an error now. Damage in a data node is
    /// found at its first use, and [`Alex::damage`] tells of it.
    ///
    /// Of the options, `max_leaf_slots` is ignored: the image has its own. `O(blocks of 64 KiB + model
    /// nodes)`.
    pub fn open_image(memory: ImageMemory, options: Options) -> Result<Opened<K>, ImageError> {
        K::open_image(memory, options)
    }

    pub(crate) fn do_open_image(memory: ImageMemory, options: Options) -> Result<Opened<K>, ImageError> {
        if cfg!(target_endian = "big") {
            return Err(ImageError::Format("needs a little-endian machine".to_owned()));
        }
        let backend = options.backend.map_or(Ok(Supported::active()), Supported::of);
        let backend =
            backend.map_err(|error: BackendError| ImageError::Format(format!("is not opened: {error}")))?;
        let first = memory.bytes(0, HEADER_BYTES.min(memory.len())).unwrap_or_default();
        let header = Header::decode(first, memory.len() as u64)?;
        header.require_kind(Kind::of::<K>())?;
        memory.will_read(header.table_at(), memory.len() - header.table_at());
        let part = |from: usize, to: usize| memory.bytes(from, to - from).unwrap_or_default();
        let table = part(header.table_at(), header.attachment_at());
        check_crc("a checksum table", header.table_at(), table, header.table_crc)?;
        let table = table_of(table, header.blocks());
        let attachment = part(header.attachment_at(), header.file_bytes());
        check_crc("an attachment", header.attachment_at(), attachment, header.attachment_crc)?;
        let attachment = attachment[..header.attachment_bytes as usize].to_vec();

        let image = Image::new(memory, header, table);
        let units = (header.data_bytes / UNIT as u64) as u32;
        if header.inner_start < units {
            image.compare(header.inner_start, units)?;
        }
        let mut arena = Arena::over(image);
        let mut walk = Walk::new(&header, units);
        walk.node(&arena, NodeId(header.root), K::BITS, K::MIN..=K::MAX)?;
        let Walk { leaves, inner_units, .. } = walk;
        let ends = (leaves.first().map(|leaf| leaf.id), leaves.last().map(|leaf| leaf.id));
        if ends != (Some(header.first_leaf), Some(header.last_leaf)) {
            return Err(damage(96, "the ids of the first and the last data node", "others").into());
        }
        if let Some(image) = arena.image_mut() {
            image.name(leaves, inner_units);
        }
        let index = Self {
            arena,
            root: NodeId(header.root),
            first_leaf: header.first_leaf,
            last_leaf: header.last_leaf,
            len: usize::try_from(header.keys).unwrap_or(usize::MAX),
            version: 0,
            backend,
            max_slots: header.max_leaf_slots(),
            scratch: Scratch::default(),
            tally: OnceLock::new(),
        };
        Ok(Opened { index, identity: header.identity, attachment })
    }

    /// Verifies every data node of the image that was not used yet. `O(bytes of the image)`.
    pub fn verify_image(&self) -> Result<(), Damage> {
        let Some(image) = self.arena.image() else { return Ok(()) };
        for &id in image.leaves() {
            // A node that was freed since is in a block that was verified before it was used.
            self.arena.verify_once(id);
        }
        image.damage().cloned().map_or(Ok(()), Err)
    }
}

/// The walk over the model nodes of an image.
struct Walk<'h, K> {
    header: &'h Header,
    units: u32,
    /// The next model node must not begin before this unit.
    next_inner: u32,
    leaves: Vec<Named<K>>,
    /// Units of the model nodes walked so far.
    inner_units: u64,
}

impl<'h, K: Key> Walk<'h, K> {
    fn new(header: &'h Header, units: u32) -> Self {
        Self { header, units, next_inner: header.inner_start, leaves: Vec::new(), inner_units: 0 }
    }

    /// Walks the subtree of a node to which `keys` and no others are sent.
    fn node(
        &mut self,
        arena: &Arena<K>,
        node: NodeId,
        below: u32,
        keys: RangeInclusive<K>,
    ) -> Result<(), Damage> {
        let id = node.id();
        let at = HEADER_BYTES + id as usize * UNIT;
        let require = |holds: bool, expected: &str| {
            if holds { Ok(()) } else { Err(damage(at, expected, "another")) }
        };
        if node.is_leaf() {
            let smallest = units_of(leaf_bytes::<K>(64));
            require(
                self.leaves.last().is_none_or(|last| last.id + smallest <= id),
                "data nodes in ascending order",
            )?;
            require(
                id.saturating_add(smallest) <= self.header.inner_start,
                "a data node before the model nodes",
            )?;
            require(id % CHUNK_UNITS + smallest <= CHUNK_UNITS, "a data node in one chunk")?;
            self.leaves.push(Named { id, keys });
            return Ok(());
        }
        require((self.header.inner_start..self.units).contains(&id), "a model node behind the data nodes")?;
        let inner = arena.inner_unless_too_long(id);
        let inner = inner.ok_or_else(|| damage(at, "a model node in one chunk", "a longer one"))?;
        let head = *inner.head;
        let end = id.saturating_add(units_of(inner_bytes(inner.children.len())));
        require(end <= self.units, "a model node in the image")?;
        require(inner.children.len() >= 2, "a model node with several children")?;
        require(head.shift < below, "a model node narrower than its parent")?;
        require(
            head.slot_start(inner.children.len() - 1).is_some(),
            "a model node whose last slot begins at a key",
        )?;
        let (mut runs, mut slot) = (0, 0);
        for run in inner.children.chunk_by(|a, b| a == b) {
            let child = NodeId(run[0]);
            require(child.is_leaf() || run.len() == 1, "a model node in one slot")?;
            let next = slot + run.len();
            self.node(arena, child, head.shift, routed(&head, slot..next, &keys))?;
            slot = next;
            runs += 1;
        }
        require(runs >= 2 && runs == head.children, "a model node with as many children as its header says")?;
        // Extending a range moves the keys of one leaf only (`adapt/extend.rs`).
        let together = |near: Option<K>, far: K| {
            near.is_none_or(|near| leaf_below(arena, node, near) == leaf_below(arena, node, far))
        };
        require(
            together(head.nominal_last().next(), K::MAX) && together(head.nominal_first().previous(), K::MIN),
            "a model node that keeps all keys beyond an end in one leaf",
        )?;
        require(id >= self.next_inner, "model nodes in ascending order")?;
        self.next_inner = end;
        self.inner_units += u64::from(end - id);
        Ok(())
    }
}

/// The part of `keys` that a model node sends to `slots`.
fn routed<K: Key>(head: &InnerHeader<K>, slots: Range<usize>, keys: &RangeInclusive<K>) -> RangeInclusive<K> {
    // Keys below the range go to the first slot, keys above it to the last.
    let low = if slots.start == 0 { Some(K::MIN) } else { head.slot_start(slots.start) };
    let high = if slots.end == head.fanout as usize { K::MAX } else { head.slot_last(slots.end - 1) };
    let (low, high) = (low.map(|low| low.max(*keys.start())), high.min(*keys.end()));
    low.filter(|&low| low <= high).map_or_else(no_keys, |low| low..=high)
}

/// The leaf that owns a key below a node whose subtree was walked.
fn leaf_below<K: Key>(arena: &Arena<K>, mut node: NodeId, key: K) -> u32 {
    while !node.is_leaf() {
        let inner = arena.inner(node.id());
        node = NodeId(inner.children[inner.head.route(key)]);
    }
    node.id()
}
