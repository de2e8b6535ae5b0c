//! Columns of a store for any Arrow library, without a copy: the Arrow `PyCapsule` interface
//! (arrow.apache.org/docs/format/CDataInterface/PyCapsuleInterface.html).
//!
//! The structs of the interface are those of the crates arrow-array and arrow-schema. The buffers are the engine's own
//! memory, which every exported array keeps alive; giving an array back touches no Python object, so consumers may do
//! it on any thread. So may they pull arrays from a stream: that neither needs the GIL nor ever waits for it, and holds
//! no lock of the engine when it returns. Why a crate: docs/dev/038-arrow-structs-come-from-arrow-rs.md.
#![allow(unsafe_code)]

use std::ffi::CStr;
use std::io;
use std::sync::Arc;

use alex_store::{Error, ItemColumns, KeyKind, Scan, ValueColumn, catching, fork_generation};
use arrow_array::ffi::{FFI_ArrowArray, FFI_ArrowSchema};
use arrow_array::ffi_stream::FFI_ArrowArrayStream;
use arrow_array::{Array, ArrayRef, RecordBatch, RecordBatchReader, StructArray};
use arrow_buffer::{Buffer, NullBuffer};
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef};
use bytes::Bytes;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyCapsule, PyTuple};
use zerocopy::IntoBytes;

use crate::convert::key_type;
use crate::convert::value_type::{Layout, ValueType};

pub(crate) const SCHEMA_NAME: &CStr = c"arrow_schema";
pub(crate) const ARRAY_NAME: &CStr = c"arrow_array";
pub(crate) const STREAM_NAME: &CStr = c"arrow_array_stream";

/// The most rows of an array of a stream: enough for several threads to read them, and for huge pages to pay.
const STREAM_ROWS: usize = 1 << 17;
/// About the most bytes of records in an array of a stream: consumers may keep one at a time.
const STREAM_BYTES: u64 = 1 << 26;

/// A key and a value column.
fn schema_of(kind: KeyKind, types: &ValueType, layout: Layout) -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("key", key_type::data_type(kind), false),
        Field::new("value", types.data_type(layout), types.has_nulls()),
    ]))
}

/// The layout for a consumer that requested the schema in this capsule, of a column of values.
fn layout_of_values(types: &ValueType, requested: Option<&Bound<'_, PyAny>>) -> PyResult<Layout> {
    Ok(requested_type(requested)?.map_or(Layout::Large, |wanted| types.layout_for(&wanted)))
}

/// The same of a column of keys and one of values. ValueError if other columns are requested: as the protocol says, a
/// request is about representations.
pub(crate) fn layout_of_items(types: &ValueType, requested: Option<&Bound<'_, PyAny>>) -> PyResult<Layout> {
    match requested_type(requested)? {
        None => Ok(Layout::Large),
        Some(DataType::Struct(fields)) if fields.len() == 2 => Ok(types.layout_for(fields[1].data_type())),
        Some(DataType::Struct(fields)) => Err(PyValueError::new_err(format!(
            "there are two columns, key and value, and the requested schema has {}; select columns of the result",
            fields.len()
        ))),
        Some(other) => Err(PyValueError::new_err(format!(
            "there are two columns, key and value, and the requested schema is a single {other}; select columns of \
             the result"
        ))),
    }
}

/// The type that a capsule of a requested schema asks for; `None` if there is no request, or one of a type that the crate
/// does not know.
fn requested_type(requested: Option<&Bound<'_, PyAny>>) -> PyResult<Option<DataType>> {
    let Some(requested) = requested.filter(|requested| !requested.is_none()) else { return Ok(None) };
    let pointer = requested.cast::<PyCapsule>()?.pointer_checked(Some(SCHEMA_NAME))?;
    // SAFETY: by the protocol a capsule of this name holds a schema, which lives as long as the capsule; `requested`
    // keeps that alive, and nothing of it outlives this function.
    let schema = unsafe { pointer.cast::<FFI_ArrowSchema>().as_ref() };
    if schema.release().is_none() {
        return Err(PyValueError::new_err("the requested schema was released"));
    }
    // The crate panics at a schema that is none.
    Ok(catching("an Arrow request", || DataType::try_from(schema)).ok().and_then(Result::ok))
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

/// The values of a column that `owner` holds. O(values): the offsets are checked once more, or made anew.
fn values<T: Send + Sync + 'static>(
    types: &ValueType,
    owner: &Arc<T>,
    column: fn(&T) -> &ValueColumn,
    nulls: Option<NullBuffer>,
    layout: Layout,
) -> Result<ArrayRef, ArrowError> {
    let offsets = lent(owner, move |owner| column(owner).offsets().as_bytes());
    let data = lent(owner, move |owner| column(owner).data());
    types.array(layout, column(owner), offsets, data, nulls)
}

fn record_batch(
    items: &Arc<ItemColumns>,
    types: &ValueType,
    layout: Layout,
    schema: &SchemaRef,
) -> Result<RecordBatch, ArrowError> {
    let keys = key_type::array(items, |memory| lent(items, memory))?;
    let values = values(types, items, |items| &items.values, None, layout)?;
    RecordBatch::try_new(Arc::clone(schema), vec![keys, values])
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
    source: Columns,
}

/// What an Arrow array is made of.
pub(crate) enum Columns {
    /// Values, and for each whether it was found.
    Values(ValueType, Arc<ValueColumn>, Option<NullBuffer>),
    Items(ValueType, Arc<ItemColumns>),
}

