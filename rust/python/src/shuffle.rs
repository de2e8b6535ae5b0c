//! An order of `0..n` that looks random and takes no memory: any part of it can be asked for by itself.
//!
//! A Feistel network over the pairs (row, column) of a square that holds `0..n`, as in "Ciphers with Arbitrary Finite
//! Domains" (Black and Rogaway, CT-RSA 2002, section 5). A place of the square outside `0..n` is enciphered again
//! until one inside comes: "cycle walking", section 4 there. The square has less than 2 sqrt(n) places too many, so that
//! is rare.
//!
//! The order of a seed is a promise: training that is resumed relies on it. It may never change.

use numpy::PyArray1;
use pyo3::exceptions::PyIndexError;
use pyo3::prelude::*;

use crate::convert::arrays;
use crate::convert::keys::{self, Role};

/// Pairs of rounds. With 6 all orders of 3 to 6 elements are equally frequent, by a chi-squared test; with 4 they
/// are not.
const PAIRS: usize = 6;

struct Order {
    /// Elements.
    n: u64,
    rows: u64,
    columns: u64,
    /// For each pair of rounds, what its two mixings begin with.
    keys: [(u64, u64); PAIRS],
}

impl Order {
    fn new(n: u64, seed: u64, epoch: u64) -> Self {
        // The keys of one epoch are no shift of those of the next, because the epoch enters the mixed seed.
        let mut state = mixed(seed) ^ epoch;
        let mut next = || {
            state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            mixed(state)
        };
        let columns = n.isqrt() + u64::from(n.isqrt() * n.isqrt() < n);
        Self {
            n,
            rows: n.checked_div(columns).map_or(0, |_| n.div_ceil(columns)),
            columns,
            keys: std::array::from_fn(|_| (next(), next())),
        }
    }

    /// What stands at `position`, which is below `n`. O(1).
    fn at(&self, position: u64) -> u64 {
        let mut place = position;
        loop {
            place = self.enciphered(place);
            if place < self.n {
                return place;
            }
        }
    }

    /// One place of the square for another: each place once.
    fn enciphered(&self, place: u64) -> u64 {
        let (mut row, mut column) = (place / self.columns, place % self.columns);
        for &(of_row, of_column) in &self.keys {
            column = sum(column, share(mixed(row ^ of_row), self.columns), self.columns);
            row = sum(row, share(mixed(column ^ of_column), self.rows), self.rows);
        }
        row * self.columns + column
    }
}

/// The finaliser of `SplitMix64` (Steele, Lea and Flood, OOPSLA 2014).
fn mixed(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^ (bits >> 31)
}

/// One of `0..below`, all equally likely for random `bits`.
fn share(bits: u64, below: u64) -> u64 {
    ((u128::from(bits) * u128::from(below)) >> 64) as u64
}

/// `a + b` modulo `modulus`, above both of them.
fn sum(a: u64, b: u64, modulus: u64) -> u64 {
    let sum = a + b;
    if sum < modulus { sum } else { sum - modulus }
}

/// What stands at `positions`, an array of integers, in the order of `0..n` that `seed` and `epoch` make.
///
/// Raises IndexError for a position outside `0..n`. O(positions).
#[pyfunction]
#[pyo3(name = "_shuffled")]
pub(crate) fn shuffled<'py>(
    py: Python<'py>,
    positions: &Bound<'py, PyAny>,
    n: u64,
    seed: u64,
    epoch: u64,
) -> PyResult<Bound<'py, PyArray1<i64>>> {
    let order = Order::new(n, seed, epoch);
    let mut found = keys::many(positions, Role::Bound("positions"))?;
    for position in &mut found {
        match u64::try_from(*position) {
            // Below n, which is the length of a store or of something in memory.
            Ok(place) if place < n => *position = order.at(place) as i64,
            _ => return Err(PyIndexError::new_err(format!("position {position} is not below {n}"))),
        }
    }
    Ok(arrays::array(py, found))
}
