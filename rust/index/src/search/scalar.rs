//! The portable kernel: what the others must equal.

use super::{Kernel, Run, WINDOW};

#[derive(Clone, Copy, Debug)]
pub(crate) struct Scalar;

impl Kernel for Scalar {
    #[inline(always)]
    fn count_at_most(window: &[i64; WINDOW], target: i64) -> usize {
        // Halvings by arithmetic: no branch to mispredict, four loads instead of eight.
        let mut low = 0;
        low += usize::from(window[low + 3] <= target) * 4;
        low += usize::from(window[low + 1] <= target) * 2;
        low += usize::from(window[low] <= target);
        low + usize::from(window[low] <= target)
    }

    #[inline(always)]
    fn compress(mask: u64, keys: &[i64; 64], payloads: &[u64; 64], run: &mut Run) -> usize {
        let mut count = 0;
        let mut rest = mask;
        while rest != 0 {
            let slot = rest.trailing_zeros() as usize;
            run.keys[count] = keys[slot];
            run.payloads[count] = payloads[slot];
            count += 1;
            rest &= rest - 1;
        }
        count
    }
}
