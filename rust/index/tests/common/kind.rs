//! Both kinds of keys, for tests that are the same for both, and distributions of keys of 128 bits.

use std::panic::{RefUnwindSafe, UnwindSafe};

use alex_index::Key;
use rand::rngs::SmallRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};

/// What tests do with keys.
pub trait Kind: Key + RefUnwindSafe + UnwindSafe {
    /// Bytes of the header of a data node in an image, and of the model in it.
    const LEAF_HEADER: usize;
    const MODEL: usize;

    /// A small key.
    fn of(key: i64) -> Self;

    /// Any key.
    fn any(random: &mut SmallRng) -> Self;

    /// A key that has all its bits from `seed`, shifted to the right: `bits` is less than 64, and 64 stands for all bits.
    fn narrowed(seed: i64, bits: u8) -> Self;

    /// `by << shift`, at most half of the greatest key: `shift` is less than 64, and 64 stands for all bits.
    fn far(by: u16, shift: u8) -> Self;

    /// The key, plus or minus another; the greatest or the least where there is no such key.
    fn plus(self, by: Self) -> Self;
    fn minus(self, by: Self) -> Self;

    /// The sum, around the end of the keys if need be.
    fn around(self, by: Self) -> Self;

    /// The key after so many of `of` parts of the way from `low` to `high`.
    fn between(low: Self, high: Self, parts: usize, of: usize) -> Self;

    fn read(bytes: &[u8]) -> Self;
    fn bytes(self) -> Vec<u8>;

    fn moved(self, by: i64) -> Self {
        if by < 0 { self.minus(Self::of(-by)) } else { self.plus(Self::of(by)) }
    }
}

/// One seed's bits, mixed.
fn mixed(seed: i64) -> u64 {
    let mixed = (seed.cast_unsigned() ^ 0x9E37_79B9_7F4A_7C15).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed ^ mixed >> 31
}

impl Kind for i64 {
    const LEAF_HEADER: usize = 64;
    const MODEL: usize = 24;

    fn of(key: i64) -> Self {
        key
    }

    fn any(random: &mut SmallRng) -> Self {
        random.random()
    }

    fn narrowed(seed: i64, bits: u8) -> Self {
        seed >> (bits & 63)
    }

    fn far(by: u16, shift: u8) -> Self {
        Self::try_from((i128::from(by) << shift).min(1 << 62)).unwrap_or(Self::MAX)
    }

    fn plus(self, by: Self) -> Self {
        self.saturating_add(by)
    }

    fn minus(self, by: Self) -> Self {
        self.saturating_sub(by)
    }

    fn around(self, by: Self) -> Self {
        self.wrapping_add(by)
    }

    fn between(low: Self, high: Self, parts: usize, of: usize) -> Self {
        low.wrapping_add((high.wrapping_sub(low) / of as Self).wrapping_mul(parts as Self))
    }

    fn read(bytes: &[u8]) -> Self {
        Self::from_le_bytes(bytes[..8].try_into().unwrap())
    }

    fn bytes(self) -> Vec<u8> {
        self.to_le_bytes().to_vec()
    }
}

impl Kind for i128 {
    const LEAF_HEADER: usize = 128;
    const MODEL: usize = 48;

    fn of(key: i64) -> Self {
        key.into()
    }

    fn any(random: &mut SmallRng) -> Self {
        random.random()
    }

    fn narrowed(seed: i64, bits: u8) -> Self {
        (Self::from(seed) << 64 | Self::from(mixed(seed))) >> (u32::from(bits & 63) * 2)
    }

    fn far(by: u16, shift: u8) -> Self {
        // Of 16 bits, shifted by less than 112.
        (Self::from(by) << (u32::from(shift) * 2).min(110)).min(1 << 126)
    }

    fn plus(self, by: Self) -> Self {
        self.saturating_add(by)
    }

    fn minus(self, by: Self) -> Self {
        self.saturating_sub(by)
    }

    fn around(self, by: Self) -> Self {
        self.wrapping_add(by)
    }

    fn between(low: Self, high: Self, parts: usize, of: usize) -> Self {
        low.wrapping_add((high.wrapping_sub(low) / of as Self).wrapping_mul(parts as Self))
    }

