//! A store whose index was opened from the newer of two images, with a damaged block in that image that was
//! not read yet.

use alex_store::disk::Disk;
use alex_store::disk::sim::{Loss, SimDisk};
use alex_store::{Options, Store};

use super::hook::quiet;
use super::{Content, open};

/// The files with this prefix, in order.
pub fn files(disk: &SimDisk, prefix: &str) -> Vec<String> {
    let mut names = disk.list().expect("the power is on");
    names.retain(|name| name.starts_with(prefix));
    names.sort();
    names
}

/// One commit of values that `mark` distinguishes from those of other commits.
pub fn put_all(store: &Store, model: &mut Content, keys: impl Iterator<Item = i128>, mark: u8) {
    let keys: Vec<i128> = keys.collect();
    let values: Vec<Vec<u8>> = keys.iter().map(|key| vec![mark; (key % 20) as usize]).collect();
    store.put_many(&keys, &values[..], false).expect("no fault");
    model.extend(keys.into_iter().zip(values));
}

/// Segments that hold half of the keys each.
pub fn two_segments() -> Options {
    Options { segment_bytes: 4 << 20, ..quiet() }
}

/// The newer image is damaged this far before its end. Data nodes are in key order, and the model nodes and
/// what follows are small. The older image was begun before everything in segment 1 was moved away.
pub fn moved_between_two_images(keys: i128, damage_before_end: usize) -> (SimDisk, Content) {
    let disk = SimDisk::new(1);
    let store = open(&disk, &two_segments()).expect("opens");
    let mut model = Content::new();
    put_all(&store, &mut model, 0..keys / 2, 1);
    store.end_segment().expect("no fault");
    put_all(&store, &mut model, keys / 2..keys, 2);
    store.end_segment().expect("no fault");
    store.checkpoint().expect("no fault");
    store.compact_some(&|id| id == 1).expect("no fault");
    put_all(&store, &mut model, 0..1, 3);
    store.checkpoint().expect("no fault");
    store.flush().expect("no fault");
    drop(store);
    let disk = disk.restart(Loss::Everything);
    let images = files(&disk, "img-");
    assert_eq!(images.len(), 2);
    disk.corrupt(&images[1], |bytes| {
        let at = bytes.len() - damage_before_end;
        bytes[at] ^= 1;
    });
    (disk, model)
}