impl Columns {
    /// Values; a value that was not found is null.
    pub(crate) fn of_values(types: &ValueType, column: &Arc<ValueColumn>, found: &[bool]) -> Self {
        let nulls = found.contains(&false).then(|| NullBuffer::from(found));
        Self::Values(types.clone(), Arc::clone(column), nulls)
    }

    /// Keys and values.
    pub(crate) fn of_items(types: &ValueType, items: &Arc<ItemColumns>) -> Self {
        Self::Items(types.clone(), Arc::clone(items))
    }

    fn layout(&self, requested: Option<&Bound<'_, PyAny>>) -> PyResult<Layout> {
        match self {
            Self::Values(types, ..) => layout_of_values(types, requested),
            Self::Items(types, _) => layout_of_items(types, requested),
        }
    }

    /// A capsule with the type: values that can be null, or a struct of `key` and `value`.
    pub(crate) fn schema<'py>(&self, py: Python<'py>, layout: Layout) -> PyResult<Bound<'py, PyCapsule>> {
        let field = match self {
            Self::Values(types, ..) => Field::new("", types.data_type(layout), true),
            Self::Items(types, items) => {
                Field::new_struct("", schema_of(items.kind, types, layout).fields().clone(), false)
            }
        };
        let schema = FFI_ArrowSchema::try_from(&field).map_err(|error| refused(&error))?;
        PyCapsule::new_with_value(py, schema, SCHEMA_NAME)
    }

    /// The capsules of `__arrow_c_array__`.
    pub(crate) fn export<'py>(
        &self,
        py: Python<'py>,
        requested: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyTuple>> {
        let layout = self.layout(requested)?;
        let array = match self {
            Self::Values(types, column, found) => {
                values(types, column, |column| column, found.clone(), layout)
            }
            Self::Items(types, items) => {
                record_batch(items, types, layout, &schema_of(items.kind, types, layout))
                    .map(|batch| -> ArrayRef { Arc::new(StructArray::from(batch)) })
            }
        };
        let array = array.map_err(|error| refused(&error))?;
        let array = PyCapsule::new_with_value(py, FFI_ArrowArray::new(&array.to_data()), ARRAY_NAME)?;
        (self.schema(py, layout)?, array).into_pyobject(py)
    }

    fn len(&self) -> usize {
        match self {
            Self::Values(_, column, _) => column.len(),
            Self::Items(_, items) => items.keys.len(),
        }
    }
}

impl From<Columns> for ArrowArray {
    fn from(source: Columns) -> Self {
        Self { source }
    }
}

/// The exception for columns that Arrow cannot describe. None that the engine makes is one, unless a consumer requested a
/// layout that is too small.
#[cold]
fn refused(error: &ArrowError) -> PyErr {
    PyValueError::new_err(error.to_string())
}

#[pymethods]
impl ArrowArray {
    fn __len__(&self) -> usize {
        self.source.len()
    }

    /// The Arrow type alone.
    fn __arrow_c_schema__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyCapsule>> {
        self.source.schema(py, Layout::Large)
    }

    /// The array, as a pair of capsules. A requested layout of binary values or of text is granted.
    #[pyo3(signature = (requested_schema=None))]
    fn __arrow_c_array__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyTuple>> {
        self.source.export(py, requested_schema)
    }
}

/// The items of a scan, batch after batch. An error is the end.
struct Batches {
    /// Gone at the end, with whatever was kept for it.
    scan: Option<Scan>,
    types: ValueType,
    layout: Layout,
    schema: SchemaRef,
    /// The process that may read it.
    generation: u64,
    /// Keeps the store open until the stream is given back. Where that happens on a thread that Python does not know, the
    /// reference is dropped later.
    _store: Py<PyAny>,
}

impl Batches {
    fn pull(&mut self) -> Result<Option<RecordBatch>, ArrowError> {
        // Taken out, so that an error ends the stream.
        let Some(mut scan) = self.scan.take() else { return Ok(None) };
        if self.generation != fork_generation() {
            let text = "this stream was made before fork(); make a new one in the child".to_owned();
            return Err(ArrowError::IoError(text.clone(), io::Error::other(text)));
        }
        let items =
            scan.next_columns_within(STREAM_ROWS, STREAM_BYTES).map_err(|error| arrow_error(&error))?;
        if items.keys.is_empty() {
            return Ok(None);
        }
        let batch = record_batch(&Arc::new(items), &self.types, self.layout, &self.schema)?;
        self.scan = Some(scan);
        Ok(Some(batch))
    }
}

impl Iterator for Batches {
    type Item = Result<RecordBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.pull().transpose()
    }
}

impl RecordBatchReader for Batches {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
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

/// A capsule with the items of a scan as a stream of struct arrays. `store` is kept until the stream is given back.
pub(crate) fn stream<'py>(
    store: &Bound<'py, PyAny>,
    scan: Scan,
    kind: KeyKind,
    types: ValueType,
    layout: Layout,
) -> PyResult<Bound<'py, PyCapsule>> {
    let batches = Batches {
        scan: Some(scan),
        schema: schema_of(kind, &types, layout),
        types,
        layout,
        generation: fork_generation(),
        _store: store.clone().unbind(),
    };
    PyCapsule::new_with_value(store.py(), FFI_ArrowArrayStream::new(Box::new(batches)), STREAM_NAME)
}

/// A capsule with the type of those arrays.
pub(crate) fn stream_type<'py>(
    py: Python<'py>,
    kind: KeyKind,
    types: &ValueType,
) -> PyResult<Bound<'py, PyCapsule>> {
    let schema = FFI_ArrowSchema::try_from(schema_of(kind, types, Layout::Large).as_ref());
    PyCapsule::new_with_value(py, schema.map_err(|error| refused(&error))?, SCHEMA_NAME)
}
