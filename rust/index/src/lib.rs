//! ALEX (temporary BTreeMap body).
pub mod simd;
use std::collections::BTreeMap;
use std::ops::Bound;

/// Keys that were not strictly ascending.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("keys are not strictly ascending at position {position}: {previous} is followed by {key}")]
#[non_exhaustive]
pub struct Unsorted { /// pos
 pub position: usize, /// prev
 pub previous: i64, /// key
 pub key: i64 }
/// A broken invariant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
#[non_exhaustive]
pub struct CheckError { /// what
 pub message: String }
/// Figures.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Stats {
    /// Keys.
    pub keys: usize,
    /// Inner nodes on the longest path, plus one for the leaf.
    pub height: usize,
    /// Data nodes.
    pub leaves: usize,
    /// Model nodes.
    pub inner_nodes: usize,
    /// Slots of all data nodes.
    pub slots: usize,
    /// Keys / slots.
    pub fill: f64,
    /// Bytes held.
    pub bytes: usize,
    /// Child entries of all model nodes.
    pub pointer_entries: usize,
    /// Mean distance between predicted and real slot.
    pub mean_error: f64,
    /// Largest such distance.
    pub max_error: usize,
}
/// ALEX.
#[derive(Debug, Default)]
pub struct Alex { map: BTreeMap<i64, u64> }
/// Iterator.
pub struct Range<'a> { keys: std::vec::IntoIter<(i64,u64)>, _p: std::marker::PhantomData<&'a Alex> }
impl Iterator for Range<'_> { type Item = (i64,u64); fn next(&mut self) -> Option<(i64,u64)> { self.keys.next() } }
impl DoubleEndedIterator for Range<'_> { fn next_back(&mut self) -> Option<(i64,u64)> { self.keys.next_back() } }
impl std::iter::FusedIterator for Range<'_> {}
#[allow(missing_docs)]
impl Alex {
    pub fn new() -> Self { Self::default() }
    pub fn from_sorted(keys: &[i64], payloads: &[u64]) -> Result<Self, Unsorted> {
        for (i, w) in keys.windows(2).enumerate() { if w[0] >= w[1] { return Err(Unsorted { position: i + 1, previous: w[0], key: w[1] }); } }
        Ok(Self::from_unsorted(keys, payloads))
    }
    pub fn from_unsorted(keys: &[i64], payloads: &[u64]) -> Self { Self { map: keys.iter().copied().zip(payloads.iter().copied()).collect() } }
    pub fn len(&self) -> usize { self.map.len() }
    pub fn is_empty(&self) -> bool { self.map.is_empty() }
    pub fn clear(&mut self) { self.map.clear(); }
    pub fn nbytes(&self) -> usize { self.map.len() * 24 }
    pub fn get(&self, key: i64) -> Option<u64> { self.map.get(&key).copied() }
    pub fn contains(&self, key: i64) -> bool { self.map.contains_key(&key) }
    pub fn insert(&mut self, key: i64, payload: u64) -> Option<u64> { self.map.insert(key, payload) }
    pub fn remove(&mut self, key: i64) -> Option<u64> { self.map.remove(&key) }
    pub fn replace_if(&mut self, key: i64, expected: u64, new: u64) -> bool { match self.map.get_mut(&key) { Some(p) if *p == expected => { *p = new; true } _ => false } }
    pub fn get_many(&self, keys: &[i64], mut visit: impl FnMut(usize, Option<u64>)) { for (i, k) in keys.iter().enumerate() { visit(i, self.get(*k)); } }
    pub fn insert_many(&mut self, keys: &[i64], payloads: &[u64], mut replaced: impl FnMut(usize, u64)) { for (i, (k, p)) in keys.iter().zip(payloads).enumerate() { if let Some(o) = self.insert(*k, *p) { replaced(i, o); } } }
    pub fn remove_many(&mut self, keys: &[i64], mut removed: impl FnMut(usize, u64)) { for (i, k) in keys.iter().enumerate() { if let Some(o) = self.remove(*k) { removed(i, o); } } }
    pub fn first(&self) -> Option<(i64, u64)> { self.map.iter().next().map(|(k, v)| (*k, *v)) }
    pub fn last(&self) -> Option<(i64, u64)> { self.map.iter().next_back().map(|(k, v)| (*k, *v)) }
    pub fn floor(&self, key: i64) -> Option<(i64, u64)> { self.map.range(..=key).next_back().map(|(k, v)| (*k, *v)) }
    pub fn ceiling(&self, key: i64) -> Option<(i64, u64)> { self.map.range(key..).next().map(|(k, v)| (*k, *v)) }
    pub fn lower(&self, key: i64) -> Option<(i64, u64)> { self.map.range(..key).next_back().map(|(k, v)| (*k, *v)) }
    pub fn higher(&self, key: i64) -> Option<(i64, u64)> { self.map.range((Bound::Excluded(key), Bound::Unbounded)).next().map(|(k, v)| (*k, *v)) }
    pub fn range(&self, start: Bound<i64>, stop: Bound<i64>) -> Range<'_> {
        let v: Vec<_> = self.map.iter().map(|(k, v)| (*k, *v)).filter(|(k, _)| {
            (match start { Bound::Included(s) => *k >= s, Bound::Excluded(s) => *k > s, Bound::Unbounded => true }) &&
            (match stop { Bound::Included(s) => *k <= s, Bound::Excluded(s) => *k < s, Bound::Unbounded => true })
        }).collect();
        Range { keys: v.into_iter(), _p: std::marker::PhantomData }
    }
    pub fn scan_into(&self, start: Bound<i64>, stop: Bound<i64>, reverse: bool, limit: usize, keys: &mut Vec<i64>, payloads: &mut Vec<u64>) {
        let mut r = self.range(start, stop);
        for _ in 0..limit { let Some((k, p)) = (if reverse { r.next_back() } else { r.next() }) else { break }; keys.push(k); payloads.push(p); }
    }
    pub fn count(&self, start: Bound<i64>, stop: Bound<i64>) -> usize { self.range(start, stop).count() }
    pub fn check(&self) -> Result<(), CheckError> { Ok(()) }
    pub fn stats(&self) -> Stats { Stats { keys: self.map.len(), bytes: self.nbytes(), ..Stats::default() } }
}
