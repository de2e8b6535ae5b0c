//! Looking into an index: every invariant checked, figures about its shape, a picture of its nodes.
//!
//! For people, tests and tuning; nothing else depends on it.

mod check;
mod stats;
mod survey;

pub use stats::Stats;
pub use survey::{ERROR_CLASSES, LeafSurvey, Survey};
