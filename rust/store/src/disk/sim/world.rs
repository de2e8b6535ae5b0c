//! What a simulated disk holds, in memory and on the device, and what a cut of the power leaves of it. Knows nothing of
//! handles.
#![allow(unsafe_code)]

use std::cell::UnsafeCell;
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use parking_lot::Mutex;

use super::super::map::Mapped;
use super::faults::{Fault, Loss, SyncFailure, never, syncs, writes};
use super::rng::Rng;

/// The error of a device that cannot write.
const EIO: i32 = 5;

/// The unit that memory keeps or drops as a whole.
const PAGE_BYTES: usize = 4096;

/// See the module.
pub(super) struct World {
    pub(super) files: Vec<Inode>,
    pub(super) names: BTreeMap<String, usize>,
    pub(super) durable_names: BTreeMap<String, usize>,
    pub(super) name_changes: Vec<NameChange>,
    pub(super) locked: bool,
    /// Steps taken: everything that changes the disk is one.
    pub(super) steps: u64,
    pub(super) faults: BTreeMap<u64, Fault>,
    /// Faults that actually struck.
    pub(super) struck: Vec<(u64, Fault)>,
    pub(super) power: bool,
    pub(super) rng: Rng,
    /// If files are too large for memory: how many pages have been read since each look at that count.
    pub(super) crowd: Option<u64>,
    /// That count.
    pub(super) pages_read: u64,
    /// How many more reads until the page cache is dropped.
    pub(super) forgets_in: Option<u64>,
    /// Whether dropped pages held anything other than a copy of what the device has.
    pub(super) forgot: bool,
}

#[derive(Clone)]
pub(super) enum NameChange {
    Create(String, usize),
    Rename(String, String, usize),
    Remove(String, usize),
}

pub(super) struct Inode {
    pub(super) cache: Arc<Pages>,
    pub(super) len: u64,
    pub(super) durable: Vec<u8>,
    pub(super) durable_len: u64,
    /// What happened since the last sync, in order.
    pub(super) changes: Vec<Change>,
    pub(super) reserved: bool,
}

#[derive(Clone)]
pub(super) enum Change {
    Write(u64, Vec<u8>),
    Len(u64),
}

/// The page cache of one file.
pub(super) struct Pages {
    bytes: Box<[UnsafeCell<u8>]>,
    /// What was said to be read soon: the offset of each page, and how often.
    asked: Mutex<BTreeMap<u64, u64>>,
    /// Whether it was said that none of it is to be read soon.
    let_go: AtomicBool,
}

// SAFETY: written only under the world's lock; read through maps only where nobody writes (see `Map`).
unsafe impl Send for Pages {}
// SAFETY: as for `Send`.
unsafe impl Sync for Pages {}

impl Pages {
    pub(super) fn new(content: &[u8], capacity: u64) -> Arc<Self> {
        // Zeros that are never touched cost nothing.
        let mut bytes = vec![0; content.len().max(capacity as usize)].into_boxed_slice();
        bytes[..content.len()].copy_from_slice(content);
        let cells = Box::into_raw(bytes) as *mut [UnsafeCell<u8>];
        // SAFETY: the box was just given up, and a cell has the same layout as its content.
        let bytes = unsafe { Box::from_raw(cells) };
        Arc::new(Self { bytes, asked: Mutex::default(), let_go: AtomicBool::new(false) })
    }

    pub(super) fn start(&self) -> *mut u8 {
        self.bytes.as_ptr().cast_mut().cast()
    }

    pub(super) fn capacity(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn ask(&self, offset: u64, len: u64) {
        let mut asked = self.asked.lock();
        for page in (offset..offset + len).step_by(PAGE_BYTES) {
            *asked.entry(page).or_default() += 1;
        }
    }

    pub(super) fn let_go(&self) -> &AtomicBool {
        &self.let_go
    }

    pub(super) fn asked(&self) -> BTreeMap<u64, u64> {
        self.asked.lock().clone()
    }

    pub(super) fn write(&self, offset: u64, bytes: &[u8]) {
        assert!(offset as usize + bytes.len() <= self.capacity(), "a simulated file outgrew its pages");
        // SAFETY: inside the box (checked just above); called under the world's lock only.
        unsafe {
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.start().add(offset as usize), bytes.len());
        }
    }

