//! Images of the index: an opening that begins from one finds what a full scan finds.

#[path = "../common/mod.rs"]
mod common;

mod checkpoint;
mod images_and_freeing;
mod images_beside_a_writer;
mod parts;
mod tail;
mod used_up_ids;
