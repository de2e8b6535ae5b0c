//! What values are to an Arrow library: binary without a codec; text, numbers, lists or records by the codec's word.
//!
//! The one place that chooses the Arrow type of values ([`ValueType::of`]) and makes such a column of their bytes
//! ([`ValueType::array`]). Holds no Python object, because consumers read streams on threads of their own. O(bytes).

use std::mem::align_of;
use std::sync::Arc;

use alex_store::ValueColumn;
use arrow_array::ffi::FFI_ArrowSchema;
use arrow_array::{
    Array, ArrayRef, BooleanArray, FixedSizeListArray, LargeBinaryArray, LargeStringArray, StructArray,
    make_array, new_empty_array,
};
use arrow_buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow_schema::{ArrowError, DataType, Field, FieldRef, Fields};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::convert::codec::Codec;

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

    pub(crate) fn data_type(&self) -> DataType {
        match self {
            Self::Binary => DataType::LargeBinary,
            Self::Text => DataType::LargeUtf8,
            Self::Rows(rows) => rows.data_type(),
        }
    }

    /// The values of a column as an Arrow array; `offsets` and `data` are its memory, `nulls` says which are absent.
    pub(crate) fn array(
        &self,
        column: &ValueColumn,
        offsets: Buffer,
        data: Buffer,
        nulls: Option<NullBuffer>,
    ) -> Result<ArrayRef, ArrowError> {
        let offsets = || OffsetBuffer::new(ScalarBuffer::from(offsets));
        Ok(match self {
            Self::Binary => Arc::new(LargeBinaryArray::try_new(offsets(), data, nulls)?),
            Self::Text => Arc::new(LargeStringArray::try_new(offsets(), data, nulls)?),
            Self::Rows(rows) => rows.array(column, &data, nulls)?,
        })
    }
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
            let memory =
                if nulls.is_none() && is_aligned { data.clone() } else { self.gathered(column, whole) };
            return whole.array(memory, rows, nulls.as_ref());
        };
        let parts: Result<_, _> =
            self.parts.iter().map(|part| part.array(self.gathered(column, part), rows, None)).collect();
        Ok(Arc::new(StructArray::try_new(fields, parts?, nulls)?))
    }

    /// The bytes of one part of all rows, one after another; zeros for absent rows.
    fn gathered(&self, column: &ValueColumn, part: &Part) -> Buffer {
        let bytes = part.element_bytes * part.elements();
        let rows = column.offsets().len().saturating_sub(1);
        let mut memory = vec![0; rows * bytes];
        for (at, target) in memory.chunks_exact_mut(bytes.max(1)).enumerate() {
            if let Some(value) = column.get(at).and_then(|row| row.get(part.offset..part.offset + bytes)) {
                target.copy_from_slice(value);
            }
        }
        aligned(&memory)
    }
}

/// A copy that lies where Arrow wants numbers to lie.
fn aligned(memory: &[u8]) -> Buffer {
    Buffer::from_slice_ref(memory)
}