    pub(super) fn read(&self, offset: u64, buffer: &mut [u8]) {
        assert!(offset as usize + buffer.len() <= self.capacity(), "reads are cut to the file's length");
        // SAFETY: as in `write`.
        unsafe {
            std::ptr::copy_nonoverlapping(
                self.start().add(offset as usize),
                buffer.as_mut_ptr(),
                buffer.len(),
            );
        }
    }
}

impl Mapped for Pages {
    fn will_read(&self, offset: usize, len: usize) {
        self.ask(offset as u64, len as u64);
    }

    fn read_nothing_ahead(&self) {}
}

pub(super) fn power_is_off() -> io::Error {
    io::Error::other("the simulated power is off")
}

impl World {
    /// Counts a step and returns the fault that strikes it: a cut, or the first planned fault that is due and
    /// that this kind of step `can` have.
    pub(super) fn step(&mut self, can: fn(Fault) -> bool) -> io::Result<Option<Fault>> {
        if !self.power {
            return Err(power_is_off());
        }
        self.steps += 1;
        let due = self.faults.range(..=self.steps).find(|&(_, &fault)| fault == Fault::Cut || can(fault));
        let Some((&planned, &fault)) = due else { return Ok(None) };
        self.faults.remove(&planned);
        self.struck.push((self.steps, fault));
        if fault == Fault::Cut {
            self.power = false;
        }
        Ok(Some(fault))
    }

    pub(super) fn write(
        &mut self,
        id: usize,
        offset: u64,
        bytes: &[u8],
        system_call: bool,
    ) -> io::Result<()> {
        let fault = self.step(if system_call { writes } else { never })?;
        let mut count = bytes.len();
        let mut outcome = Ok(());
        match fault {
            Some(Fault::Cut) => {
                count = self.rng.below(bytes.len() as u64 + 1) as usize;
                outcome = Err(power_is_off());
            }
            Some(Fault::Full) => {
                count = self.rng.below(bytes.len() as u64 + 1) as usize;
                outcome = Err(io::Error::from(io::ErrorKind::StorageFull));
            }
            Some(Fault::Write) => {
                count = self.rng.below(bytes.len() as u64 + 1) as usize;
                outcome = Err(io::Error::from_raw_os_error(EIO));
            }
            _ => {}
        }
        let inode = &mut self.files[id];
        let end = offset as usize + count;
        if end > inode.cache.capacity() && Arc::strong_count(&inode.cache) == 1 {
            let mut content = vec![0; inode.cache.capacity()];
            inode.cache.read(0, &mut content);
            inode.cache = Pages::new(&content, end.next_power_of_two() as u64);
        }
        inode.cache.write(offset, &bytes[..count]);
        // Only these bytes can reach the device: the rest of a copy that was cut never reached memory.
        inode.changes.push(Change::Write(offset, bytes[..count].to_vec()));
        inode.len = inode.len.max(offset + count as u64);
        outcome
    }

    pub(super) fn sync(&mut self, id: usize) -> io::Result<()> {
        match self.step(syncs)? {
            Some(Fault::Cut) => return Err(power_is_off()),
            Some(Fault::Sync(how)) => {
                if how == SyncFailure::MarkedClean {
                    self.files[id].changes.clear();
                }
                return Err(io::Error::other("simulated device error"));
            }
            _ => {}
        }
        let inode = &mut self.files[id];
        // Write only what is still dirty: pages that were marked clean stay lost.
        for change in std::mem::take(&mut inode.changes) {
            if let Change::Write(offset, bytes) = change {
                lay(&mut inode.durable, offset, &bytes);
            }
        }
        inode.durable.resize(inode.len as usize, 0);
        inode.durable_len = inode.len;
        Ok(())
    }

