//! The same properties of every kernel that this processor runs, compared with plain counting.
#![allow(clippy::unwrap_used)]

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::backend::{Operation, Supported, dispatch};
use super::bounds::{between, upper_bound};
use super::kernel::{Kernel, PAIR, QUAD, WINDOW};
use super::output::Output;
use crate::key::Key;
use crate::options::Backend;

struct Count<'a, K>(&'a [K; WINDOW], K);
impl<K: Key> Operation for Count<'_, K> {
    type Output = usize;
    #[inline(always)]
    fn run<S: Kernel>(self) -> usize {
        S::count_at_most(self.0, self.1)
    }
}

struct CountInside<'a, K>(&'a [K; WINDOW], K);
impl<K: Key> Operation for CountInside<'_, K> {
    type Output = Option<usize>;
    #[inline(always)]
    fn run<S: Kernel>(self) -> Option<usize> {
        S::count_inside(self.0, self.1)
    }
}

struct CountPair<'a, K>(&'a [K; PAIR], K);
impl<K: Key> Operation for CountPair<'_, K> {
    type Output = usize;
    #[inline(always)]
    fn run<S: Kernel>(self) -> usize {
        S::count_in_pair(self.0, self.1)
    }
}

struct CountQuad<'a, K>(&'a [K; QUAD], K);
impl<K: Key> Operation for CountQuad<'_, K> {
    type Output = usize;
    #[inline(always)]
    fn run<S: Kernel>(self) -> usize {
        S::count_in_quad(self.0, self.1)
    }
}

struct Bound<'a, K>(&'a [K], usize, K);
impl<K: Key> Operation for Bound<'_, K> {
    type Output = [usize; 3];
    #[inline(always)]
    fn run<S: Kernel>(self) -> [usize; 3] {
        let Self(keys, guess, target) = self;
        [
            upper_bound::<S, K, false>(keys, guess, target),
            upper_bound::<S, K, true>(keys, guess, target),
            between::<S, K>(keys, 0, keys.len(), target),
        ]
    }
}

struct Compress<'a, K>(u64, &'a [K; 64], &'a [u64; 64], usize);
impl<K: Key> Operation for Compress<'_, K> {
    type Output = (Vec<K>, Vec<u64>);
    #[inline(always)]
    fn run<S: Kernel>(self) -> Self::Output {
        let (mut keys, mut payloads) = (vec![K::ZERO], vec![8]);
        let mut output = Output { keys: &mut keys, payloads: &mut payloads };
        output.extend::<S>(self.0, self.1, self.2, self.3);
        (keys, payloads)
    }
}

fn counted<K: Key>(keys: &[K], target: K) -> usize {
    keys.iter().filter(|&&key| key <= target).count()
}

trait Drawn: Key {
    /// Keys that are near each other or far apart; of wide keys, some have a word in common.
    fn drawn(random: &mut SmallRng, length: usize) -> Vec<Self>;
}

impl Drawn for i64 {
    fn drawn(random: &mut SmallRng, length: usize) -> Vec<Self> {
        let spread = [1, 3, 50, 1 << 20, Self::MAX][random.random_range(0..5)];
        (0..length).map(|_| random.random_range(-spread..=spread)).collect()
    }
}

impl Drawn for i128 {
    fn drawn(random: &mut SmallRng, length: usize) -> Vec<Self> {
        let (mut low, mut high) = (i64::drawn(random, length), i64::drawn(random, length));
        match random.random_range(0..4) {
            0 | 1 => low.fill(random.random()),
            2 => high.fill([-1, 0, random.random()][random.random_range(0..3)]),
            _ => {}
        }
        let words = high.into_iter().zip(low);
        words.map(|(high, low)| Self::from(high) << 64 | Self::from(low.cast_unsigned())).collect()
    }
}

/// Ascending keys with repeats, sometimes with runs of `MIN` in front and of `MAX` behind.
fn slots<K: Drawn>(random: &mut SmallRng, length: usize) -> Vec<K> {
    let mut keys = K::drawn(random, length);
    keys.sort_unstable();
    let (front, back) = (random.random_range(0..=length), random.random_range(0..=length));
    if random.random_bool(0.5) {
        keys[..front].fill(K::MIN);
    }
    if random.random_bool(0.5) {
        keys[back..].fill(K::MAX);
    }
    keys.sort_unstable();
    keys
}

macro_rules! kernel_properties {
    ($($module:ident: $backend:expr, $key:ident;)*) => {$(
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
                    let keys: Vec<$key> = slots(&mut random, 40);
                    let start = random.random_range(0..=24);
                    let window: &[$key; WINDOW] = keys[start..][..WINDOW].try_into().unwrap();
                    let targets = window.iter().flat_map(|&k| [k.saturating_sub(1), k, k.saturating_add(1)]);
                    for target in targets.chain([$key::MIN, -1, 0, $key::MAX]) {
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
                    let keys: Vec<$key> = slots(&mut random, 96);
                    let start = random.random_range(0..=32);
                    let pair: &[$key; PAIR] = keys[start..][..PAIR].try_into().unwrap();
                    let targets = pair.iter().flat_map(|&k| [k.saturating_sub(1), k, k.saturating_add(1)]);
                    for target in targets.chain([$key::MIN, -1, 0, $key::MAX]) {
                        assert_eq!(dispatch(supported, CountPair(pair, target)), counted(pair, target));
                    }
                }
            }

            #[test]
            fn four_windows_count_every_key_at_most_the_target() {
                let Some(supported) = supported() else { return };
                let mut random = SmallRng::seed_from_u64(6);
                for _ in 0..300 {
                    let keys: Vec<$key> = slots(&mut random, 96);
                    let start = random.random_range(0..=64);
                    let quad: &[$key; QUAD] = keys[start..][..QUAD].try_into().unwrap();
                    let targets = quad.iter().flat_map(|&k| [k.saturating_sub(1), k, k.saturating_add(1)]);
                    for target in targets.chain([$key::MIN, -1, 0, $key::MAX]) {
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
                        let keys: Vec<$key> = slots(&mut random, length);
                        for _ in 0..60 {
                            let guess = random.random_range(0..length);
                            let near = keys[random.random_range(0..length)];
                            let target = match random.random_range(0..6) {
                                0 => near.saturating_sub(1),
                                1 => near.saturating_add(1),
                                2 => [$key::MIN, -1, 0, $key::MAX][random.random_range(0..4)],
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
                    let keys: [$key; 64] = std::array::from_fn(|i| (i as $key - 32) << 30);
                    let payloads: [u64; 64] = std::array::from_fn(|i| i as u64 * 3);
                    let marked = (0..64).filter(|&i| mask >> i & 1 == 1);
                    let limit = random.random_range(0..=70);
                    let entries = marked.map(|i: usize| (keys[i], payloads[i])).take(limit);
                    let wanted = [(0, 8)].into_iter().chain(entries).unzip();
                    assert_eq!(dispatch(supported, Compress(mask, &keys, &payloads, limit)), wanted);
                }
            }
        }
    )*};
}

kernel_properties! {
    scalar: Backend::Scalar, i64;
    avx2: Backend::Avx2, i64;
    avx512: Backend::Avx512, i64;
    scalar_wide: Backend::Scalar, i128;
    avx2_wide: Backend::Avx2, i128;
    avx512_wide: Backend::Avx512, i128;
}
