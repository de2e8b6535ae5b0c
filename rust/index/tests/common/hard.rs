//! Keys that are hard to predict: cell ids around towns, and sets of real data.

use rand::Rng;
use rand::rngs::SmallRng;

/// Sets of real data, as `make .keys/made` leaves them: `benchmarks/real_keys.py` says what they are.
pub const REAL: [&str; 5] = ["gaia", "ip", "taxa", "chess", "osm"];
/// Towns around which the points of `cells` lie.
const TOWNS: usize = 3_000;

/// All keys of a set of real data, ascending; `None` if it was not made.
///
/// # Panics
/// If the file is not an array of int64 as NumPy writes it.
pub fn real(kind: &str) -> Option<Vec<i64>> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../.keys/{kind}.npy"));
    let bytes = std::fs::read(path).ok()?;
    // The magic, two bytes of version, and the length of the text that describes the array.
    let text = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    assert!(bytes[..text].windows(6).any(|part| part == b"'<i8',"), "{kind}: no array of int64");
    let keys = bytes[text..].chunks_exact(8);
    Some(keys.map(|key| i64::from_le_bytes(key.try_into().expect("8 bytes"))).collect())
}

/// Morton ids of points around towns: the bits of two coordinates, interleaved. Towns have Pareto weights, so
/// that some are a thousand times as dense as others; a point lies at a normal distance from its town.
pub fn cells(count: usize, random: &mut SmallRng) -> Vec<i64> {
    let side = f64::from(1u32 << 31);
    let mut towns = Vec::with_capacity(TOWNS);
    let mut total = 0.0;
    for _ in 0..TOWNS {
        total += random.random_range(f64::MIN_POSITIVE..1.0f64).powf(-1.0 / 1.2);
        towns.push((total, random.random::<f64>() * side, random.random::<f64>() * side));
    }
    (0..count)
        .map(|_| {
            let weight = random.random::<f64>() * total;
            let (_, x, y) = towns[towns.partition_point(|town| town.0 < weight).min(TOWNS - 1)];
            // About a thousandth of the map, as a town's ten kilometres of the Earth's surface.
            let mut near =
                |centre: f64| (centre + normal(random) * side / 4_000.0).clamp(0.0, side - 1.0) as u32;
            let (x, y) = (near(x), near(y));
            (spread(x) << 1 | spread(y)) as i64
        })
        .collect()
}

/// The bits of a number with a zero before each.
fn spread(number: u32) -> u64 {
    let mut bits = u64::from(number);
    for (shift, mask) in [
        (16, 0x0000_ffff_0000_ffff),
        (8, 0x00ff_00ff_00ff_00ff),
        (4, 0x0f0f_0f0f_0f0f_0f0f),
        (2, 0x3333_3333_3333_3333),
        (1, 0x5555_5555_5555_5555),
    ] {
        bits = (bits | bits << shift) & mask;
    }
    bits
}

/// A normally distributed number, by Box and Muller.
pub fn normal(random: &mut SmallRng) -> f64 {
    let (u, v): (f64, f64) = (random.random_range(f64::MIN_POSITIVE..1.0), random.random());
    (-2.0 * u.ln()).sqrt() * (v * std::f64::consts::TAU).cos()
}