    /// Counts a read. The page cache may be dropped before it.
    pub(super) fn count_read(&mut self) {
        self.forgets_in = match self.forgets_in {
            Some(1) => {
                self.forget();
                None
            }
            left => left.map(|left| left - 1),
        };
    }

    /// Drops clean pages, all or some: later reads return what the device has. That differs if a failed sync
    /// marked a page clean.
    pub(super) fn forget(&mut self) {
        let all = self.rng.one_in(2);
        for inode in &self.files {
            for from in (0..inode.len).step_by(PAGE_BYTES) {
                let dirty = |change: &Change| match change {
                    Change::Write(offset, bytes) => {
                        overlap(from, PAGE_BYTES as u64, *offset, bytes).is_some()
                    }
                    Change::Len(_) => false,
                };
                if inode.changes.iter().any(dirty) {
                    continue;
                }
                let len = (inode.len - from).min(PAGE_BYTES as u64) as usize;
                let (mut cached, mut stored) = (vec![0; len], vec![0; len]);
                inode.cache.read(from, &mut cached);
                let durable = inode.durable.get(from as usize..).unwrap_or_default();
                let there = durable.len().min(len);
                stored[..there].copy_from_slice(&durable[..there]);
                if cached != stored && (all || self.rng.one_in(2)) {
                    inode.cache.write(from, &stored);
                    self.forgot = true;
                }
            }
        }
    }

    /// The content of a file after the power comes back.
    pub(super) fn survivor(&mut self, id: usize, loss: Loss) -> (Vec<u8>, u64) {
        let inode = &self.files[id];
        if loss == Loss::Everything {
            return (inode.durable.clone(), inode.durable_len);
        }
        let mut lens = vec![inode.durable_len, inode.len];
        let mut touched = inode.durable.len() as u64;
        for change in &inode.changes {
            match change {
                Change::Len(len) => lens.push(*len),
                Change::Write(offset, bytes) => touched = touched.max(offset + bytes.len() as u64),
            }
        }
        let mut content = inode.durable.clone();
        content.resize(touched as usize, 0);
        let unit = if self.rng.one_in(2) { 512 } else { 4096 };
        // Some files lose little and some much, so that both long prefixes and deep holes occur.
        let kept_whole = self.rng.below(9);
        for from in (0..touched).step_by(unit as usize) {
            let in_unit: Vec<_> = self.files[id]
                .changes
                .iter()
                .filter_map(|change| match change {
                    Change::Write(offset, bytes) => overlap(from, unit, *offset, bytes),
                    Change::Len(_) => None,
                })
                .collect();
            if in_unit.is_empty() {
                continue;
            }
            let all = in_unit.len();
            let kept =
                if self.rng.below(8) < kept_whole { all } else { self.rng.below(all as u64 + 1) as usize };
            for (offset, bytes) in &in_unit[..kept] {
                lay(&mut content, *offset, bytes);
            }
            if let (Some((offset, bytes)), true) = (in_unit.get(kept), self.rng.one_in(4)) {
                let half = self.rng.below(bytes.len() as u64 + 1) as usize;
                lay(&mut content, *offset, &bytes[..half]);
            }
        }
        let len = lens[self.rng.below(lens.len() as u64) as usize];
        content.resize(len as usize, 0);
        (content, len)
    }
}

/// The part of a write that falls into a unit.
pub(super) fn overlap(from: u64, unit: u64, offset: u64, bytes: &[u8]) -> Option<(u64, Vec<u8>)> {
    let start = from.max(offset);
    let end = (from + unit).min(offset + bytes.len() as u64);
    (start < end).then(|| (start, bytes[(start - offset) as usize..(end - offset) as usize].to_vec()))
}

pub(super) fn lay(content: &mut Vec<u8>, offset: u64, bytes: &[u8]) {
    let end = offset as usize + bytes.len();
    if content.len() < end {
        content.resize(end, 0);
    }
    content[offset as usize..end].copy_from_slice(bytes);
}
