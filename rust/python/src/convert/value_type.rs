//! What values are to an Arrow library: binary without a codec; text, numbers, lists or records by the codec's word.
//!
//! The one place that chooses the Arrow type of values ([`ValueType::of`]) and makes such a column of their bytes
//! ([`ValueType::array`]). Bytes and text have several representations, of which a consumer can request one ([`Layout`]). Holds no Python object, because consumers read streams on threads of their own. O(bytes).

use std::mem::align_of;
use std::sync::Arc;

use alex_store::ValueColumn;
use arrow_array::builder::make_view;
use arrow_array::ffi::FFI_ArrowSchema;
use arrow_array::{
    Array, ArrayRef, BinaryArray, BinaryViewArray, BooleanArray, FixedSizeListArray, LargeBinaryArray,
    LargeStringArray, StringArray, StringViewArray, StructArray, make_array, new_empty_array,
};
use arrow_buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow_schema::{ArrowError, DataType, Field, FieldRef, Fields};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use zerocopy::IntoBytes;

use crate::convert::codec::Codec;

/// The longest data that 32-bit offsets reach.
const SMALL_BYTES: usize = i32::MAX as usize;

/// How bytes and text are laid out: the representations that a consumer can request. Of rows there is one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// 64-bit offsets: the engine's own, without a copy.
    Large,
    /// 32-bit offsets.
    Small,
    /// Lengths with prefixes or short values.
    View,
}

/// The Arrow type of values.
#[derive(Clone, Default)]
pub(crate) enum ValueType {
    #[default]
    Binary,
    /// UTF-8.
    Text,
    /// Each value is one row of an array.
    Rows(Arc<Rows>),
}

/// Rows of an array.
pub(crate) struct Rows {
    bytes: usize,
    /// One without a name, or those of records.
    parts: Vec<Part>,
}

/// A field of a row, or all of it.
struct Part {
    name: Option<String>,
    offset: usize,
    element: DataType,
    element_bytes: usize,
    /// How many elements, by dimension; none for a number.
    shape: Vec<usize>,
}

/// A part as `alexpy.codecs` describes it: name, offset, Arrow's format of an element, its bytes, and the shape.
type Described = (Option<String>, usize, String, usize, Vec<usize>);

impl ValueType {
    /// The type of the values of a store with this codec.
    pub(crate) fn of(py: Python<'_>, codec: Option<&Codec>) -> PyResult<Self> {
        let Some(codec) = codec else { return Ok(Self::Binary) };
        let told = codec.object(py).getattr("_arrow")?;
        if told.is_none() {
            return Ok(Self::Binary);
        }
        let Some(bytes) = codec.row_bytes() else { return Ok(Self::Text) };
        let described = told.extract::<Vec<Described>>()?;
        let parts = described.into_iter().map(Part::of).collect::<Result<_, _>>();
        let parts = parts.map_err(|error| PyValueError::new_err(error.to_string()))?;
        Ok(Self::Rows(Arc::new(Rows { bytes, parts })))
    }

    pub(crate) fn data_type(&self, layout: Layout) -> DataType {
        match (self, layout) {
            (Self::Binary, Layout::Large) => DataType::LargeBinary,
            (Self::Binary, Layout::Small) => DataType::Binary,
            (Self::Binary, Layout::View) => DataType::BinaryView,
            (Self::Text, Layout::Large) => DataType::LargeUtf8,
            (Self::Text, Layout::Small) => DataType::Utf8,
            (Self::Text, Layout::View) => DataType::Utf8View,
            (Self::Rows(rows), _) => rows.data_type(),
        }
    }

    /// The layout for a consumer that requested this type. One that is no layout of these values gets the default:
    /// requests are wishes, and consumers look at what they get.
    pub(crate) fn layout_for(&self, requested: &DataType) -> Layout {
        let layouts = [Layout::Small, Layout::View];
        layouts.into_iter().find(|&layout| self.data_type(layout) == *requested).unwrap_or(Layout::Large)
    }

    /// Whether a value that is there can be null: NumPy's NaT is.
    pub(crate) fn has_nulls(&self) -> bool {
        matches!(self, Self::Rows(_))
    }

    /// The values of a column as an Arrow array; `offsets` and `data` are its memory, `nulls` says which are absent.
    pub(crate) fn array(
        &self,
        layout: Layout,
        column: &ValueColumn,
        offsets: Buffer,
        data: Buffer,
        nulls: Option<NullBuffer>,
    ) -> Result<ArrayRef, ArrowError> {
        if let Self::Rows(rows) = self {
            return rows.array(column, &data, nulls);
        }
        let is_text = matches!(self, Self::Text);
        if layout != Layout::Large && data.len() > SMALL_BYTES {
            let large = if is_text { "large_string" } else { "large_binary" };
            return Err(ArrowError::InvalidArgumentError(format!(
                "{} bytes of values are more than {:?} holds; request {large}, or read fewer keys at a time",
                data.len(),
                self.data_type(layout)
            )));
        }
        Ok(match layout {
            Layout::Large => {
                let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
                if is_text {
                    Arc::new(LargeStringArray::try_new(offsets, data, nulls)?)
                } else {
                    Arc::new(LargeBinaryArray::try_new(offsets, data, nulls)?)
                }
            }
            Layout::Small => {
                let mut small = room::<i32>(column.offsets().len())?;
                small.extend(column.offsets().iter().map(|&offset| offset as i32));
                let offsets = OffsetBuffer::new(small.into());
                if is_text {
                    Arc::new(StringArray::try_new(offsets, data, nulls)?)
                } else {
                    Arc::new(BinaryArray::try_new(offsets, data, nulls)?)
                }
            }
            Layout::View => {
                let mut views = room::<u128>(column.len())?;
                views.extend(column.offsets().windows(2).map(|pair| {
                    make_view(&column.data()[pair[0] as usize..pair[1] as usize], 0, pair[0] as u32)
                }));
                if is_text {
                    Arc::new(StringViewArray::try_new(views.into(), [data], nulls)?)
                } else {
                    Arc::new(BinaryViewArray::try_new(views.into(), [data], nulls)?)
                }
            }
        })
    }
}

