//! What a crash, a failing device or damaged bytes leave: a prefix of the commits, a named error, or what
//! repair saves.

#[path = "../common/mod.rs"]
mod common;

#[global_allocator]
static ALLOCATOR: common::memory::Counting = common::memory::Counting;

mod bit_flips;
mod compressed_memory;
mod damage;
mod damage_is_read_once;
mod fill;
mod flush_races;
mod full_disk;
mod fuzz_readers;
mod giant_files;
mod interrupted_roll;
mod killed_then_cut;
mod mirror;
mod near_linear;
mod next_segment;
mod nothing_is_cut;
mod outdated;
mod power_cut;
mod repair;
mod sparse;
mod verify;
