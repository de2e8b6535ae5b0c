//! Changing the structure of the tree where a leaf has too little room, or too much.
//!
//! `target` finds the leaf, `splice` puts nodes in its place. `expand` makes room: it gives the leaf more
//! slots or calls `extend` or `split`. `contract` gives room back. Knows nothing of the operations that ask
//! for it.

mod contract;
mod expand;
mod extend;
mod splice;
mod split;
mod target;

pub(crate) use target::Target;
