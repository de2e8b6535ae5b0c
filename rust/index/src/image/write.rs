//! Writing an image from an ascending stream of entries, in bounded memory.
//!
//! The model nodes are those that the tree had at the beginning (`skeleton.rs`). The data nodes are built by
//! the code of bulk loads: packed, and with new models. A run of slots is gathered until it fills a leaf. In
//! memory are the entries of one run, the last leaf, whose link to the next is not known yet, and the model
//! nodes, which are written last, children first.
//!
//! The tree may change between two pushes, but only keys that it held at the beginning may be pushed, because
//! those fit its model nodes. Later keys may be outside the ranges of these, any number of them in one slot,
//! where the tree itself has extended a range since.
//!
//! Bytes go to an [`ImageSink`]: the nodes in order, and the header at the end. `O(entries)`. Knows nothing
//! of files.

use std::io;

use super::skeleton::{Place, Skeleton};
use crate::build::{Chain, Draft, Entries, Plan, load_fill, prefix};
use crate::key::Key;
use crate::mapped::format::{
    BLOCK_BYTES, HEADER_BYTES, Header, Identity, Kind, MAX_ATTACHMENT_BYTES, block_at, padded,
};
use crate::node::{
    CHUNK_UNITS, InnerHeader, Leaf, LeafHeader, NIL, NodeId, UNIT, inner_bytes, leaf_bytes, leaf_front_bytes,
    units_of,
};
use crate::tree::Alex;

/// Bytes that are gathered before they go to the sink: whole blocks.
const GATHER_BYTES: usize = 16 * BLOCK_BYTES;

/// Where the bytes of an image go.
pub trait ImageSink {
    /// Writes all of `bytes` at `offset`.
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()>;
}

impl ImageSink for Vec<u8> {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let end = offset as usize + bytes.len();
        if self.len() < end {
            self.resize(end, 0);
        }
        self[offset as usize..end].copy_from_slice(bytes);
        Ok(())
    }
}

/// The size of an image that was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Written {
    /// Number of entries.
    pub keys: u64,
    /// Length of the file in bytes.
    pub bytes: u64,
}

/// A model node that is complete except that its children which are model nodes have no ids yet: they are
/// given by their number in `NodeWriter::inner`.
struct DoneInner<K> {
    head: InnerHeader<K>,
    children: Vec<u32>,
}

/// A model node of the skeleton whose slots are being filled.
struct Frame<K> {
    node: u32,
    draft: Draft<K>,
    /// The first slot whose entries are not in a leaf yet.
    run_slot: usize,
}

/// Writes an image from an ascending stream of entries: [`begin`](Self::begin), then [`push`](Self::push)
/// them, then [`finish`](Self::finish).
pub struct ImageWriter<S, K: Key = i64> {
    out: NodeWriter<S, K>,
    identity: Identity,
    skeleton: Skeleton<K>,
    /// A tree in which nodes are built before they are written.
    workshop: Alex<K>,
    frames: Vec<Frame<K>>,
    /// The entries that are in no leaf yet: those of the run that is being gathered.
    keys: Vec<K>,
    payloads: Vec<u64>,
    /// Where the entries of the run's last slot begin.
    cut: usize,
    place: Option<Place>,
    last_key: Option<K>,
    count: u64,
}

impl<S: ImageSink, K: Key> ImageWriter<S, K> {
    /// Begins an image of `index`, whose entries must be pushed next. Writes nothing yet. `O(model nodes)`.
    pub fn begin(index: &Alex<K>, sink: S, identity: Identity) -> Self {
        Self {
            out: NodeWriter::new(sink),
            identity,
            skeleton: Skeleton::of(&index.arena, index.root),
            workshop: Alex::empty(index.backend, index.max_slots),
            frames: Vec::new(),
            keys: Vec::new(),
            payloads: Vec::new(),
            cut: 0,
            place: None,
            last_key: None,
            count: 0,
        }
    }

    /// The last key that was pushed. The next must be above it.
    pub fn last_key(&self) -> Option<K> {
        self.last_key
    }

