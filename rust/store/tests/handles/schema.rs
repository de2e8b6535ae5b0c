//! The kind of keys and the codec's name: chosen when a store is made, remembered, checked, and kept by repair.

use std::path::Path;
use std::sync::Arc;

use alex_store::disk::Disk;
use alex_store::disk::sim::{Loss, SimDisk};
use alex_store::{Compression, Error, KeyKind, Options, RepairMode, Schema, Store};

use crate::common::open;

fn options(key: Option<KeyKind>, codec: Option<&str>) -> Options {
    Options {
        segment_bytes: 4096,
        background: false,
        key,
        codec: codec.map(str::to_owned),
        ..Options::default()
    }
}

fn made() -> SimDisk {
    let disk = SimDisk::new(1);
    let store = open(&disk, &options(Some(KeyKind::DatetimeUs), Some("text"))).expect("opens");
    for key in 0..200 {
        store.put(key, &[7; 50]).expect("writes");
    }
    store.checkpoint().expect("writes an image");
    store.close().expect("closes");
    disk
}

fn schema() -> Schema {
    Schema { key: KeyKind::DatetimeUs, codec: Some("text".to_owned()), compression: Compression::None }
}

#[test]
fn a_store_remembers_its_kind_of_key_and_its_codec() {
    let disk = made();
    for read_only in [false, true] {
        let asked =
            [options(None, None), options(Some(KeyKind::DatetimeUs), None), options(None, Some("text"))];
        for options in asked {
            let store = open(&disk, &Options { read_only, ..options }).expect("opens");
            assert_eq!(*store.schema(), schema());
        }
    }
    let store = open(&disk.restart(Loss::Everything), &options(None, None)).expect("opens after a power cut");
    assert_eq!(*store.schema(), schema());
}

#[test]
fn another_kind_or_codec_is_refused_by_name_and_nothing_is_touched() {
    let disk = made();
    let steps = disk.steps();
    for read_only in [false, true] {
        for (key, codec, named) in [
            (Some(KeyKind::Int64), None, ["datetime64[us]", "int64"]),
            (Some(KeyKind::Uuid), Some("text"), ["datetime64[us]", "uuid"]),
            (None, Some("json"), ["text", "json"]),
        ] {
            let refused =
                open(&disk, &Options { read_only, ..options(key, codec) }).expect_err("another schema");
            assert!(matches!(refused, Error::Format { .. }), "{refused}");
            assert!(named.iter().all(|name| refused.to_string().contains(name)), "{refused}");
        }
    }
    let plain = SimDisk::new(2);
    open(&plain, &options(None, None)).expect("opens").close().expect("closes");
    let refused = open(&plain, &options(None, Some("text"))).expect_err("it has no codec");
    assert!(refused.to_string().contains("plain bytes") && refused.to_string().contains("text"), "{refused}");
    assert!(disk.steps() <= steps + 2, "only the lock was taken");
}

#[test]
fn an_impossible_name_of_a_codec_is_refused() {
    for codec in [String::new(), "x".repeat(5000)] {
        let refused = open(&SimDisk::new(1), &options(None, Some(&codec))).expect_err("impossible");
        assert!(matches!(refused, Error::Invalid(_)), "{refused}");
    }
}

#[test]
fn repair_keeps_the_kind_of_keys_and_the_codec_if_a_manifest_names_it() {
    let disk = made();
    for (manifests, codec) in [(2, Some("text")), (1, Some("text")), (0, None)] {
        for name in ["MANIFEST-A", "MANIFEST-B"].into_iter().skip(manifests) {
            let _ = disk.remove(name);
        }
        let source: Arc<dyn Disk> = Arc::new(disk.clone());
        let dest = SimDisk::new(2);
        let report =
            Store::repair_on(&source, Arc::new(dest.clone()), RepairMode::Salvage, &options(None, None));
        assert_eq!(report.expect("repairs").kept, 200);
        let store =
            Store::open_on(Arc::new(dest), Path::new("repaired"), &options(None, None), &mut |_| true);
        let store = store.expect("opens");
        assert_eq!((store.schema().key, store.schema().codec.as_deref()), (KeyKind::DatetimeUs, codec));
    }
}

#[test]
fn repair_takes_the_codec_that_is_asked_for_only_if_no_manifest_names_one() {
    let disk = made();
    let repaired = |codec| {
        let (source, dest): (Arc<dyn Disk>, _) = (Arc::new(disk.clone()), SimDisk::new(2));
        let report =
            Store::repair_on(&source, Arc::new(dest.clone()), RepairMode::Salvage, &options(None, codec));
        report.map(|report| {
            assert_eq!(report.kept, 200);
            let store =
                Store::open_on(Arc::new(dest), Path::new("repaired"), &options(None, None), &mut |_| true);
            store.expect("opens").schema().codec.clone()
        })
    };
    let refused = repaired(Some("json")).expect_err("it has another codec").to_string();
    assert!(refused.contains("text") && refused.contains("json"), "{refused}");
    assert_eq!(repaired(Some("text")).expect("its own").as_deref(), Some("text"));
    for name in ["MANIFEST-A", "MANIFEST-B"] {
        let _ = disk.remove(name);
    }
    assert_eq!(repaired(Some("json")).expect("nobody knows better").as_deref(), Some("json"));
    assert_eq!(repaired(None).expect("plain bytes"), None);
    assert!(repaired(Some("")).is_err(), "no name of a codec");
}
