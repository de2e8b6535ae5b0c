//! A disk that lets a test observe, accompany or fail single calls of another disk.

use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use alex_store::disk::sim::SimDisk;
use alex_store::disk::{Access, Disk, DiskFile, Lock, Map};
use alex_store::{Error, Options, Store};

/// A call that is about to be made.
pub enum Call<'a> {
    Read(&'a str),
    /// This many bytes have been read.
    ReadBytes(&'a str, u64),
    Write(&'a str, u64, &'a [u8]),
    MapForWriting,
    Open(&'a str),
    /// How many names it has is asked.
    Links(&'a str),
    /// A new file of this many bytes.
    Create(&'a str, u64),
    Map(&'a str),
    Sync(&'a str),
    /// The sync is done.
    Synced(&'a str),
    Remove(&'a str),
}

type Hook = Box<dyn FnMut(&Call<'_>) -> io::Result<()> + Send>;

/// A simulated disk with a hook on its calls.
#[derive(Clone)]
pub struct HookDisk {
    inner: SimDisk,
    hook: Arc<Mutex<Option<Hook>>>,
}

impl HookDisk {
    pub fn new(inner: &SimDisk) -> Self {
        Self { inner: inner.clone(), hook: Arc::default() }
    }

    /// From now on each call asks `hook` first; an error becomes the outcome of the call.
    pub fn hook(&self, hook: impl FnMut(&Call<'_>) -> io::Result<()> + Send + 'static) {
        *self.hook.lock().expect("no test panics in a hook") = Some(Box::new(hook));
    }

    /// From now on counts the bytes read of segments, in place of another hook.
    pub fn count_segment_bytes(&self) -> Arc<AtomicU64> {
        let count = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&count);
        self.hook(move |call| {
            if let Call::ReadBytes(name, bytes) = call
                && name.starts_with("seg-")
            {
                counted.fetch_add(*bytes, Ordering::Relaxed);
            }
            Ok(())
        });
        count
    }

    pub fn unhook(&self) {
        *self.hook.lock().expect("no test panics in a hook") = None;
    }

    pub fn open_store(&self, options: &Options) -> Result<Store, Error> {
        Store::open_on(Arc::new(self.clone()), Path::new("simulated"), options, &mut |_| true)
    }

    fn file(&self, name: &str, inner: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        Arc::new(HookFile { disk: self.clone(), name: name.to_owned(), inner })
    }

    /// A hook may call the disk again, so it is taken out while it runs.
    fn ask(&self, call: &Call<'_>) -> io::Result<()> {
        let Some(mut hook) = self.hook.lock().expect("no test panics in a hook").take() else {
            return Ok(());
        };
        let outcome = hook(call);
        self.hook.lock().expect("no test panics in a hook").get_or_insert(hook);
        outcome
    }
}

struct HookFile {
    disk: HookDisk,
    name: String,
    inner: Arc<dyn DiskFile>,
}

impl Disk for HookDisk {
    fn path(&self) -> &Path {
        self.inner.path()
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.inner.list()
    }

    fn create(&self, name: &str, bytes: u64) -> io::Result<Arc<dyn DiskFile>> {
        self.ask(&Call::Create(name, bytes))?;
        Ok(self.file(name, self.inner.create(name, bytes)?))
    }

    fn open(&self, name: &str, access: Access) -> io::Result<Arc<dyn DiskFile>> {
        self.ask(&Call::Open(name))?;
        Ok(self.file(name, self.inner.open(name, access)?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.inner.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.ask(&Call::Remove(name))?;
        self.inner.remove(name)
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.inner.sync_dir()
    }

    fn lock(&self) -> io::Result<Lock> {
        self.inner.lock()
    }

    fn maps_safely(&self) -> bool {
        self.inner.maps_safely()
    }

    fn copies_below(&self) -> usize {
        // As on a real disk: what the log writes under its lock is copied, so hooks may call the store.
        8 << 10
    }

    fn boot_id(&self) -> [u8; 16] {
        self.inner.boot_id()
    }
}

impl DiskFile for HookFile {
    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }

    fn links(&self) -> io::Result<u64> {
        self.disk.ask(&Call::Links(&self.name))?;
        self.inner.links()
    }

    fn allocated(&self) -> io::Result<u64> {
        self.inner.allocated()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.disk.ask(&Call::Read(&self.name))?;
        let read = self.inner.read_at(offset, buffer)?;
        self.disk.ask(&Call::ReadBytes(&self.name, read as u64))?;
        Ok(read)
    }

    fn next_data(&self, offset: u64) -> io::Result<Option<Range<u64>>> {
        self.inner.next_data(offset)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.disk.ask(&Call::Write(&self.name, offset, bytes))?;
        self.inner.write_at(offset, bytes)
    }

    fn map_for_writing(&self, len: u64) -> io::Result<()> {
        self.disk.ask(&Call::MapForWriting)?;
        self.inner.map_for_writing(len)
    }

    fn copy_into(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.inner.copy_into(offset, bytes)
    }

    fn prepare(&self, offset: u64, len: u64) -> io::Result<()> {
        self.inner.prepare(offset, len)
    }

    fn unmap_writing(&self) {
        self.inner.unmap_writing();
    }

    fn map(&self, len: u64) -> io::Result<Map> {
        self.disk.ask(&Call::Map(&self.name))?;
        self.inner.map(len)
    }

    fn give_back_zeros(&self, offset: u64) {
        self.inner.give_back_zeros(offset);
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.inner.truncate(len)
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.ask(&Call::Sync(&self.name))?;
        self.inner.sync()?;
        self.disk.ask(&Call::Synced(&self.name))
    }
}

/// Small segments, no threads, and flushes only on request.
pub fn quiet() -> Options {
    Options {
        background: false,
        segment_bytes: 4096,
        sync_interval: std::time::Duration::from_secs(3600),
        ..Options::default()
    }
}