    /// Adds the next entries. Their keys must ascend, must be above all keys before, and must be keys that
    /// the index held when the image was begun. Not all of those need come, and their payloads may have
    /// changed. Later keys are an error if more of them are outside the range of a model node than a data
    /// node can hold.
    ///
    /// # Panics
    /// If the two slices differ in length.
    pub fn push(&mut self, keys: &[K], payloads: &[u64]) -> io::Result<()> {
        assert_eq!(keys.len(), payloads.len(), "one payload for each key");
        let (Some(&first), Some(&last)) = (keys.first(), keys.last()) else { return Ok(()) };
        if self.last_key.is_some_and(|last| last >= first) || !keys.is_sorted_by(|a, b| a < b) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the keys of an image must ascend"));
        }
        self.last_key = Some(last);
        self.count += keys.len() as u64;
        let mut at = 0;
        while at < keys.len() {
            let mut end = keys.len();
            if !self.skeleton.is_empty() {
                let place = self.skeleton.route(keys[at]);
                if self.place != Some(place) {
                    self.close_slot()?;
                    self.enter(place.node)?;
                    self.place = Some(place);
                }
                end = at + prefix(&keys[at..], |key| self.skeleton.route(key) == place);
            }
            self.keys.extend_from_slice(&keys[at..end]);
            self.payloads.extend_from_slice(&payloads[at..end]);
            at = end;
        }
        Ok(())
    }

    /// Writes the remaining entries, the model nodes, the checksums, `attachment`, and the header at the end.
    /// Syncs nothing. Only after it has returned is the file an image.
    pub fn finish(mut self, attachment: &[u8]) -> io::Result<(Written, S)> {
        if attachment.len() as u64 > MAX_ATTACHMENT_BYTES {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "an attachment has at most 1 GiB"));
        }
        self.close_slot()?;
        while self.frames.len() > 1 {
            self.leave()?;
        }
        let root = match self.frames.pop() {
            Some(frame) => self.complete(frame)?,
            // The tree was a single data node, or no entries were pushed.
            None => {
                let (keys, payloads) = (std::mem::take(&mut self.keys), std::mem::take(&mut self.payloads));
                let entries = Entries { keys: &keys, payloads: &payloads };
                let node = K::leaf_or_node(
                    &mut self.workshop,
                    &mut Chain::new(),
                    entries,
                    Plan::load(load_fill::<K>()),
                );
                self.out.take(&mut self.workshop, node)?
            }
        };
        self.out.finish(self.identity, self.count, self.workshop.max_slots, root, attachment)
    }

    /// Makes a node of the skeleton the one that is being filled.
    fn enter(&mut self, node: u32) -> io::Result<()> {
        if self.frames.last().is_some_and(|frame| frame.node == node) {
            return Ok(());
        }
        let path = self.skeleton.path(node);
        let common = self.frames.iter().zip(&path).take_while(|(frame, node)| frame.node == **node).count();
        while self.frames.len() > common {
            self.leave()?;
        }
        for &node in &path[common..] {
            let bone = self.skeleton.bone(node);
            let (head, slot) = (InnerHeader { children: 0, ..bone.head }, bone.parent.slot);
            let mut plan = Plan::load(load_fill::<K>());
            if let Some(above) = self.frames.last() {
                plan = above.draft.plan.nested(&above.draft.head, slot);
                self.emit(slot, self.keys.len())?;
            }
            self.frames.push(Frame { node, draft: Draft { head, plan, pieces: Vec::new() }, run_slot: 0 });
        }
        Ok(())
    }

    /// Completes the innermost node that is being filled.
    fn leave(&mut self) -> io::Result<()> {
        let Some(frame) = self.frames.pop() else { return Ok(()) };
        let slot = self.skeleton.bone(frame.node).parent.slot;
        let node = self.complete(frame)?;
        if let Some(above) = self.frames.last_mut() {
            above.draft.pieces.push((slot, node));
            above.run_slot = slot + 1;
        }
        Ok(())
    }

    /// Fills the last slots of a node, and builds the node.
    fn complete(&mut self, frame: Frame<K>) -> io::Result<NodeId> {
        let fanout = frame.draft.head.fanout as usize;
        self.frames.push(frame);
        self.emit(fanout, self.keys.len())?;
        // Cannot fail: the frame was pushed above, and `emit` pops none.
        let draft = self.frames.pop().map(|frame| frame.draft).expect("a frame was pushed");
        if let [(_, only)] = draft.pieces[..] {
            return Ok(only);
        }
        Ok(self
            .out
            .keep_inner(InnerHeader { children: draft.pieces.len() as u32, ..draft.head }, draft.children()))
    }

    /// Decides where the entries of the last slot go, which are complete now: they join the run, or begin the
    /// next run, or, if they are too many for a leaf, get a model node. Follows the rules of `Alex::sweep`.
    fn close_slot(&mut self) -> io::Result<()> {
        let (Some(place), Some(frame)) = (self.place.take(), self.frames.last()) else { return Ok(()) };
        let most = self.workshop.most_entries(load_fill::<K>());
        let slot = place.slot;
        if self.keys.len() - self.cut > most {
            let plan = frame.draft.plan.nested(&frame.draft.head, slot);
            self.emit(slot, self.cut)?;
            let (keys, payloads) = (std::mem::take(&mut self.keys), std::mem::take(&mut self.payloads));
            let entries = Entries { keys: &keys, payloads: &payloads };
            let node = K::new_node(&mut self.workshop, &mut Chain::new(), entries, plan);
            let node = self.out.take(&mut self.workshop, node)?;
            if let Some(frame) = self.frames.last_mut() {
                frame.draft.pieces.push((slot, node));
                frame.run_slot = slot + 1;
            }
        } else if self.keys.len() > most * 3 / 4 && self.cut > 0 {
            self.emit(slot, self.cut)?;
        }
        self.cut = self.keys.len();
        Ok(())
    }

    /// Puts the first `count` gathered entries into one or more leaves, for the slots before `slot`.
    fn emit(&mut self, slot: usize, count: usize) -> io::Result<()> {
        let Some(frame) = self.frames.last_mut() else { return Ok(()) };
        let made = frame.draft.pieces.len();
        let entries = Entries { keys: &self.keys[..count], payloads: &self.payloads[..count] };
        K::emit(&mut self.workshop, &mut Chain::new(), entries, &mut frame.draft, frame.run_slot..slot);
        for (_, node) in &mut frame.draft.pieces[made..] {
            *node = self.out.take(&mut self.workshop, *node)?;
        }
        frame.run_slot = slot;
        self.keys.drain(..count);
        self.payloads.drain(..count);
        self.cut = self.keys.len();
        Ok(())
    }
}

