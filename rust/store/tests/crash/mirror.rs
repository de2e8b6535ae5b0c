//! Mirrors, which somebody brings up to date: whatever is cut off, they show one state that was listed, never an older one
//! than before, and no writer opens them.

use std::sync::Arc;

use crate::common::{Content, Model, content, for_seeds, open, options, step};
use alex_store::disk::sim::{Fault, Loss, Rng, SimDisk};
use alex_store::disk::{Access, Disk};
use alex_store::{Error, Options, Store};

/// What is shipped of a closed store: its segments, and its manifest.
struct Shipment {
    segments: Vec<(String, Vec<u8>)>,
    manifest: Vec<u8>,
    content: Content,
}

fn bytes_of(disk: &SimDisk, name: &str) -> Vec<u8> {
    let file = disk.open(name, Access::Read).expect("listed");
    let mut bytes = vec![0; file.len().expect("the power is on") as usize];
    let read = file.read_at(0, &mut bytes).expect("the power is on");
    assert_eq!(read, bytes.len());
    bytes
}

fn names(disk: &SimDisk) -> Vec<String> {
    let mut names = disk.list().expect("the power is on");
    names.retain(|name| name.starts_with("seg-"));
    names.sort();
    names
}

/// A store after some lives, shipped at the end of each.
fn shipments(seed: u64, rng: &mut Rng) -> Vec<Shipment> {
    let (disk, mut model, mut shipped) = (SimDisk::new(seed), Model::new(), Vec::new());
    for _ in 0..5 {
        let options = Options { read_only: false, ..options(rng) };
        let store = open(&disk, &options).expect("nothing fails");
        for _ in 0..rng.below(25) {
            assert!(step(&store, &mut model, rng, &options, &disk), "nothing fails");
        }
        store.close().expect("nothing fails");
        shipped.push(Shipment {
            segments: names(&disk).into_iter().map(|name| (name.clone(), bytes_of(&disk, &name))).collect(),
            manifest: bytes_of(&disk, "MANIFEST-A"),
            content: model.now().clone(),
        });
    }
    shipped
}

/// Brings a mirror up to a shipment, as `alexpy.ship.follow` does. None where the power was cut.
fn bring_up(mirror: &SimDisk, shipment: &Shipment, generation: u64) -> Option<()> {
    let disk: Arc<dyn Disk> = Arc::new(mirror.clone());
    if disk.open("FOLLOW", Access::Read).is_err() {
        disk.create("FOLLOW", 0).ok()?.sync().ok()?;
    }
    for (name, bytes) in &shipment.segments {
        let file = disk.open(name, Access::Write).or_else(|_| disk.create(name, 0)).ok()?;
        let mut there = vec![0; bytes.len()];
        let read = file.read_at(0, &mut there).ok()?;
        let same = (0..read).take_while(|&at| there[at] == bytes[at]).count();
        if same < bytes.len() {
            // In two pieces, so that half of it may be there.
            let half = same.midpoint(bytes.len());
            file.write_at(same as u64, &bytes[same..half]).ok()?;
            file.write_at(half as u64, &bytes[half..]).ok()?;
        }
        file.sync().ok()?;
    }
    disk.sync_dir().ok()?;
    Store::list_mirror_on(&disk, &shipment.manifest, generation).ok()
}