/// An empty vector with room for `items`.
pub(super) fn room<T>(items: usize) -> Result<Vec<T>, ArrowError> {
    let mut room = Vec::new();
    room.try_reserve_exact(items)
        .map_err(|_| ArrowError::MemoryError(format!("there is no memory for {items} rows")))?;
    Ok(room)
}

impl Part {
    fn of((name, offset, format, element_bytes, shape): Described) -> Result<Self, ArrowError> {
        let element = DataType::try_from(&FFI_ArrowSchema::try_new(&format, vec![], None)?)?;
        Ok(Self { name, offset, element, element_bytes, shape })
    }

    fn data_type(&self) -> DataType {
        let list = |inner, length: &usize| DataType::FixedSizeList(item(inner), *length as i32);
        self.shape.iter().rev().fold(self.element.clone(), list)
    }

    fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// This part of all rows, `memory` being its bytes and nothing else.
    fn array(&self, memory: Buffer, rows: usize, nulls: Option<&NullBuffer>) -> Result<ArrayRef, ArrowError> {
        let count = rows * self.elements();
        // The nulls of a number are its own, those of a list belong to the list.
        let own = nulls.filter(|_| self.shape.is_empty()).cloned();
        let mut array: ArrayRef = if self.element == DataType::Boolean {
            let bits = BooleanBuffer::collect_bool(count, |at| memory[at] != 0);
            Arc::new(BooleanArray::new(bits, own))
        } else {
            let own = NullBuffer::union(own.as_ref(), self.not_a_time(&memory, count).as_ref());
            let made = new_empty_array(&self.element).to_data().into_builder();
            make_array(made.len(count).buffers(vec![memory]).nulls(own).build()?)
        };
        for (depth, &length) in self.shape.iter().enumerate().rev() {
            let own = nulls.filter(|_| depth == 0).cloned();
            let field = item(array.data_type().clone());
            array = Arc::new(FixedSizeListArray::try_new(field, length as i32, array, own)?);
        }
        Ok(array)
    }

    /// Which moments and spans are NumPy's NaT.
    fn not_a_time(&self, memory: &Buffer, count: usize) -> Option<NullBuffer> {
        if !matches!(self.element, DataType::Timestamp(..) | DataType::Duration(_)) {
            return None;
        }
        let nat = i64::MIN.to_ne_bytes();
        let there = |at: usize| memory[8 * at..8 * at + 8] != nat;
        let there = BooleanBuffer::collect_bool(count, there);
        (there.count_set_bits() < count).then(|| NullBuffer::new(there))
    }
}

fn item(element: DataType) -> FieldRef {
    Arc::new(Field::new("item", element, true))
}

impl Rows {
    fn fields(&self) -> Option<Fields> {
        let field = |part: &Part| Some(Field::new(part.name.as_ref()?, part.data_type(), true));
        self.parts.iter().map(field).collect()
    }

    fn data_type(&self) -> DataType {
        match (self.fields(), self.parts.as_slice()) {
            (None, [whole]) => whole.data_type(),
            (fields, _) => DataType::Struct(fields.unwrap_or_default()),
        }
    }

    fn array(
        &self,
        column: &ValueColumn,
        data: &Buffer,
        nulls: Option<NullBuffer>,
    ) -> Result<ArrayRef, ArrowError> {
        let rows = column.offsets().len().saturating_sub(1);
        for (at, pair) in column.offsets().windows(2).enumerate() {
            let absent = nulls.as_ref().is_some_and(|nulls| nulls.is_null(at));
            if !absent && pair[1] - pair[0] != self.bytes as i64 {
                return Err(ArrowError::InvalidArgumentError(format!(
                    "a value, number {at} of this batch, has {} bytes, and those of the store's codec have {}",
                    pair[1] - pair[0],
                    self.bytes
                )));
            }
        }
        let Some(fields) = self.fields() else {
            let whole = &self.parts[0];
            let is_aligned = data.as_ptr().align_offset(align_of::<i128>()) == 0;
            let memory = if nulls.is_none() && is_aligned { data.clone() } else { gathered(column, whole)? };
            return whole.array(memory, rows, nulls.as_ref());
        };
        let parts: Result<_, _> =
            self.parts.iter().map(|part| part.array(gathered(column, part)?, rows, None)).collect();
        Ok(Arc::new(StructArray::try_new(fields, parts?, nulls)?))
    }
}

/// The bytes of one part of all rows, one after another, where Arrow wants numbers to lie; zeros for absent rows.
fn gathered(column: &ValueColumn, part: &Part) -> Result<Buffer, ArrowError> {
    let bytes = part.element_bytes * part.elements();
    let rows = column.offsets().len().saturating_sub(1);
    let units = (rows * bytes).div_ceil(size_of::<u128>());
    let mut memory = room::<u128>(units)?;
    memory.resize(units, 0);
    for (at, target) in memory.as_mut_bytes().chunks_exact_mut(bytes.max(1)).take(rows).enumerate() {
        if let Some(value) = column.get(at).and_then(|row| row.get(part.offset..part.offset + bytes)) {
            target.copy_from_slice(value);
        }
    }
    Ok(Buffer::from_vec(memory).slice_with_length(0, rows * bytes))
}
