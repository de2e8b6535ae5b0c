//! What a caller may choose when making a tree.

/// The largest data node, in slots.
pub const MAX_LEAF_SLOTS: usize = 1 << 14;

/// An instruction set that searches inside a data node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Backend {
    /// Portable code: the specification of the other two.
    Scalar,
    /// 256-bit vectors, with BMI and POPCNT.
    Avx2,
    /// 512-bit vectors (AVX-512 F, BW and VL), with BMI and POPCNT.
    Avx512,
}

impl Backend {
    pub(crate) const ALL: [Self; 3] = [Self::Scalar, Self::Avx2, Self::Avx512];

    /// The name that [`select_by_name`](crate::simd::select_by_name) takes.
    pub fn name(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
        }
    }
}

/// How to make a tree; the default is right for everything but tests and experiments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// The SIMD backend of this tree; `None` is the process's ([`crate::simd::active`]).
    pub backend: Option<Backend>,
    /// The most slots of a data node, clamped to 128..=[`MAX_LEAF_SLOTS`]; `None` is the largest. Small
    /// leaves split and merge often, which is what structural tests want.
    pub max_leaf_slots: Option<usize>,
}