/// Writes nodes to the sink, and the tables and the header of the image behind and before them.
struct NodeWriter<S, K> {
    sink: S,
    /// Bytes that wait for the sink.
    gathered: Vec<u8>,
    /// How many bytes of the nodes went to the sink before them.
    gone: usize,
    table: Vec<u32>,
    /// The unit where the next node can begin.
    next: u32,
    live_units: u64,
    first_leaf: u32,
    last_leaf: u32,
    /// The bytes of the last leaf, which wait for the id of the next leaf.
    waiting: Vec<u8>,
    inner: Vec<DoneInner<K>>,
}

impl<S: ImageSink, K: Key> NodeWriter<S, K> {
    fn new(sink: S) -> Self {
        Self {
            sink,
            gathered: Vec::with_capacity(GATHER_BYTES + BLOCK_BYTES),
            gone: 0,
            table: Vec::new(),
            next: 0,
            live_units: 0,
            first_leaf: NIL,
            last_leaf: NIL,
            waiting: Vec::new(),
            inner: Vec::new(),
        }
    }

    /// Moves a subtree out of the workshop: writes its leaves and keeps its model nodes for later.
    fn take(&mut self, workshop: &mut Alex<K>, node: NodeId) -> io::Result<NodeId> {
        if node.is_leaf() {
            let id = self.leaf(&workshop.arena.leaf(node.id()), workshop.max_slots)?;
            workshop.arena.free_leaf(node.id());
            return Ok(NodeId::leaf(id));
        }
        let inner = workshop.arena.inner(node.id());
        let (head, old) = (*inner.head, inner.children.to_vec());
        let mut children = Vec::with_capacity(old.len());
        for run in old.chunk_by(|a, b| a == b) {
            let child = self.take(workshop, NodeId(run[0]))?;
            children.extend(std::iter::repeat_n(child.0, run.len()));
        }
        workshop.arena.free_inner(node.id());
        Ok(self.keep_inner(head, children))
    }

    fn keep_inner(&mut self, head: InnerHeader<K>, children: Vec<u32>) -> NodeId {
        let head = InnerHeader { fanout: children.len() as u32, ..head };
        self.inner.push(DoneInner { head, children });
        NodeId::inner(self.inner.len() as u32 - 1)
    }

    /// The id of the next node, which must not cross a chunk.
    fn allot(&mut self, bytes: usize) -> io::Result<u32> {
        let units = units_of(bytes);
        let used = self.next % CHUNK_UNITS;
        let id = if used + units > CHUNK_UNITS { self.next - used + CHUNK_UNITS } else { self.next };
        if id.checked_add(units).is_none_or(|end| end >= NodeId::LEAF) {
            return Err(io::Error::other("the index has outgrown 128 GiB"));
        }
        self.next = id + units;
        self.live_units += u64::from(units);
        Ok(id)
    }

