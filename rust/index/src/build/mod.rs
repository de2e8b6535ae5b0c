//! Building an index, or a part of one, from ascending entries.
//!
//! `sort` puts entries in order, `draft` is what building goes by, `bulk_load` makes nodes, `new` whole indexes.
//! Knows nothing of changing what is there.

mod bulk_load;
mod draft;
mod new;
mod sort;

pub(crate) use bulk_load::{LOAD_FILL, SPLIT_FILL, settled_fill};
pub(crate) use draft::{Chain, Draft, Entries, Plan, balance, prefix};
pub(crate) use sort::{Pair, sort_pairs};
