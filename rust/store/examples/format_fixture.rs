//! Writes the frozen stores of the current format that `tests/test_format.py` opens: one that was closed, and
//! one whose writer died, with every kind of record and file in them. Run once for each format, never over
//! what a release has left behind: `cargo run -p alex-store --example format_fixture -- tests/data/format-1`.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::ops::Bound;
use std::path::Path;
use std::process::Command;

use alex_store::{Batch, Durability, Options, Store, WriteMode};

type Model = BTreeMap<i64, Vec<u8>>;

fn open(path: &Path, write_mode: WriteMode) -> Store {
    let options = Options {
        segment_bytes: 8192,
        background: false,
        // Nothing happens except what is requested below.
        checkpoint_tail_bytes: 1 << 40,
        durability: Durability::Os,
        write_mode,
        ..Options::default()
    };
    Store::open(path, &options, &mut |_| true).unwrap()
}

fn put(store: &Store, model: &mut Model, key: i64, value: &[u8]) {
    store.put(key, value).unwrap();
    model.insert(key, value.to_vec());
}

/// Every call that makes a kind of record; `round` makes values differ.
fn write(store: &Store, model: &mut Model, round: u8) {
    for i in 0..90_i64 {
        let value = format!("{round}:{i};").repeat(i as usize % 7);
        put(store, model, (i - 45) * 1_234_567_890_123, value.as_bytes());
    }
    put(store, model, i64::MIN, b"the lowest key");
    put(store, model, i64::MAX, b"the highest key");
    put(store, model, 0, b"");
    store.flush().unwrap();
    let keys: Vec<i64> = (1000..1040).collect();
    let values: Vec<Vec<u8>> = keys.iter().map(|key| format!("batch {round} of {key}").into()).collect();
    store.put_many(&keys, &values[..], false).unwrap();
    model.extend(keys.into_iter().zip(values));
    for key in [1001, 1003 + i64::from(round)] {
        assert!(store.delete(key).unwrap());
        model.remove(&key);
    }
    let mut batch = Batch::new();
    batch.put(1, b"put and deleted in one batch").unwrap();
    batch.delete(1);
    batch.put(2, &[b'a' + round; 33]).unwrap();
    batch.delete_range(1010, 1012);
    batch.put(1011, b"put behind a range").unwrap();
    store.commit(&batch, false).unwrap();
    model.remove(&1);
    model.insert(2, vec![b'a' + round; 33]);
    model.retain(|key, _| !(1010..=1012).contains(key));
    model.insert(1011, b"put behind a range".to_vec());
    let deleted = store.delete_range(Bound::Included(1020), Bound::Excluded(1025)).unwrap();
    assert_eq!(deleted, 5);
    model.retain(|key, _| !(1020..1025).contains(key));
    // Longer than a segment.
    let large: Vec<u8> = (0..11_000_u32).flat_map(|i| [b'0' + (i % 10) as u8 + round]).collect();
    put(store, model, 3, &large);
}

/// Two images, relocated records, tombstones, and a tail behind both images.
fn fill(path: &Path, write_mode: WriteMode) -> (Store, Model) {
    let mut model = Model::new();
    let store = open(path, write_mode);
    write(&store, &mut model, 0);
    store.checkpoint().unwrap();
    write(&store, &mut model, 1);
    store.compact(&mut |_| true).unwrap();
    write(&store, &mut model, 2);
    store.checkpoint().unwrap();
    put(&store, &mut model, 4, b"behind the last image");
    store.delete(2).unwrap();
    model.remove(&2);
    (store, model)
}

/// Dies twice: what the second life finds is written again, in segments with an origin of their own.
fn live_and_die(path: &Path, life: u8) -> ! {
    let mut model = Model::new();
    let store = if life == 0 {
        let (store, filled) = fill(path, WriteMode::Auto);
        model = filled;
        store
    } else {
        open(path, WriteMode::Pwrite)
    };
    store.flush().unwrap();
    put(&store, &mut model, 10 + i64::from(life), b"not flushed when its writer died");
    put(&store, &mut model, -10 - i64::from(life), &[b'x'; 300]);
    std::process::abort();
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let folder = Path::new(&arguments[1]);
    if let Some(life) = arguments.get(2) {
        live_and_die(&folder.join("killed"), life.parse().unwrap());
    }
    std::fs::create_dir(folder).expect("what a format left behind is not written again");
    let (store, mut model) = fill(&folder.join("closed"), WriteMode::Auto);
    store.close().unwrap();
    save(folder, "closed", &model);
    for life in ["0", "1"] {
        let ended = Command::new(&arguments[0]).args([&arguments[1], life]).status().unwrap();
        assert!(!ended.success());
    }
    for life in 0..2 {
        model.insert(10 + life, b"not flushed when its writer died".to_vec());
        model.insert(-10 - life, vec![b'x'; 300]);
    }
    save(folder, "killed", &model);
}

/// Writes the items as a JSON object: keys as text, values in hexadecimal.
fn save(folder: &Path, name: &str, model: &Model) {
    std::fs::remove_file(folder.join(name).join("LOCK")).unwrap();
    let mut text = String::from("{");
    for (number, (key, value)) in model.iter().enumerate() {
        let comma = if number == 0 { "" } else { "," };
        let hex = value.iter().fold(String::new(), |mut hex, byte| {
            write!(hex, "{byte:02x}").unwrap();
            hex
        });
        write!(text, "{comma}\n\"{key}\": \"{hex}\"").unwrap();
    }
    std::fs::write(folder.join(format!("{name}.json")), text + "\n}\n").unwrap();
    println!("{name}: {} keys", model.len());
}
