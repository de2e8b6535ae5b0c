//! The search of a data node as a public function, for benchmarks and for a caller's own sorted arrays.
//!
//! Knows kernels and shapes of windows, no tree. Each call dispatches once.

use super::backend::{Operation, Supported, dispatch};
use super::bounds;
use super::kernel::Kernel;
use crate::error::BackendError;
use crate::key::Key;
use crate::options::Backend;

/// The slots around the guess that are counted before the gallop. The index uses `Line` and `Around`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// The guess's cache line, 8 slots, then the next: for data nodes whose model fits.
    Line,
    /// The guess's cache line, then the 128 slots around it: for data nodes whose model errs by more than a
    /// line.
    Around,
    /// Two lines: 16 slots.
    Pair,
    /// Eight lines: 64 slots.
    Block,
}

impl Shape {
    /// Every shape.
    pub const ALL: [Self; 4] = [Self::Line, Self::Around, Self::Pair, Self::Block];

    /// Slots that are looked at before the gallop.
    pub fn slots(self) -> usize {
        match self {
            Self::Line => 8,
            Self::Around => 128,
            Self::Pair => 16,
            Self::Block => 64,
        }
    }
}

/// Searches sorted slots with one backend.
#[derive(Clone, Copy, Debug)]
pub struct Searcher(Supported);

impl Searcher {
    /// A searcher that uses `backend`.
    pub fn new(backend: Backend) -> Result<Self, BackendError> {
        Supported::of(backend).map(Self)
    }

    /// Its backend.
    pub fn backend(&self) -> Backend {
        self.0.backend()
    }

    /// How many of the ascending `keys` are less than or equal to `target`: searches the shape's window
    /// around `guess`, which may be any number, then gallops. `O(log error)`.
    ///
    /// ```
    /// use alex_index::simd::{Backend, Searcher, Shape};
    /// let keys: Vec<i64> = (0..100).collect();
    /// let searcher = Searcher::new(Backend::Scalar)?;
    /// assert_eq!(searcher.upper_bound(Shape::Line, &keys, 50, 41), 42);
    /// # Ok::<(), alex_index::simd::BackendError>(())
    /// ```
    ///
    /// # Panics
    /// If there are fewer than 64 keys.
    #[inline]
    pub fn upper_bound<K: Key>(&self, shape: Shape, keys: &[K], guess: usize, target: K) -> usize {
        dispatch(self.0, Search { shape, keys, guess, target })
    }

    /// `upper_bound` for many targets, each with its guess. Calls `visit` with the position of each query and
    /// its answer, in order.
    ///
    /// ```
    /// use alex_index::simd::{Backend, Searcher, Shape};
    /// let keys: Vec<i64> = (0..100).collect();
    /// let mut found = Vec::new();
    /// Searcher::new(Backend::Scalar)?
    ///     .upper_bounds(Shape::Line, &keys, &[(41, 50), (7, 0)], |place, answer| found.push((place, answer)));
    /// assert_eq!(found, [(0, 42), (1, 8)]);
    /// # Ok::<(), alex_index::simd::BackendError>(())
    /// ```
    ///
    /// # Panics
    /// If there are fewer than 64 keys.
    pub fn upper_bounds<K: Key>(
        &self,
        shape: Shape,
        keys: &[K],
        queries: &[(K, usize)],
        visit: impl FnMut(usize, usize),
    ) {
        dispatch(self.0, Searches { shape, keys, queries, visit });
    }
}

/// Many searches.
struct Searches<'a, K, V> {
    shape: Shape,
    keys: &'a [K],
    queries: &'a [(K, usize)],
    visit: V,
}

impl<K: Key, V: FnMut(usize, usize)> Operation for Searches<'_, K, V> {
    type Output = ();

    #[inline(always)]
    fn run<S: Kernel>(mut self) {
        // One loop for each shape, so that no search pays for the choice.
        match self.shape {
            Shape::Line => self.each(bounds::upper_bound::<S, K, false>),
            Shape::Around => self.each(bounds::upper_bound::<S, K, true>),
            Shape::Pair => self.each(bounds::upper_bound_in::<S, K, 2>),
            Shape::Block => self.each(bounds::upper_bound_in::<S, K, 8>),
        }
    }
}

impl<K: Key, V: FnMut(usize, usize)> Searches<'_, K, V> {
    #[inline(always)]
    fn each(&mut self, search: impl Fn(&[K], usize, K) -> usize) {
        for (i, &(target, guess)) in self.queries.iter().enumerate() {
            (self.visit)(i, search(self.keys, guess, target));
        }
    }
}

struct Search<'a, K> {
    shape: Shape,
    keys: &'a [K],
    guess: usize,
    target: K,
}

impl<K: Key> Operation for Search<'_, K> {
    type Output = usize;

    #[inline(always)]
    fn run<S: Kernel>(self) -> usize {
        match self.shape {
            Shape::Line => bounds::upper_bound::<S, K, false>(self.keys, self.guess, self.target),
            Shape::Around => bounds::upper_bound::<S, K, true>(self.keys, self.guess, self.target),
            Shape::Pair => bounds::upper_bound_in::<S, K, 2>(self.keys, self.guess, self.target),
            Shape::Block => bounds::upper_bound_in::<S, K, 8>(self.keys, self.guess, self.target),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Searcher, Shape};
    use crate::search::backend::available;

    #[test]
    fn every_shape_answers_from_every_guess() {
        let keys: Vec<i64> = (0..512).map(|i| i / 3 * 10).collect();
        for backend in available() {
            let Ok(searcher) = Searcher::new(backend) else { continue };
            for target in (-1..1_720).step_by(7) {
                let right = keys.iter().filter(|&&key| key <= target).count();
                let queries: Vec<(i64, usize)> = (0..600).step_by(5).map(|guess| (target, guess)).collect();
                for shape in Shape::ALL {
                    for &(target, guess) in &queries {
                        assert_eq!(searcher.upper_bound(shape, &keys, guess, target), right);
                    }
                    let mut answers = 0;
                    searcher.upper_bounds(shape, &keys, &queries, |place, answer| {
                        assert_eq!((place, answer), (answers, right));
                        answers += 1;
                    });
                    assert_eq!(answers, queries.len());
                }
            }
        }
    }
}