    fn read(bytes: &[u8]) -> Self {
        Self::from_le_bytes(bytes[..16].try_into().unwrap())
    }

    fn bytes(self) -> Vec<u8> {
        self.to_le_bytes().to_vec()
    }
}

/// A distribution of keys of 128 bits, and the order in which they come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WideKeys {
    /// UUIDs of version 4: random but for six bits.
    V4,
    /// UUIDs of version 7 of one millisecond.
    V7,
    /// Half and half, as where a table moves from the one to the other.
    V4AndV7,
    /// Addresses of IPv6: a few networks of 64 bits with dense or random hosts in each.
    Networks,
    /// The high 64 bits are the same.
    SharedHigh,
    /// The low 64 bits are the same.
    SharedLow,
    /// One after another, from below to above where the low word overflows.
    AcrossWords,
    /// Near the least and the greatest key, and around zero.
    Ends,
    /// Dense keys, and a few anywhere.
    Outliers,
}

pub const ALL_WIDE: [WideKeys; 9] = [
    WideKeys::V4,
    WideKeys::V7,
    WideKeys::V4AndV7,
    WideKeys::Networks,
    WideKeys::SharedHigh,
    WideKeys::SharedLow,
    WideKeys::AcrossWords,
    WideKeys::Ends,
    WideKeys::Outliers,
];

/// The key of a UUID or of an address, whose order is that of the unsigned integer.
fn key_of(unsigned: u128) -> i128 {
    (unsigned ^ 1 << 127).cast_signed()
}

fn v4(random: &mut SmallRng) -> i128 {
    key_of(random.random::<u128>() & !(0xF << 76) & !(3 << 62) | 4 << 76 | 2 << 62)
}

fn v7(random: &mut SmallRng, millisecond: u64) -> i128 {
    let rest = random.random::<u128>() >> 48 & !(0xF << 76) & !(3 << 62);
    key_of(u128::from(millisecond) << 80 | rest | 7 << 76 | 2 << 62)
}

/// `count` keys, of which a few may repeat.
pub fn draw_wide(kind: WideKeys, count: usize, seed: u64) -> Vec<i128> {
    let mut random = SmallRng::seed_from_u64(seed);
    let networks: Vec<u128> =
        (0..(count / 300).max(1)).map(|_| random.random::<u128>() >> 64 << 64).collect();
    let key = |i: usize, random: &mut SmallRng| match kind {
        WideKeys::V4 => v4(random),
        WideKeys::V7 => v7(random, 1_700_000_000_000),
        WideKeys::V4AndV7 if i.is_multiple_of(2) => v4(random),
        WideKeys::V4AndV7 => v7(random, 1_700_000_000_000 + i as u64 / 64),
        WideKeys::Networks => {
            let network = random.random_range(0..networks.len());
            let host = if network.is_multiple_of(2) { random.random::<u64>() } else { i as u64 / 4 };
            key_of(networks[network] | u128::from(host))
        }
        WideKeys::SharedHigh => key_of(0x2001_0DB8 << 96 | u128::from(random.random::<u64>())),
        WideKeys::SharedLow => key_of(u128::from(random.random::<u64>()) << 64 | 0xFFFF_FFFF_FFFF_FFF0),
        WideKeys::AcrossWords => (7 << 64) - count as i128 / 2 + i as i128,
        WideKeys::Ends => {
            let by = i as i128 / 5;
            let edges = [i128::MIN, -1, 0, i128::MAX, 1 << 64, (1 << 64) - 1];
            let near = [i128::MIN + by, -1 - by, by, i128::MAX - by, edges[random.random_range(0..6)]];
            near[i % 5]
        }
        WideKeys::Outliers if i.is_multiple_of(100) => random.random::<i128>() >> random.random_range(0..128),
        WideKeys::Outliers => i as i128 * 3,
    };
    let mut keys: Vec<i128> = (0..count).map(|i| key(i, &mut random)).collect();
    if !matches!(kind, WideKeys::AcrossWords | WideKeys::V4AndV7) {
        keys.shuffle(&mut random);
    }
    keys
}
