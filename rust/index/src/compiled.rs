//! What this crate compiles for both kinds of keys. Generic code is otherwise compiled by every crate that uses it, and
//! with three instruction sets that takes minutes each time. So the generic methods that callers see call those that are
//! named here, which are not generic.

use std::ops::Bound;

use crate::arena::Arena;
use crate::build::{Chain, Draft, Entries, Plan};
use crate::error::{CheckError, Unsorted};
use crate::image::{ImageError, ImageMemory, Opened};
use crate::inspect::{Stats, Survey};
use crate::key::Key;
use crate::node::NodeId;
use crate::options::Options;
use crate::search::Supported;
use crate::tree::Alex;

/// Declares functions of a kind of key, and compiles them for each kind.
macro_rules! compiled {
    ($(fn $name:ident($($arg:ident: $type:ty),* $(,)?) $(-> $out:ty)? = $method:path;)*) => {
        /// Functions that are compiled here, named as the methods that call them.
        pub(crate) trait Compiled: Sized {
            $(fn $name($($arg: $type),*) $(-> $out)? where Self: Key;)*
        }

        impl Compiled for i64 {
            $(fn $name($($arg: $type),*) $(-> $out)? { $method($($arg),*) })*
        }

        impl Compiled for i128 {
            $(fn $name($($arg: $type),*) $(-> $out)? { $method($($arg),*) })*
        }
    };
}

compiled! {
    fn get(tree: &Alex<Self>, key: Self) -> Option<u64> = Alex::do_get;
    fn insert(tree: &mut Alex<Self>, key: Self, payload: u64) -> Option<u64> = Alex::do_insert;
    fn remove(tree: &mut Alex<Self>, key: Self) -> Option<u64> = Alex::do_remove;
    fn replace_if(tree: &mut Alex<Self>, key: Self, expected: u64, new: u64) -> bool = Alex::do_replace_if;
    fn insert_many(
        tree: &mut Alex<Self>,
        keys: &[Self],
        payloads: &[u64],
        replaced: &mut dyn FnMut(usize, u64),
    ) = Alex::do_insert_many;
    fn remove_many(tree: &mut Alex<Self>, keys: &[Self], removed: &mut dyn FnMut(usize, u64)) = Alex::do_remove_many;
    fn first(tree: &Alex<Self>) -> Option<(Self, u64)> = Alex::do_first;
    fn last(tree: &Alex<Self>) -> Option<(Self, u64)> = Alex::do_last;
    fn floor(tree: &Alex<Self>, key: Self) -> Option<(Self, u64)> = Alex::do_floor;
    fn ceiling(tree: &Alex<Self>, key: Self) -> Option<(Self, u64)> = Alex::do_ceiling;
    fn lower(tree: &Alex<Self>, key: Self) -> Option<(Self, u64)> = Alex::do_lower;
    fn higher(tree: &Alex<Self>, key: Self) -> Option<(Self, u64)> = Alex::do_higher;
    fn scan_into(
        tree: &Alex<Self>,
        range: (Bound<Self>, Bound<Self>),
        reverse: bool,
        limit: usize,
        out: (&mut Vec<Self>, &mut Vec<u64>),
    ) = Alex::do_scan_into;
    fn count(tree: &Alex<Self>, start: Bound<Self>, stop: Bound<Self>) -> usize = Alex::do_count;
    fn rank(tree: &Alex<Self>, key: Self) -> usize = Alex::do_rank;
    fn nth(tree: &Alex<Self>, rank: usize) -> Option<(Self, u64)> = Alex::do_nth;
    fn nth_many(tree: &Alex<Self>, ranks: &[usize], visit: &mut dyn FnMut(Self, u64)) = Alex::do_nth_many;
    fn boundaries(tree: &Alex<Self>, parts: usize) -> Vec<Self> = Alex::do_boundaries;
    fn empty(backend: Supported, max_slots: usize) -> Alex<Self> = Alex::do_empty;
    fn from_sorted(keys: &[Self], payloads: &[u64]) -> Result<Alex<Self>, Unsorted<Self>> = Alex::do_from_sorted;
    fn from_unsorted(keys: &[Self], payloads: &[u64]) -> Alex<Self> = Alex::do_from_unsorted;
    fn leaf_or_node(
        tree: &mut Alex<Self>,
        chain: &mut Chain,
        entries: Entries<'_, Self>,
        plan: Plan<Self>,
    ) -> NodeId = Alex::do_leaf_or_node;
    fn new_node(
        tree: &mut Alex<Self>,
        chain: &mut Chain,
        entries: Entries<'_, Self>,
        plan: Plan<Self>,
    ) -> NodeId = Alex::do_new_node;
    fn emit(
        tree: &mut Alex<Self>,
        chain: &mut Chain,
        entries: Entries<'_, Self>,
        draft: &mut Draft<Self>,
        slots: std::ops::Range<usize>,
    ) = Alex::do_emit;
    fn open_image(memory: ImageMemory, options: Options) -> Result<Opened<Self>, ImageError> = Alex::do_open_image;
    fn verify(arena: &Arena<Self>, id: u32) -> bool = Arena::do_verify;
    fn check(tree: &Alex<Self>) -> Result<(), CheckError> = Alex::do_check;
    fn stats(tree: &Alex<Self>) -> Stats = Alex::do_stats;
    fn survey(tree: &Alex<Self>) -> Survey<Self> = Alex::do_survey;
}
