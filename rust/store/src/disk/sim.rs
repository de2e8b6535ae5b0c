//! A disk whose power can be cut. Anything written but not synced may or may not be there afterwards: each
//! 512-byte sector or 4 KiB page is as it was at any moment since the last sync, even with half a copy, and
//! the same goes for file lengths and names. Syncs, reservations and writes can be made to fail. Nothing here
//! is random by itself: the caller's seed decides, so that a failure replays exactly.
#![allow(unsafe_code)]

use std::cell::UnsafeCell;
use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::{Access, Disk, DiskFile, Lock, Map};

/// The error of a device that cannot write.
const EIO: i32 = 5;

/// Unreserved files begin with pages for this many bytes, and can grow while nobody has mapped the file.
const GROWTH_BYTES: u64 = 16 << 10;

/// The unit that memory keeps or drops as a whole.
const PAGE_BYTES: usize = 4096;

/// `SplitMix64` (Steele, Lea and Flood 2014): small, seedable, and good enough to choose faults.
#[derive(Debug, Clone)]
pub struct Rng(u64);

impl Rng {
    /// A generator that always yields the same numbers for the same seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `bound`, which must not be 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next_u64() % bound
    }

    /// True with probability 1 in `n`.
    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// How much is lost of everything that was not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// Nothing is left.
    Everything,
    /// Sectors, pages, lengths and names are lost at random.
    Random,
    /// Everything is left: the process was killed and the machine keeps running.
    ProcessOnly,
}

/// How a sync fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyncFailure {
    /// The data stays dirty; a later sync would write it.
    StaysDirty,
    /// The kernel forgets that the pages are dirty: reads see them, later syncs succeed without them.
    MarkedClean,
}

/// What goes wrong at one step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The power is cut.
    Cut,
    /// A sync (or a rename) fails.
    Sync(SyncFailure),
    /// A reservation, or a write by system call, finds the disk full. A part of the write is done.
    Full,
    /// A write by system call fails after a part of it, or all, is done.
    Write,
}

/// A handle of a simulated disk; clones share the disk.
#[derive(Clone)]
pub struct SimDisk {
    world: Arc<Mutex<World>>,
    path: PathBuf,
}

struct World {
    files: Vec<Inode>,
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    name_changes: Vec<NameChange>,
    locked: bool,
    /// Steps taken: everything that changes the disk is one.
    steps: u64,
    faults: BTreeMap<u64, Fault>,
    /// Faults that actually struck.
    struck: Vec<(u64, Fault)>,
    power: bool,
    rng: Rng,
    /// How many more reads until the page cache is dropped.
    forgets_in: Option<u64>,
    /// Whether dropped pages held anything other than a copy of what the device has.
    forgot: bool,
}

#[derive(Clone)]
enum NameChange {
    Create(String, usize),
    Rename(String, String, usize),
    Remove(String, usize),
}

struct Inode {
    cache: Arc<Pages>,
    len: u64,
    durable: Vec<u8>,
    durable_len: u64,
    /// What happened since the last sync, in order.
    changes: Vec<Change>,
    reserved: bool,
}

#[derive(Clone)]
enum Change {
    Write(u64, Vec<u8>),
    Len(u64),
}

/// The page cache of one file.
struct Pages(Box<[UnsafeCell<u8>]>);

// SAFETY: written only under the world's lock; read through maps only where nobody writes (see `Map`).
unsafe impl Send for Pages {}
// SAFETY: as for `Send`.
unsafe impl Sync for Pages {}

impl Pages {
    fn new(content: &[u8], capacity: u64) -> Arc<Self> {
        // Zeros that are never touched cost nothing.
        let mut bytes = vec![0; content.len().max(capacity as usize)].into_boxed_slice();
        bytes[..content.len()].copy_from_slice(content);
        let cells = Box::into_raw(bytes) as *mut [UnsafeCell<u8>];
        // SAFETY: the box was just given up, and a cell has the same layout as its content.
        Arc::new(Self(unsafe { Box::from_raw(cells) }))
    }

    fn start(&self) -> *mut u8 {
        self.0.as_ptr().cast_mut().cast()
    }

    fn capacity(&self) -> usize {
        self.0.len()
    }

