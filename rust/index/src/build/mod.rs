//! Building an index, or a part of one, from ascending entries.
//!
//! `sort` brings entries into order, `draft` holds a node under construction, `bulk_load` builds nodes and
//! `new` builds indexes. Knows nothing of changing nodes.

mod bulk_load;
mod draft;
mod new;
mod sort;

pub(crate) use bulk_load::{load_fill, settled_fill, split_fill};
pub(crate) use draft::{Chain, Draft, Entries, Plan, balance, prefix};
pub(crate) use sort::{Pair, sort_pairs};
