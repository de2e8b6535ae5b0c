//! Columns of a store for any Arrow library, without a copy: the Arrow `PyCapsule` interface
//! (arrow.apache.org/docs/format/CDataInterface/PyCapsuleInterface.html).
//!
//! The structs of the interface are those of the crates arrow-array and arrow-schema. The buffers are the engine's own
//! memory, which every exported array keeps alive; giving an array back touches no Python object, so consumers may do
//! it on any thread. Why a crate: docs/dev/038-arrow-structs-come-from-arrow-rs.md.

use std::ffi::CStr;
use std::io;
use std::sync::Arc;

use alex_store::{Error, ItemColumns, KeyKind, Scan, ValueColumn};
use arrow_array::ffi::{FFI_ArrowArray, FFI_ArrowSchema};
use arrow_array::ffi_stream::FFI_ArrowArrayStream;
use arrow_array::{Array, ArrayRef, RecordBatch, RecordBatchReader, StructArray};
use arrow_buffer::{Buffer, NullBuffer};
use arrow_schema::{ArrowError, Field, Schema, SchemaRef};
use bytes::Bytes;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyCapsule, PyTuple};
use zerocopy::IntoBytes;

use crate::convert::key_type;
use crate::convert::value_type::ValueType;

const SCHEMA_NAME: &CStr = c"arrow_schema";
const ARRAY_NAME: &CStr = c"arrow_array";
const STREAM_NAME: &CStr = c"arrow_array_stream";

/// A key and a value column.
fn schema_of(kind: KeyKind, types: &ValueType) -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("key", key_type::data_type(kind), false),
        Field::new("value", types.data_type(), matches!(types, ValueType::Rows(_))),
    ]))
}

/// Memory that its owner keeps alive and never changes.
struct Lent<T, F> {
    owner: Arc<T>,
    memory: F,
}

impl<T, F: Fn(&T) -> &[u8]> AsRef<[u8]> for Lent<T, F> {
    fn as_ref(&self) -> &[u8] {
        (self.memory)(&self.owner)
    }
}

/// A part of what `owner` holds as an Arrow buffer. O(1).
fn lent<T, F>(owner: &Arc<T>, memory: F) -> Buffer
where
    T: Send + Sync + 'static,
    F: Fn(&T) -> &[u8] + Send + 'static,
{
    Buffer::from(Bytes::from_owner(Lent { owner: Arc::clone(owner), memory }))
}

/// The values of a column that `owner` holds. O(values): the offsets are checked once more.
fn values<T: Send + Sync + 'static>(
    types: &ValueType,
    owner: &Arc<T>,
    column: fn(&T) -> &ValueColumn,
    nulls: Option<NullBuffer>,
) -> Result<ArrayRef, ArrowError> {
    let offsets = lent(owner, move |owner| column(owner).offsets().as_bytes());
    let data = lent(owner, move |owner| column(owner).data());
    types.array(column(owner), offsets, data, nulls)
}

fn record_batch(items: &Arc<ItemColumns>, types: &ValueType) -> Result<RecordBatch, ArrowError> {
    let keys = key_type::array(items, |memory| lent(items, memory))?;
    let values = values(types, items, |items| &items.values, None)?;
    RecordBatch::try_new(schema_of(items.kind, types), vec![keys, values])
}

/// Columns of a store as an Arrow array: what `ValueBuffers.to_arrow` and `ScanBatch.to_arrow` return.
///
/// Implements the Arrow PyCapsule interface, so any Arrow library reads it without a copy: for instance
/// `pyarrow.array(x)` or `polars.Series(x)` for values, `pyarrow.record_batch(x)` for a batch. It shares the
/// memory of what it was made of and stays valid after the store is closed. O(1).
///
/// >>> s[1] = b"one"
/// >>> len(s.get_buffers([1, 2]).to_arrow())
/// 2
#[pyclass(frozen, module = "alexpy._alexpy")]
pub(crate) struct ArrowArray {
    array: ArrayRef,
    /// Whether an element can be missing.
    nullable: bool,
}

