//! Checksums of any piece of a file after one pass over it: the checksum of a piece follows from those of the
//! two prefixes that end at its beginning and at its end. Knows nothing of records. Memory: 4 bytes for each
//! KiB of the file that was read. A checksum costs O(log length) and reading two pieces of at most a KiB.
//!
//! Why it works: a CRC without its first and last inversion is linear. Let `r(s, x)` be the register after
//! the bytes `x`, starting from register `s`. Then `r(s, x) = r(0, x) ^ advance(s, len(x))`, where `advance`
//! feeds zeros. For the piece `a..b` this gives `r(s, piece) = r(0, ..b) ^ advance(r(0, ..a) ^ s, b - a)`.
//! Feeding n zeros multiplies by x^(8n) modulo the polynomial, which is done by repeated squaring.

use crate::error::Result;
use crate::log::segment::Segment;

/// Distance between two stored prefixes, in bytes.
const STEP: u64 = 1 << 10;
/// Bytes read at a time; a multiple of `STEP`.
const CHUNK_BYTES: usize = 1 << 20;

/// The polynomial of CRC-32C, with the coefficient of x^0 in the top bit.
const POLYNOMIAL: u32 = 0x82F6_3B78;
/// The polynomial 1.
const ONE: u32 = 1 << 31;

/// The CRC registers after prefixes of a segment's file, computed as far as they are needed.
pub(crate) struct Prefixes<'s> {
    segment: &'s Segment,
    /// Register after `i * STEP` bytes, from 0.
    registers: Vec<u32>,
    chunk: Vec<u8>,
}

impl<'s> Prefixes<'s> {
    pub(crate) fn new(segment: &'s Segment) -> Self {
        Self { segment, registers: vec![0], chunk: Vec::new() }
    }

    /// The CRC-32C of the bytes `from..to`, continued from the checksum `seed`; `None` if the file ends
    /// before `to`.
    pub(crate) fn checksum(&mut self, seed: u32, from: u64, to: u64) -> Result<Option<u32>> {
        let (Some(before), Some(all)) = (self.register(from)?, self.register(to)?) else { return Ok(None) };
        Ok(Some(!(all ^ advance(before ^ !seed, to - from))))
    }

    /// The register after the first `at` bytes of the file.
    fn register(&mut self, at: u64) -> Result<Option<u32>> {
        let step = (at / STEP) as usize;
        self.reach(step)?;
        let Some(&register) = self.registers.get(step) else { return Ok(None) };
        let mut rest = [0; STEP as usize];
        let rest = &mut rest[..(at % STEP) as usize];
        if self.segment.read_at(at - at % STEP, rest)? < rest.len() {
            return Ok(None);
        }
        Ok(Some(feed(register, rest)))
    }

    /// Computes the registers up to this one, as far as the file goes.
    fn reach(&mut self, step: usize) -> Result<()> {
        while self.registers.len() <= step {
            let start = (self.registers.len() as u64 - 1) * STEP;
            self.chunk.resize(CHUNK_BYTES, 0);
            let read = self.segment.read_at(start, &mut self.chunk)?;
            let (whole, _) = self.chunk[..read].as_chunks::<{ STEP as usize }>();
            let Some(&last) = self.registers.last() else { return Ok(()) };
            let registers = whole.iter().scan(last, |register, piece| {
                *register = feed(*register, piece);
                Some(*register)
            });
            let made = self.registers.len();
            self.registers.extend(registers);
            if self.registers.len() == made {
                break;
            }
        }
        Ok(())
    }
}

/// The register after these further bytes.
fn feed(register: u32, bytes: &[u8]) -> u32 {
    !crc32c::crc32c_append(!register, bytes)
}

/// The register after this many zeros. O(log zeros).
fn advance(register: u32, zeros: u64) -> u32 {
    // x^8, squared once for each binary digit of the count.
    let (mut power, mut square, mut left) = (ONE, ONE >> 8, zeros);
    while left > 0 {
        if left & 1 == 1 {
            power = multiply(power, square);
        }
        square = multiply(square, square);
        left >>= 1;
    }
    multiply(power, register)
}

/// The product of two polynomials modulo the polynomial.
fn multiply(a: u32, mut b: u32) -> u32 {
    let mut product = 0;
    for digit in (0..32).rev() {
        product ^= b & 0u32.wrapping_sub(a >> digit & 1);
        b = b >> 1 ^ POLYNOMIAL & 0u32.wrapping_sub(b & 1);
    }
    product
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::disk::Disk;
    use crate::disk::sim::{Rng, SimDisk};
    use crate::format::header::SegmentHeader;

    #[test]
    fn feeding_zeros_is_what_the_checksum_does_with_zeros() {
        for zeros in [0, 1, 2, 3, 7, 8, 63, 64, 1000, 4097] {
            for register in [0, 1, 0x8000_0000, 0xDEAD_BEEF, u32::MAX] {
                assert_eq!(advance(register, zeros), feed(register, &vec![0; zeros as usize]), "{zeros}");
            }
        }
        assert_eq!(advance(7, 1 << 40), advance(advance(7, 1 << 39), 1 << 39));
    }

    #[test]
    fn the_checksum_of_any_piece_is_that_of_its_bytes() {
        let disk: Arc<dyn Disk> = Arc::new(SimDisk::new(1));
        let mut rng = Rng::new(5);
        let bytes: Vec<u8> = (0..300_001).map(|_| rng.next_u64() as u8).collect();
        let file = disk.create("file", 0).expect("a file");
        file.write_at(0, &bytes).expect("writes");
        let header = SegmentHeader::of_test(1, 4096);
        let segment = Segment::over(&disk, header, file, None, false);
        let mut prefixes = Prefixes::new(&segment);
        for _ in 0..2000 {
            let (a, b) = (rng.below(300_002), rng.below(300_002));
            let (from, to, seed) = (a.min(b), a.max(b), rng.next_u64() as u32);
            let right = crc32c::crc32c_append(seed, &bytes[from as usize..to as usize]);
            assert_eq!(prefixes.checksum(seed, from, to).expect("reads"), Some(right), "{from}..{to}");
        }
        assert_eq!(prefixes.checksum(0, 5, 300_002).expect("reads"), None);
        assert_eq!(prefixes.checksum(0, 5, 400_000).expect("reads"), None);
    }
}
