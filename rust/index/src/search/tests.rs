//! The same properties of every kernel that this processor runs, compared with plain counting.
#![allow(clippy::unwrap_used)]

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::backend::{Operation, Supported, dispatch};
use super::bounds::{between, upper_bound};
use super::kernel::{Kernel, PAIR, QUAD, WINDOW};
use super::output::Output;
use crate::options::Backend;

struct Count<'a>(&'a [i64; WINDOW], i64);
impl Operation for Count<'_> {
    type Output = usize;
    #[inline(always)]
    fn run<K: Kernel>(self) -> usize {
        K::count_at_most(self.0, self.1)
    }
}

struct CountInside<'a>(&'a [i64; WINDOW], i64);
impl Operation for CountInside<'_> {
    type Output = Option<usize>;
    #[inline(always)]
    fn run<K: Kernel>(self) -> Option<usize> {
        K::count_inside(self.0, self.1)
    }
}

struct CountPair<'a>(&'a [i64; PAIR], i64);
impl Operation for CountPair<'_> {
    type Output = usize;
    #[inline(always)]
    fn run<K: Kernel>(self) -> usize {
        K::count_in_pair(self.0, self.1)
    }
}

struct CountQuad<'a>(&'a [i64; QUAD], i64);
impl Operation for CountQuad<'_> {
    type Output = usize;
    #[inline(always)]
    fn run<K: Kernel>(self) -> usize {
        K::count_in_quad(self.0, self.1)
    }
}

struct Bound<'a>(&'a [i64], usize, i64);
impl Operation for Bound<'_> {
    type Output = [usize; 3];
    #[inline(always)]
    fn run<K: Kernel>(self) -> [usize; 3] {
        let Self(keys, guess, target) = self;
        [
            upper_bound::<K, false>(keys, guess, target),
            upper_bound::<K, true>(keys, guess, target),
            between::<K>(keys, 0, keys.len(), target),
        ]
    }
}

struct Compress<'a>(u64, &'a [i64; 64], &'a [u64; 64], usize);
impl Operation for Compress<'_> {
    type Output = (Vec<i64>, Vec<u64>);
    #[inline(always)]
    fn run<K: Kernel>(self) -> Self::Output {
        let (mut keys, mut payloads) = (vec![7], vec![8]);
        let mut output = Output { keys: &mut keys, payloads: &mut payloads };
        output.extend::<K>(self.0, self.1, self.2, self.3);
        (keys, payloads)
    }
}

fn counted(keys: &[i64], target: i64) -> usize {
    keys.iter().filter(|&&key| key <= target).count()
}

/// Ascending keys with repeats, sometimes with runs of `MIN` in front and of `MAX` behind.
fn slots(random: &mut SmallRng, length: usize) -> Vec<i64> {
    let spread = [1, 3, 50, 1 << 20, i64::MAX][random.random_range(0..5)];
    let mut keys: Vec<i64> = (0..length).map(|_| random.random_range(-spread..=spread)).collect();
    keys.sort_unstable();
    let (front, back) = (random.random_range(0..=length), random.random_range(0..=length));
    if random.random_bool(0.5) {
        keys[..front].fill(i64::MIN);
    }
    if random.random_bool(0.5) {
        keys[back..].fill(i64::MAX);
    }
    keys.sort_unstable();
    keys
}

