//! A disk whose power can be cut. Anything written but not synced may or may not be there afterwards: each
//! 512-byte sector or 4 KiB page is as it was at any moment since the last sync, even with half a copy, and
//! the same goes for file lengths and names. Syncs, reservations and writes can be made to fail. Nothing here
//! is random by itself: the caller's seed decides, so that a failure replays exactly.
#![allow(unsafe_code)]

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use parking_lot::Mutex;

use super::{Access, Disk, DiskFile, Lock, Map};

mod faults;
mod rng;
mod world;

pub use faults::{Fault, Loss, SyncFailure};
use faults::{fills, never, syncs};
pub use rng::Rng;
use world::{Change, Inode, NameChange, Pages, World, power_is_off};

/// Unreserved files begin with pages for this many bytes, and can grow while nobody has mapped the file.
const GROWTH_BYTES: u64 = 16 << 10;

/// A handle of a simulated disk; clones share the disk.
#[derive(Clone)]
pub struct SimDisk {
    world: Arc<Mutex<World>>,
    path: PathBuf,
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
            crowd: None,
            pages_read: 0,
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

    /// From now on files are too large for memory, and at each look `pages` more have been read from the device.
    pub fn crowd(&self, pages: u64) {
        self.world.lock().crowd = Some(pages);
    }

    /// How often each page of a file was said to be read soon, by the page's offset.
    pub fn asked(&self, name: &str) -> BTreeMap<u64, u64> {
        let world = self.world.lock();
        world.names.get(name).map(|&id| world.files[id].cache.asked()).unwrap_or_default()
    }

    /// Whether it was said of a file that none of it is to be read soon.
    pub fn let_go(&self, name: &str) -> bool {
        let world = self.world.lock();
        world.names.get(name).is_some_and(|&id| world.files[id].cache.let_go().load(Ordering::Relaxed))
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
            crowd: None,
            pages_read: 0,
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

    fn is_crowded(&self) -> bool {
        self.world.lock().crowd.is_some()
    }

    fn pages_read(&self) -> u64 {
        let mut world = self.world.lock();
        world.pages_read += world.crowd.unwrap_or_default();
        world.pages_read
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

    fn links(&self) -> io::Result<u64> {
        Ok(self.world.lock().names.values().filter(|&&id| id == self.id).count() as u64)
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

    fn will_read(&self, offset: u64, len: u64) {
        self.world.lock().files[self.id].cache.ask(offset, len);
    }

    fn will_not_read(&self) {
        self.world.lock().files[self.id].cache.let_go().store(true, Ordering::Relaxed);
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
