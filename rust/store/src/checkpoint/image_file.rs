//! Opens and checks images of the index, and writes their bytes, for either width of keys. Opening reads O(blocks of 64
//! KiB) and nothing else.

use std::io;
use std::path::Path;
use std::sync::Arc;

use alex_index::image::{
    Identity, ImageError, ImageMemory, ImageSink, ImageWriter, Opened, Written, check_file,
};
use alex_index::{Alex, Options as IndexOptions};

use crate::disk::{Access, Disk, DiskFile};
use crate::error::{Error, Result};
use crate::format::attachment::{Attachment, image_name};
use crate::format::manifest::ImageEntry;
use crate::index::checked::Index;
use crate::index::tree::Tree;
use crate::keys::{Keys, Width};
use crate::operation::Operation;
use crate::options::{Options, ReadMode};

/// An opened image.
pub(crate) struct Image {
    pub(crate) index: Index,
    pub(crate) attachment: Attachment,
}

/// Fills zeroed memory with a file's data. Holes take no memory, however long they make the file.
fn read_data(file: &dyn DiskFile, bytes: &mut [u8]) -> std::io::Result<()> {
    let (len, mut offset) = (bytes.len() as u64, 0);
    while let Some(piece) = file.next_data(offset)?.filter(|piece| piece.start < len) {
        offset = piece.end.min(len);
        file.read_at(piece.start, &mut bytes[piece.start as usize..offset as usize])?;
    }
    Ok(())
}

/// Writes an image of a tree, of whichever width its keys are.
pub(crate) enum TreeWriter<S: ImageSink> {
    Narrow(ImageWriter<S, i64>),
    Wide(ImageWriter<S, i128>),
}

impl<S: ImageSink> TreeWriter<S> {
    /// As `ImageWriter::begin`.
    pub(crate) fn begin(tree: &Tree, sink: S, identity: Identity) -> Self {
        match tree {
            Tree::Narrow(alex) => Self::Narrow(ImageWriter::begin(alex, sink, identity)),
            Tree::Wide(alex) => Self::Wide(ImageWriter::begin(alex, sink, identity)),
        }
    }

    /// Adds further entries, whose keys come from the tree.
    pub(crate) fn push(&mut self, keys: Keys<'_>, locations: &[u64]) -> io::Result<()> {
        match (self, keys) {
            (Self::Narrow(writer), Keys::Narrow(keys)) => writer.push(keys, locations),
            (Self::Wide(writer), Keys::Wide(keys)) => writer.push(keys, locations),
            // Cannot happen: a scan of a tree gives keys of the tree's width.
            _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "keys of another width than the tree's")),
        }
    }

    /// As `ImageWriter::finish`.
    pub(crate) fn finish(self, attachment: &[u8]) -> io::Result<(Written, S)> {
        match self {
            Self::Narrow(writer) => writer.finish(attachment),
            Self::Wide(writer) => writer.finish(attachment),
        }
    }
}

/// Opens an image that the manifest lists.
pub(crate) fn open(
    disk: &Arc<dyn Disk>,
    store_id: [u8; 16],
    width: Width,
    entry: &ImageEntry,
    options: &Options,
) -> Result<Image> {
    let path = disk.path_of(&image_name(entry.id));
    let damaged = |offset: u64, expected: String, found: String| Error::Corruption {
        path: path.clone(),
        offset,
        expected,
        found,
    };
    let file = disk
        .open(&image_name(entry.id), Access::Read)
        .map_err(|error| Error::io(Operation::Open, &path, error))?;
    let len = file.len().map_err(|error| Error::io(Operation::Read, &path, error))?;
    if len != entry.bytes {
        return Err(damaged(len, format!("a file of {} bytes", entry.bytes), format!("{len} bytes")));
    }
    let memory = match options.read_mode {
        ReadMode::Mmap => file.map_private(len).map_err(|error| Error::io(Operation::Map, &path, error))?,
        ReadMode::Pread => ImageMemory::read(len, |bytes| read_data(&*file, bytes))
            .map_err(|error| Error::io(Operation::Read, &path, error))?,
    };
    let refuse = |error| refusal(&path, error);
    let (tree, found, attachment) = match width {
        Width::Narrow => {
            let Opened { index, identity, attachment, .. } =
                Alex::open_image(memory, IndexOptions::default()).map_err(refuse)?;
            (Tree::Narrow(index), identity, attachment)
        }
        Width::Wide => {
            let Opened { index, identity, attachment, .. } =
                Alex::open_image(memory, IndexOptions::default()).map_err(refuse)?;
            (Tree::Wide(index), identity, attachment)
        }
    };
    let identity = Identity { store: store_id, file: entry.id.into() };
    if found != identity {
        return Err(damaged(16, format!("{identity:?}"), format!("{found:?}")));
    }
    let attachment = Attachment::decode(&attachment)
        .ok_or_else(|| damaged(0, "an image of a store".to_owned(), "one of another kind".to_owned()))?;
    let keys = tree.len() as u64;
    if attachment.begin != entry.position || keys != entry.keys {
        let expected = format!("{} keys from {:?}", entry.keys, entry.position);
        return Err(damaged(64, expected, format!("{keys} keys from {:?}", attachment.begin)));
    }
    Ok(Image { index: Index::from_image(tree, entry.id), attachment })
}

/// What a store says of an image that the index refuses.
fn refusal(path: &Path, error: ImageError) -> Error {
    let (offset, expected, found) = match error {
        ImageError::Damaged(damage) => (damage.offset, damage.expected, damage.found),
        ImageError::Foreign | ImageError::TooShort(_) => {
            (0, "an image".to_owned(), "something else".to_owned())
        }
        other => return Error::Format { path: path.to_owned(), problem: other.to_string() },
    };
    Error::Corruption { path: path.to_owned(), offset, expected, found }
}

/// Reads every byte of an image's file and checks all its checksums.
pub(crate) fn check(disk: &dyn Disk, entry: &ImageEntry) -> Result<()> {
    let path = disk.path_of(&image_name(entry.id));
    let wrap = |error| Error::io(Operation::Read, &path, error);
    let file = disk.open(&image_name(entry.id), Access::Read).map_err(wrap)?;
    let len = file.len().map_err(wrap)?;
    let checked = check_file(len, |offset, bytes| {
        let read = file.read_at(offset, bytes)?;
        if read < bytes.len() { Err(std::io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    });
    match checked.map_err(wrap)? {
        Ok(_) if len == entry.bytes => Ok(()),
        Ok(_) => Err(Error::Corruption {
            path: path.clone(),
            offset: len,
            expected: format!("a file of {} bytes", entry.bytes),
            found: format!("{len} bytes"),
        }),
        Err(error) => Err(refusal(&path, error)),
    }
}
