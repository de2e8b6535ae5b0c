//! A tour: events by time in a store, a reader that follows, atomic changes, and every byte verified.
//! `cargo run --example events`
#![allow(clippy::print_stdout)]

use std::error::Error;

use alex_store::{Durability, Options, Store};

fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("events");

    // A hundred readings, one a minute, in one atomic commit.
    let options = Options { durability: Durability::Sync, ..Options::default() };
    let store = Store::open(&path, &options, &mut |_| true)?;
    let keys: Vec<i64> = (0..100).map(|minute| minute * 60).collect();
    let values: Vec<String> = keys.iter().map(|second| format!("reading at {second} s")).collect();
    println!("{} readings written", store.put_many(&keys, &values[..], false)?);

    // As-of: the last reading at or before a moment.
    if let Some((second, value)) = store.floor(200)? {
        println!("at 200 s the last one is of {second} s: {}", String::from_utf8_lossy(&value));
    }

    // A reader, here or in another process: it shows its moment until it is refreshed.
    let reader = Store::open(&path, &Options { read_only: true, ..Options::default() }, &mut |_| true)?;
    store.put(6_000, b"one more")?;
    assert!(!reader.contains(6_000)?);
    println!("the reader now knows of sequence number {}", reader.refresh()?);
    assert!(reader.contains(6_000)?);

    // Only one of those who saw "one more" replaces it.
    assert!(store.compare_and_set(6_000, Some(b"one more"), Some(b"corrected"))?);
    assert!(!store.compare_and_set(6_000, Some(b"one more"), Some(b"too late"))?);

    let report = store.verify(&mut |_| true)?;
    println!("every byte verified: {}", report.is_ok());
    reader.close()?;
    store.close()?;
    Ok(())
}