    fn write(&self, offset: u64, bytes: &[u8]) {
        assert!(offset as usize + bytes.len() <= self.capacity(), "a simulated file outgrew its pages");
        // SAFETY: inside the box (checked just above); called under the world's lock only.
        unsafe {
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.start().add(offset as usize), bytes.len());
        }
    }

    fn read(&self, offset: u64, buffer: &mut [u8]) {
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

fn power_is_off() -> io::Error {
    io::Error::other("the simulated power is off")
}

impl World {
    /// Counts a step and returns the fault that strikes it: a cut, or the first planned fault that is due and
    /// that this kind of step `can` have.
    fn step(&mut self, can: fn(Fault) -> bool) -> io::Result<Option<Fault>> {
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

    fn write(&mut self, id: usize, offset: u64, bytes: &[u8], system_call: bool) -> io::Result<()> {
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

    fn sync(&mut self, id: usize) -> io::Result<()> {
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
    fn count_read(&mut self) {
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
    fn forget(&mut self) {
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
    fn survivor(&mut self, id: usize, loss: Loss) -> (Vec<u8>, u64) {
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

fn never(_: Fault) -> bool {
    false
}

fn writes(fault: Fault) -> bool {
    matches!(fault, Fault::Full | Fault::Write)
}

fn fills(fault: Fault) -> bool {
    fault == Fault::Full
}

fn syncs(fault: Fault) -> bool {
    matches!(fault, Fault::Sync(_))
}

/// The part of a write that falls into a unit.
fn overlap(from: u64, unit: u64, offset: u64, bytes: &[u8]) -> Option<(u64, Vec<u8>)> {
    let start = from.max(offset);
    let end = (from + unit).min(offset + bytes.len() as u64);
    (start < end).then(|| (start, bytes[(start - offset) as usize..(end - offset) as usize].to_vec()))
}

fn lay(content: &mut Vec<u8>, offset: u64, bytes: &[u8]) {
    let end = offset as usize + bytes.len();
    if content.len() < end {
        content.resize(end, 0);
    }
    content[offset as usize..end].copy_from_slice(bytes);
}

impl SimDisk {
    /// An empty disk. Everything left to chance follows from `seed`.
    pub fn new(seed: u64) -> Self {
        let world = World {
            files: Vec::new(),
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            name_changes: Vec::new(),
            locked: false,
            steps: 0,
            faults: BTreeMap::new(),
            struck: Vec::new(),
            power: true,
            rng: Rng::new(seed),
            forgets_in: None,
            forgot: false,
        };
        Self { world: Arc::new(Mutex::new(world)), path: PathBuf::from("simulated") }
    }

    /// Steps taken so far.
    pub fn steps(&self) -> u64 {
        self.world.lock().steps
    }

    /// Plans a fault for the step that comes `ahead` steps from now (1 is the next), or for the first later
    /// step that can have such a fault.
    pub fn plan(&self, ahead: u64, fault: Fault) {
        let mut world = self.world.lock();
        let step = world.steps + ahead;
        world.faults.insert(step, fault);
    }

    /// Drops every planned fault that has not struck.
    pub fn unplan(&self) {
        self.world.lock().faults.clear();
    }

    /// The faults that struck since the disk was created or restarted.
    pub fn struck(&self) -> Vec<Fault> {
        self.world.lock().struck.iter().map(|&(_, fault)| fault).collect()
    }

    /// Drops clean pages from memory before the read that comes `ahead` reads from now (1 is the next). Pages
    /// that a failed sync marked clean then read differently than before.
    pub fn plan_forgetting(&self, ahead: u64) {
        self.world.lock().forgets_in = Some(ahead);
    }

    /// Cancels [`SimDisk::plan_forgetting`]. Returns whether it changed what reads find.
    pub fn unplan_forgetting(&self) -> bool {
        let mut world = self.world.lock();
        world.forgets_in = None;
        std::mem::take(&mut world.forgot)
    }

    /// Whether the power is on.
    pub fn has_power(&self) -> bool {
        self.world.lock().power
    }

    /// The disk as the next process finds it. Old handles stop working.
    #[must_use]
    pub fn restart(&self, loss: Loss) -> Self {
        let next = self.next(loss);
        self.world.lock().power = false;
        next
    }

    /// Another disk with the same content, to be damaged independently.
    #[must_use]
    pub fn copy(&self) -> Self {
        self.next(Loss::ProcessOnly)
    }

    #[expect(
        clippy::too_many_lines,
        reason = "what a cut leaves of names, lengths and sectors, in the order in which seeds draw it"
    )]
    fn next(&self, loss: Loss) -> Self {
        let mut old = self.world.lock();
        let mut names = old.durable_names.clone();
        for change in old.name_changes.clone() {
            let kept = match loss {
                Loss::Everything => false,
                Loss::ProcessOnly => true,
                Loss::Random => old.rng.one_in(2),
            };
            if !kept {
                continue;
            }
            match change {
                NameChange::Create(name, id) => {
                    names.insert(name, id);
                }
                NameChange::Rename(from, to, id) => {
                    if names.get(&from) == Some(&id) {
                        names.remove(&from);
                    }
                    names.insert(to, id);
                }
                NameChange::Remove(name, id) => {
                    if names.get(&name) == Some(&id) {
                        names.remove(&name);
                    }
                }
            }
        }
        let is_known = |id: usize| names.values().chain(old.durable_names.values()).any(|&known| known == id);
        let known: Vec<bool> = (0..old.files.len()).map(is_known).collect();
        let mut files = Vec::new();
        for (id, known) in known.into_iter().enumerate() {
            let inode = if !known {
                // Removed for good: nobody can open it again.
                Inode {
                    cache: Pages::new(&[], 0),
                    len: 0,
                    durable: Vec::new(),
                    durable_len: 0,
                    changes: Vec::new(),
                    reserved: false,
                }
            } else if loss == Loss::ProcessOnly {
                let inode = &old.files[id];
                let mut content = vec![0; inode.len as usize];
                inode.cache.read(0, &mut content);
                Inode {
                    cache: Pages::new(&content, inode.cache.capacity() as u64),
                    len: inode.len,
                    durable: inode.durable.clone(),
                    durable_len: inode.durable_len,
                    changes: inode.changes.clone(),
                    reserved: inode.reserved,
                }
            } else {
                let reserved = old.files[id].reserved;
                let (content, len) = old.survivor(id, loss);
                Inode {
                    cache: Pages::new(&content, len.max(GROWTH_BYTES)),
                    len,
                    durable: content,
                    durable_len: len,
                    changes: Vec::new(),
                    reserved,
                }
            };
            files.push(inode);
        }
        let (durable_names, name_changes) = if loss == Loss::ProcessOnly {
            // Names known only to the running system can still be lost later.
            let known = old.durable_names.clone();
            let pending = names
                .iter()
                .filter(|(name, id)| known.get(*name) != Some(id))
                .map(|(name, id)| NameChange::Create(name.clone(), *id))
                .chain(
                    known
                        .iter()
                        .filter(|(name, _)| !names.contains_key(*name))
                        .map(|(name, id)| NameChange::Remove(name.clone(), *id)),
                )
                .collect();
            (known, pending)
        } else {
            (names.clone(), Vec::new())
        };
        let world = World {
            files,
            names,
            durable_names,
            name_changes,
            locked: false,
            steps: 0,
            faults: BTreeMap::new(),
            struck: Vec::new(),
            power: true,
            rng: Rng::new(old.rng.next_u64()),
            forgets_in: None,
            forgot: false,
        };
        Self { world: Arc::new(Mutex::new(world)), path: self.path.clone() }
    }

    /// Changes stored bytes directly and durably. For damage tests.
    pub fn corrupt(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut world = self.world.lock();
        let Some(&id) = world.names.get(name) else { return };
        let inode = &mut world.files[id];
        let mut content = vec![0; inode.len as usize];
        inode.cache.read(0, &mut content);
        change(&mut content);
        inode.len = content.len() as u64;
        inode.durable_len = inode.len;
        inode.cache = Pages::new(&content, inode.len.max(GROWTH_BYTES));
        inode.durable = content;
        inode.changes.clear();
    }

    fn file(&self, id: usize) -> Arc<dyn DiskFile> {
        Arc::new(SimFile { world: Arc::clone(&self.world), id })
    }
}

impl Disk for SimDisk {
    fn path(&self) -> &Path {
        &self.path
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let world = self.world.lock();
        if world.power { Ok(world.names.keys().cloned().collect()) } else { Err(power_is_off()) }
    }

    fn create(&self, name: &str, bytes: u64) -> io::Result<Arc<dyn DiskFile>> {
        let mut world = self.world.lock();
        if world.names.contains_key(name) {
            return Err(io::Error::from(io::ErrorKind::AlreadyExists));
        }
        if world.step(if bytes > 0 { fills } else { never })? == Some(Fault::Full) {
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        let id = world.files.len();
        world.files.push(Inode {
            cache: Pages::new(&[], bytes.max(GROWTH_BYTES)),
            len: bytes,
            durable: Vec::new(),
            durable_len: 0,
            changes: vec![Change::Len(bytes)],
            reserved: bytes > 0,
        });
        world.names.insert(name.to_owned(), id);
        world.name_changes.push(NameChange::Create(name.to_owned(), id));
        if world.power { Ok(self.file(id)) } else { Err(power_is_off()) }
    }

    fn open(&self, name: &str, _: Access) -> io::Result<Arc<dyn DiskFile>> {
        let world = self.world.lock();
        if !world.power {
            return Err(power_is_off());
        }
        let id = *world.names.get(name).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        Ok(self.file(id))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut world = self.world.lock();
        if let Some(Fault::Sync(_)) = world.step(syncs)? {
            return Err(io::Error::other("simulated device error"));
        }
        let id = world.names.remove(from).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        world.names.insert(to.to_owned(), id);
        world.name_changes.push(NameChange::Rename(from.to_owned(), to.to_owned(), id));
        if world.power { Ok(()) } else { Err(power_is_off()) }
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut world = self.world.lock();
        if !world.names.contains_key(name) {
            return Err(io::Error::from(io::ErrorKind::NotFound));
        }
        world.step(never)?;
        if let Some(id) = world.names.remove(name) {
            world.name_changes.push(NameChange::Remove(name.to_owned(), id));
        }
        if world.power { Ok(()) } else { Err(power_is_off()) }
    }

    fn sync_dir(&self) -> io::Result<()> {
        let mut world = self.world.lock();
        match world.step(syncs)? {
            Some(Fault::Cut) => return Err(power_is_off()),
            Some(Fault::Sync(_)) => {
                return Err(io::Error::other("simulated device error"));
            }
            _ => {}
        }
        world.durable_names = world.names.clone();
        world.name_changes.clear();
        Ok(())
    }

    fn lock(&self) -> io::Result<Lock> {
        let mut world = self.world.lock();
        if world.locked {
            return Ok(Lock::Held(None));
        }
        world.locked = true;
        Ok(Lock::Taken(Box::new(SimLock(Arc::clone(&self.world)))))
    }

    fn maps_safely(&self) -> bool {
        true
    }

    fn copies_below(&self) -> usize {
        // Small enough that small workloads write in both ways.
        160
    }

    fn boot_id(&self) -> [u8; 16] {
        [0; 16]
    }
}

struct SimLock(Arc<Mutex<World>>);

impl Drop for SimLock {
    fn drop(&mut self) {
        self.0.lock().locked = false;
    }
}

struct SimFile {
    world: Arc<Mutex<World>>,
    id: usize,
}

impl DiskFile for SimFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.world.lock().files[self.id].len)
    }

    fn allocated(&self) -> io::Result<u64> {
        self.len()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut world = self.world.lock();
        if !world.power {
            return Err(power_is_off());
        }
        world.count_read();
        let inode = &world.files[self.id];
        let count = inode.len.saturating_sub(offset).min(buffer.len() as u64) as usize;
        if count > 0 {
            inode.cache.read(offset, &mut buffer[..count]);
        }
        Ok(count)
    }

    fn next_data(&self, offset: u64) -> io::Result<Option<Range<u64>>> {
        let (mut block, mut at, mut data) = ([0; 512], offset, None);
        loop {
            let read = self.read_at(at, &mut block)?;
            let zeros = block[..read].iter().all(|&byte| byte == 0);
            match data {
                None if !zeros => data = Some(at),
                Some(start) if zeros => return Ok(Some(start..at)),
                _ => {}
            }
            at += read as u64;
            if read < block.len() {
                return Ok(data.map(|start| start..at));
            }
        }
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.world.lock().write(self.id, offset, bytes, true)
    }

    fn map_for_writing(&self, len: u64) -> io::Result<()> {
        let world = self.world.lock();
        let inode = &world.files[self.id];
        if inode.reserved && len <= inode.len { Ok(()) } else { Err(io::ErrorKind::Unsupported.into()) }
    }

    fn copy_into(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.world.lock().write(self.id, offset, bytes, false)
    }

    fn prepare(&self, _offset: u64, _len: u64) -> io::Result<()> {
        Ok(())
    }

    fn unmap_writing(&self) {}

    fn map(&self, len: u64) -> io::Result<Map> {
        let world = self.world.lock();
        let pages = Arc::clone(&world.files[self.id].cache);
        let (start, len) = (pages.start(), (len as usize).min(pages.capacity()));
        // SAFETY: `len` was limited to the pages, which live as long as the map's owner.
        Ok(unsafe { Map::new(start, len, pages) })
    }

    fn give_back_zeros(&self, offset: u64) {
        let world = self.world.lock();
        let inode = &world.files[self.id];
        let mut rest = vec![0; inode.len.saturating_sub(offset) as usize];
        inode.cache.read(offset, &mut rest);
        assert!(rest.iter().all(|&byte| byte == 0), "only zeros are given back");
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        let mut world = self.world.lock();
        world.step(never)?;
        let inode = &mut world.files[self.id];
        if len < inode.len {
            let zeros = vec![0; (inode.len - len) as usize];
            inode.cache.write(len, &zeros);
        }
        inode.len = len;
        inode.changes.push(Change::Len(len));
        if world.power { Ok(()) } else { Err(power_is_off()) }
    }

    fn sync(&self) -> io::Result<()> {
        self.world.lock().sync(self.id)
    }
}