macro_rules! kernel_properties {
    ($($module:ident: $backend:expr;)*) => {$(
        mod $module {
            use super::*;

            /// `None` on a machine without the instruction set, where there is nothing to test.
            fn supported() -> Option<Supported> {
                Supported::of($backend).ok()
            }

            #[test]
            fn a_window_counts_every_key_at_most_the_target() {
                let Some(supported) = supported() else { return };
                let mut random = SmallRng::seed_from_u64(1);
                for _ in 0..2_000 {
                    // `start` covers every alignment of the window to a cache line.
                    let keys = slots(&mut random, 40);
                    let start = random.random_range(0..=24);
                    let window: &[i64; WINDOW] = keys[start..][..WINDOW].try_into().unwrap();
                    let targets = window.iter().flat_map(|&k| [k.saturating_sub(1), k, k.saturating_add(1)]);
                    for target in targets.chain([i64::MIN, -1, 0, i64::MAX]) {
                        let right = counted(window, target);
                        assert_eq!(dispatch(supported, Count(window, target)), right);
                        let inside = (1..WINDOW).contains(&right).then_some(right);
                        assert_eq!(dispatch(supported, CountInside(window, target)), inside);
                    }
                }
            }

            #[test]
            fn a_pair_counts_every_key_at_most_the_target() {
                let Some(supported) = supported() else { return };
                let mut random = SmallRng::seed_from_u64(5);
                for _ in 0..500 {
                    let keys = slots(&mut random, 96);
                    let start = random.random_range(0..=32);
                    let pair: &[i64; PAIR] = keys[start..][..PAIR].try_into().unwrap();
                    let targets = pair.iter().flat_map(|&k| [k.saturating_sub(1), k, k.saturating_add(1)]);
                    for target in targets.chain([i64::MIN, -1, 0, i64::MAX]) {
                        assert_eq!(dispatch(supported, CountPair(pair, target)), counted(pair, target));
                    }
                }
            }

            #[test]
            fn four_windows_count_every_key_at_most_the_target() {
                let Some(supported) = supported() else { return };
                let mut random = SmallRng::seed_from_u64(6);
                for _ in 0..300 {
                    let keys = slots(&mut random, 96);
                    let start = random.random_range(0..=64);
                    let quad: &[i64; QUAD] = keys[start..][..QUAD].try_into().unwrap();
                    let targets = quad.iter().flat_map(|&k| [k.saturating_sub(1), k, k.saturating_add(1)]);
                    for target in targets.chain([i64::MIN, -1, 0, i64::MAX]) {
                        assert_eq!(dispatch(supported, CountQuad(quad, target)), counted(quad, target));
                    }
                }
            }

            #[test]
            fn upper_bound_is_right_from_every_guess_at_every_length() {
                let Some(supported) = supported() else { return };
                let mut random = SmallRng::seed_from_u64(2);
                for length in (64..=320).step_by(64).chain([65, 71, 100, 129, 1_024, 4_096, 16_384]) {
                    for _ in 0..40 {
                        let keys = slots(&mut random, length);
                        for _ in 0..60 {
                            let guess = random.random_range(0..length);
                            let near = keys[random.random_range(0..length)];
                            let target = match random.random_range(0..6) {
                                0 => near.saturating_sub(1),
                                1 => near.saturating_add(1),
                                2 => [i64::MIN, -1, 0, i64::MAX][random.random_range(0..4)],
                                _ => near,
                            };
                            let right = counted(&keys, target);
                            assert_eq!(dispatch(supported, Bound(&keys, guess, target)), [right; 3]);
                        }
                    }
                }
            }

            #[test]
            fn compress_keeps_the_marked_slots_in_order() {
                let Some(supported) = supported() else { return };
                let mut random = SmallRng::seed_from_u64(3);
                let masks = (0..500).map(|_| random.random()).collect::<Vec<u64>>();
                for mask in masks.into_iter().chain([0, 1, 1 << 63, u64::MAX, 0xF0F0_F0F0_F0F0_F0F0]) {
                    let keys: [i64; 64] = std::array::from_fn(|i| i as i64 - 32);
                    let payloads: [u64; 64] = std::array::from_fn(|i| i as u64 * 3);
                    let marked = (0..64).filter(|&i| mask >> i & 1 == 1);
                    let limit = random.random_range(0..=70);
                    let entries = marked.map(|i: usize| (keys[i], payloads[i])).take(limit);
                    let wanted = [(7, 8)].into_iter().chain(entries).unzip();
                    assert_eq!(dispatch(supported, Compress(mask, &keys, &payloads, limit)), wanted);
                }
            }
        }
    )*};
}

kernel_properties! {
    scalar: Backend::Scalar;
    avx2: Backend::Avx2;
    avx512: Backend::Avx512;
}
