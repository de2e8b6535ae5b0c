//! An index written to a file as an image, and opened from there without being built again.
//! `cargo run --example image`
#![allow(clippy::print_stdout)]

use std::error::Error;
use std::fs::{self, File};
use std::io::Read;
use std::ops::Bound::Unbounded;

use alex_index::image::{Identity, ImageMemory, ImageWriter};
use alex_index::{Alex, Options};

fn main() -> Result<(), Box<dyn Error>> {
    let mut index: Alex = Alex::new();
    for key in 0..100_000 {
        index.insert(key * 3, key as u64);
    }

    // The writer takes the entries as a stream, so that a caller can let go of the index in between.
    let mut writer = ImageWriter::begin(&index, Vec::new(), Identity::default());
    let (keys, payloads): (Vec<i64>, Vec<u64>) = index.range(Unbounded, Unbounded).unzip();
    writer.push(&keys, &payloads)?;
    let (_, bytes) = writer.finish(b"what the caller attaches")?;
    let path = std::env::temp_dir().join(format!("alex-index-example-{}.idx", std::process::id()));
    fs::write(&path, &bytes)?;

    // `ImageMemory::map` maps the file instead, where nobody else shortens it.
    let mut file = File::open(&path)?;
    let memory = ImageMemory::read(file.metadata()?.len(), |memory| file.read_exact(memory))?;
    let opened: alex_index::image::Opened<i64> = Alex::open_image(memory, Options::default())?;
    fs::remove_file(&path)?;

    // Data nodes are compared with their checksums at their first use; this compares all of them now.
    opened.index.verify_image().map_err(|damage| format!("{damage:?}"))?;
    assert_eq!(opened.index.get(299_997), Some(99_999));
    assert_eq!(opened.attachment, b"what the caller attaches");
    println!("{} keys in {} bytes, opened from {}", opened.index.len(), bytes.len(), path.display());
    Ok(())
}