#[test]
fn a_mirror_that_is_cut_off_at_any_step_shows_one_shipment_and_never_an_older_one() {
    for_seeds("a_mirror_that_is_cut_off", 10, |seed| {
        let mut rng = Rng::new(seed);
        let shipped = shipments(seed, &mut rng);
        let reading = Options { read_only: true, ..options(&mut rng) };
        let mut mirror = SimDisk::new(seed);
        // What was seen there so far, as a position in `shipped`, and what a power cut cannot take back.
        let (mut seen, mut sure) = (0, 0);
        let mut reader: Option<Store> = None;
        for _ in 0..40 {
            let next = listed(&mirror) as usize;
            if rng.one_in(2) {
                mirror.plan(1 + rng.below(60), Fault::Cut);
            }
            let disk: Arc<dyn Disk> = Arc::new(mirror.clone());
            let done = Store::settle_mirror_on(&disk).is_ok()
                && shipped.get(next).is_none_or(|it| bring_up(&mirror, it, next as u64 + 1).is_some())
                && mirror.has_power();
            if done {
                mirror.unplan();
                seen = seen.max(next.min(shipped.len() - 1));
                sure = seen;
            } else {
                let losses = [Loss::Everything, Loss::Random, Loss::ProcessOnly];
                let loss = losses[rng.below(3) as usize];
                mirror = mirror.restart(loss);
                reader = None;
                if !matches!(loss, Loss::ProcessOnly) {
                    // Of a listing that had not ended, readers may have seen what is gone with the power, as they are.
                    seen = sure;
                }
            }
            // A reader that is there from before sees what one sees that opens the mirror now.
            let found = match &reader {
                Some(reader) if rng.one_in(2) => {
                    reader.refresh().unwrap_or_else(|error| panic!("seed {seed}: {error}"));
                    content(reader)
                }
                _ => match open(&mirror, &reading) {
                    Ok(store) => {
                        let found = content(&store);
                        reader = Some(store);
                        found
                    }
                    Err(Error::NotFound { .. } | Error::Format { .. }) if listed(&mirror) == 0 => continue,
                    Err(error) => panic!("seed {seed}: {error}"),
                },
            };
            let shown = (seen..shipped.len()).find(|&i| shipped[i].content == found);
            assert!(shown.is_some_and(|shown| !done || shown == seen), "seed {seed}: {shown:?}, not {seen}");
            seen = shown.unwrap_or(seen);
            if done && next == shipped.len() {
                break;
            }
        }
        if listed(&mirror) == shipped.len() as u64 && reader.is_some() {
            let last: Vec<_> = shipped[seen].segments.iter().map(|(name, _)| name.clone()).collect();
            mirror.unplan();
            Store::settle_mirror_on(&(Arc::new(mirror.clone()) as Arc<dyn Disk>)).expect("the power is on");
            assert_eq!(names(&mirror), last, "seed {seed}: what is not listed is removed");
        }
    });
}

/// The generation of the manifest.
fn listed(disk: &SimDisk) -> u64 {
    let of = |name| {
        let bytes = disk.open(name, Access::Read).ok().map(|_| bytes_of(disk, name));
        bytes.map_or(0, |bytes| u64::from_le_bytes(bytes[32..40].try_into().expect("eight bytes")))
    };
    of("MANIFEST-A").max(of("MANIFEST-B"))
}

#[test]
fn a_mirror_is_not_opened_for_writing_and_is_left_as_it_is() {
    let mut rng = Rng::new(1);
    let shipped = shipments(1, &mut rng);
    let mirror = SimDisk::new(1);
    assert!(bring_up(&mirror, &shipped[0], 7).is_some());
    let before = mirror.list().expect("the power is on");
    let refused = open(&mirror, &options(&mut rng)).err();
    assert!(matches!(refused, Some(Error::Mirror { .. })), "{refused:?}");
    assert!(refused.is_some_and(|error| error.to_string().contains("open it with read_only=True")));
    assert_eq!(mirror.list().expect("the power is on"), before);
}

#[test]
fn nothing_is_listed_that_is_missing_cut_short_of_another_store_or_older() {
    let mut rng = Rng::new(3);
    let shipped = shipments(3, &mut rng);
    let last = shipped.last().expect("five");
    let mirror = SimDisk::new(3);
    let disk: Arc<dyn Disk> = Arc::new(mirror.clone());
    let refuses = |manifest: &[u8], generation: u64, what: &str| {
        let before = (mirror.list().expect("the power is on"), listed(&mirror));
        let error = Store::list_mirror_on(&disk, manifest, generation).err();
        assert!(error.is_some(), "{what}");
        assert_eq!((mirror.list().expect("the power is on"), listed(&mirror)), before, "{what}");
    };
    refuses(&last.manifest, 5, "no segment is there");
    assert!(bring_up(&mirror, last, 5).is_some());
    refuses(&last.manifest, 5, "that generation is there");
    refuses(&last.manifest, 4, "a newer generation is there");
    refuses(&last.manifest[1..], 6, "this is no manifest");
    let other = shipments(4, &mut rng).pop().expect("five");
    for (name, bytes) in &other.segments {
        let file = disk.open(name, Access::Write).or_else(|_| disk.create(name, 0)).expect("the power is on");
        file.write_at(0, bytes).expect("the power is on");
    }
    refuses(&other.manifest, 6, "the store is another one");
    let (name, bytes) = last.segments.last().expect("a store with commits");
    disk.open(name, Access::Write)
        .and_then(|file| file.truncate(bytes.len() as u64 - 8))
        .expect("the power is on");
    refuses(&last.manifest, 6, "a segment is cut short");
    disk.remove(name).expect("the power is on");
    refuses(&last.manifest, 6, "a segment is missing");
}
