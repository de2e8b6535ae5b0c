//! The choices of a caller who makes a tree: SIMD backend and size of data nodes.

/// Slots of the largest data node.
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

/// How to make a tree. The default suits everything but tests and experiments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// The SIMD backend of this tree; `None` stands for the active one ([`crate::simd::active`]).
    pub backend: Option<Backend>,
    /// The most slots of a data node, clamped to 128..=[`MAX_LEAF_SLOTS`]; `None` stands for
    /// [`MAX_LEAF_SLOTS`]. Small nodes split and merge often, which tests of structural changes want.
    pub max_leaf_slots: Option<usize>,
}
