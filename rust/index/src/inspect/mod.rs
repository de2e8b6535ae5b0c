//! Looking into an index: a check of every invariant, figures about its shape, and a survey of its nodes.
//!
//! For people, tests and tuning. No operation of the index depends on it.

mod check;
mod stats;
mod survey;

pub use stats::Stats;
pub use survey::{ERROR_CLASSES, LeafSurvey, Survey};
