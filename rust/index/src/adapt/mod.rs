//! Changing the tree where keys come or go: more slots, more leaves, a wider range, or fewer of each.
//!
//! `target` finds the leaf and `splice` puts nodes in its place; `split` and `extend` are two ways to make room,
//! `expand` a third, which chooses between them; `contract` gives room back. Knows nothing of who asks.

mod contract;
mod expand;
mod extend;
mod splice;
mod split;
mod target;

pub(crate) use target::Target;
