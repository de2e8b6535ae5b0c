//! The time of memory accesses on this machine, measured in the same run: no lookup can be faster.
//!
//! Reads random cache lines of 256 MiB, for which huge pages are requested: lines that are independent, pairs
//! of lines like those of a key and its payload, and lines each of which waits for the one before.
#![allow(unsafe_code)]

use std::hint::black_box;
use std::time::Instant;

use criterion::Throughput;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use crate::Group;

const WORDS: usize = 32 << 20;
const LOADS: usize = 1 << 20;

pub(crate) fn rows(group: &mut Group<'_>) {
    let mut made: Option<(Vec<u64>, Vec<u32>)> = None;
    for name in ["independent_line", "independent_pair", "chained_line"] {
        group.throughput(Throughput::Elements(LOADS as u64));
        group.bench_function(name, |bencher| {
            let (words, places) = made.get_or_insert_with(make);
            bencher.iter_custom(|rounds| {
                let start = Instant::now();
                for _ in 0..rounds {
                    black_box(match name {
                        "independent_line" => places.iter().map(|&at| words[at as usize]).sum::<u64>(),
                        "independent_pair" => places
                            .iter()
                            .map(|&at| words[at as usize] + words[at as usize ^ (1 << 14)])
                            .sum::<u64>(),
                        _ => places.iter().fold(0, |last, &at| words[at as usize ^ last as usize]),
                    });
                }
                start.elapsed()
            });
        });
    }
}

/// The memory, and the positions of the first words of random cache lines.
fn make() -> (Vec<u64>, Vec<u32>) {
    let mut words: Vec<u64> = Vec::with_capacity(WORDS);
    #[cfg(target_os = "linux")]
    {
        let (start, page) = (words.as_ptr() as usize, 2 << 20);
        let first = start.next_multiple_of(page);
        let length = (start + WORDS * 8 - first) / page * page;
        // SAFETY: whole huge pages inside an allocation of ours; this advice changes no contents.
        let _ = unsafe {
            rustix::mm::madvise(first as *mut std::ffi::c_void, length, rustix::mm::Advice::LinuxHugepage)
        };
    }
    words.resize(WORDS, 0);
    let mut random = SmallRng::seed_from_u64(1);
    let places = (0..LOADS).map(|_| random.random_range(0..WORDS as u32) & !7).collect();
    (words, places)
}