    fn leaf(&mut self, leaf: &Leaf<'_, K>, max_slots: usize) -> io::Result<u32> {
        if leaf.keys.len() > max_slots {
            // Opening would refuse such a data node, because code that changes trees relies on its size.
            let reason = "more keys are outside the range of a model node than a data node can hold";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
        }
        let id = self.allot(leaf_bytes::<K>(leaf.keys.len()))?;
        self.release_waiting(id, id)?;
        let mut head = *leaf.head;
        (head.prev, head.next) = (self.last_leaf, NIL);
        if self.first_leaf == NIL {
            self.first_leaf = id;
        }
        self.last_leaf = id;
        let mut bytes = std::mem::take(&mut self.waiting);
        bytes.clear();
        head.encode(&mut bytes);
        append(&mut bytes, leaf.bits, u64::to_le_bytes);
        bytes.resize(leaf_front_bytes::<K>(leaf.keys.len()), 0);
        append(&mut bytes, leaf.keys, K::to_bytes);
        append(&mut bytes, leaf.payloads, u64::to_le_bytes);
        self.waiting = bytes;
        Ok(id)
    }

    /// Writes the waiting leaf, linked to the leaf `next`, and zeros up to the node at `to`.
    fn release_waiting(&mut self, next: u32, to: u32) -> io::Result<()> {
        if self.last_leaf != NIL {
            LeafHeader::<K>::encode_next(&mut self.waiting, next);
        }
        let bytes = std::mem::take(&mut self.waiting);
        self.write(&bytes)?;
        self.waiting = bytes;
        self.pad_to(to)
    }

    fn pad_to(&mut self, unit: u32) -> io::Result<()> {
        let missing = unit as usize * UNIT - self.gone - self.gathered.len();
        self.write(&vec![0; missing])
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        for piece in bytes.chunks(GATHER_BYTES) {
            self.gathered.extend_from_slice(piece);
            if self.gathered.len() >= GATHER_BYTES {
                self.send(self.gathered.len() / BLOCK_BYTES * BLOCK_BYTES)?;
            }
        }
        Ok(())
    }

    /// Sends the first `len` gathered bytes to the sink: whole blocks, unless they are the last.
    fn send(&mut self, len: usize) -> io::Result<()> {
        self.table.extend(self.gathered[..len].chunks(BLOCK_BYTES).map(crc32c::crc32c));
        self.sink.write_at((block_at(0) + self.gone) as u64, &self.gathered[..len])?;
        self.gathered.drain(..len);
        self.gone += len;
        Ok(())
    }

    fn finish(
        mut self,
        identity: Identity,
        keys: u64,
        max_slots: usize,
        root: NodeId,
        attachment: &[u8],
    ) -> io::Result<(Written, S)> {
        let inner_start = self.next;
        self.release_waiting(NIL, inner_start)?;
        let inner = std::mem::take(&mut self.inner);
        let mut ids = Vec::with_capacity(inner.len());
        for node in &inner {
            let id = self.allot(inner_bytes(node.children.len()))?;
            ids.push(id);
            self.pad_to(id)?;
            let mut bytes = Vec::with_capacity(inner_bytes(node.children.len()));
            node.head.encode(&mut bytes);
            for &child in &node.children {
                let child = NodeId(child);
                let child = if child.is_leaf() { child } else { NodeId::inner(ids[child.id() as usize]) };
                bytes.extend_from_slice(&child.0.to_le_bytes());
            }
            self.write(&bytes)?;
            self.pad_to(self.next)?;
        }
        self.send(self.gathered.len())?;

        let mut table = Vec::with_capacity(padded(self.table.len() * 4));
        append(&mut table, &self.table, u32::to_le_bytes);
        table.resize(padded(table.len()), 0);
        let mut rest = attachment.to_vec();
        rest.resize(padded(rest.len()), 0);
        let header = Header {
            kind: Kind::of::<K>(),
            identity,
            keys,
            data_bytes: self.gone as u64,
            live_units: self.live_units,
            inner_start,
            root: if root.is_leaf() { root.0 } else { NodeId::inner(ids[root.id() as usize]).0 },
            first_leaf: self.first_leaf,
            last_leaf: self.last_leaf,
            max_slots: max_slots as u32,
            table_crc: crc32c::crc32c(&table),
            attachment_crc: crc32c::crc32c(&rest),
            attachment_bytes: attachment.len() as u64,
        };
        table.extend_from_slice(&rest);
        self.sink.write_at(header.table_at() as u64, &table)?;
        // The header comes last of all: without it the file is no image.
        self.sink.write_at(0, &header.encode())?;
        debug_assert_eq!(HEADER_BYTES, header.encode().len());
        Ok((Written { keys, bytes: header.file_bytes() as u64 }, self.sink))
    }
}

/// Appends integers as little-endian bytes.
fn append<T: Copy, B: AsRef<[u8]>>(bytes: &mut Vec<u8>, items: &[T], encode: impl Fn(T) -> B) {
    let from = bytes.len();
    bytes.resize(from + items.len() * size_of::<B>(), 0);
    for (place, &item) in bytes[from..].chunks_exact_mut(size_of::<B>()).zip(items) {
        place.copy_from_slice(encode(item).as_ref());
    }
}