impl ArrowArray {
    /// Values of the Arrow type `types`; a value that was not found is null.
    pub(crate) fn of_values(types: &ValueType, column: &Arc<ValueColumn>, found: &[bool]) -> PyResult<Self> {
        let nulls = found.contains(&false).then(|| NullBuffer::from(found));
        let array = values(types, column, |column| column, nulls).map_err(|error| refused(&error))?;
        Ok(Self { array, nullable: true })
    }

    /// A struct of `key` (int64) and `value` (of the Arrow type `types`).
    pub(crate) fn of_items(types: &ValueType, items: &Arc<ItemColumns>) -> PyResult<Self> {
        let batch = record_batch(items, types).map_err(|error| refused(&error))?;
        Ok(Self { array: Arc::new(StructArray::from(batch)), nullable: false })
    }
}

/// The exception for columns that Arrow cannot describe. None that the engine makes is one.
#[cold]
fn refused(error: &ArrowError) -> PyErr {
    PyValueError::new_err(error.to_string())
}

#[pymethods]
impl ArrowArray {
    fn __len__(&self) -> usize {
        self.array.len()
    }

    /// The Arrow type alone.
    fn __arrow_c_schema__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyCapsule>> {
        let field = Field::new("", self.array.data_type().clone(), self.nullable);
        let schema = FFI_ArrowSchema::try_from(&field).map_err(|error| refused(&error))?;
        PyCapsule::new_with_value(py, schema, SCHEMA_NAME)
    }

    /// The array, as a pair of capsules. The requested schema is a wish that Arrow lets a producer ignore.
    #[pyo3(signature = (requested_schema=None))]
    fn __arrow_c_array__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyTuple>> {
        drop(requested_schema);
        let schema = self.__arrow_c_schema__(py)?;
        let array = FFI_ArrowArray::new(&self.array.to_data());
        (schema, PyCapsule::new_with_value(py, array, ARRAY_NAME)?).into_pyobject(py)
    }
}

/// The items of a scan, batch after batch. An error is the end.
struct Batches {
    scan: Scan,
    kind: KeyKind,
    types: ValueType,
    rows: usize,
    ended: bool,
}

impl Batches {
    fn pull(&mut self) -> Result<Option<RecordBatch>, ArrowError> {
        let items = self.scan.next_columns(self.rows).map_err(|error| arrow_error(&error))?;
        self.ended = items.keys.len() < self.rows;
        if items.keys.is_empty() { Ok(None) } else { record_batch(&Arc::new(items), &self.types).map(Some) }
    }
}

impl Iterator for Batches {
    type Item = Result<RecordBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        self.ended = true;
        self.pull().transpose()
    }
}

impl RecordBatchReader for Batches {
    fn schema(&self) -> SchemaRef {
        schema_of(self.kind, &self.types)
    }
}

/// An engine error as consumers of a stream get it: errno and text, of which the text must hold no NUL.
#[cold]
fn arrow_error(error: &Error) -> ArrowError {
    let text = error.to_string().replace('\0', "?");
    match error {
        Error::OutOfMemory { .. } => ArrowError::MemoryError(text),
        _ => ArrowError::IoError(text.clone(), io::Error::other(text)),
    }
}

/// A capsule with the items of a scan as a stream of struct arrays of at most `rows` rows.
pub(crate) fn stream(
    py: Python<'_>,
    scan: Scan,
    kind: KeyKind,
    types: ValueType,
    rows: usize,
) -> PyResult<Bound<'_, PyCapsule>> {
    let batches = Batches { scan, kind, types, rows, ended: false };
    PyCapsule::new_with_value(py, FFI_ArrowArrayStream::new(Box::new(batches)), STREAM_NAME)
}

/// A capsule with the type of those arrays.
pub(crate) fn stream_type<'py>(
    py: Python<'py>,
    kind: KeyKind,
    types: &ValueType,
) -> PyResult<Bound<'py, PyCapsule>> {
    let schema =
        FFI_ArrowSchema::try_from(schema_of(kind, types).as_ref()).map_err(|error| refused(&error))?;
    PyCapsule::new_with_value(py, schema, SCHEMA_NAME)
}
