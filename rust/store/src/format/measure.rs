//! Runs parts of a commit by themselves, for `alexpy bench profile`. No store uses this. Knows nothing of
//! stores.

use crate::format::record::Seal;

/// Computes the checksum of each record of `record_bytes` in `bytes`, as commits do, and folds them into one
/// number. O(bytes).
///
/// # Panics
///
/// If `record_bytes` is 0.
pub fn checksum_records(bytes: &[u8], record_bytes: usize) -> u32 {
    let seal = Seal::new(0);
    let records = bytes.chunks_exact(record_bytes).enumerate();
    records.fold(0, |folded, (number, record)| {
        let offset = (number * record_bytes) as u64;
        folded ^ seal.checksum(offset, record.get(4..).unwrap_or_default())
    })
}

#[cfg(test)]
mod tests {
    use super::checksum_records;

    #[test]
    fn every_byte_after_the_checksum_counts() {
        let records: Vec<u8> = (0..=255).collect();
        let all = checksum_records(&records, 64);
        for at in 0..records.len() {
            let mut changed = records.clone();
            changed[at] ^= 1;
            let covered = at % 64 >= 4;
            assert_eq!(checksum_records(&changed, 64) != all, covered, "byte {at}");
        }
    }
}
