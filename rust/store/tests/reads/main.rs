//! Reads beside everything else: each answer is of one moment, for as long as it is held.

#[path = "../common/mod.rs"]
mod common;

mod asks_ahead;
mod backup;
mod columns;
mod compression;
mod concurrent;
mod counters;
mod large;
mod linearizable;
mod one_moment;
mod readers;
mod readers_beside_writer;
mod refresh;
mod versions;
