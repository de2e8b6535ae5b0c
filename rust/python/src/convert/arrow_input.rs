//! Arrow arrays of any library on their way in, through the Arrow `PyCapsule` interface and without pyarrow: columns that
//! `alexpy._convert` makes keys and values of.
//!
//! As everywhere in Arrow, the producer is trusted to describe memory that is there. What its numbers say about that
//! memory (offsets, views, positions in a dictionary) is checked before it is used. Numbers, and the values of one array
//! with offsets, are windows on the producer's memory, which Arrow never changes; other values are copied, without the
//! GIL. Knows nothing of keys and values. O(rows) or O(bytes).
#![allow(unsafe_code)]

use std::ffi::{CStr, c_void};
use std::ptr::NonNull;
use std::sync::Arc;

use alex_store::catching;
use arrow_array::cast::AsArray;
use arrow_array::ffi::{FFI_ArrowArray, FFI_ArrowSchema, from_ffi};
use arrow_array::ffi_stream::{ArrayStreamReader, FFI_ArrowArrayStream};
use arrow_array::{
    Array, ArrayReader, ArrayRef, BinaryArray, GenericBinaryArray, LargeBinaryArray, OffsetSizeTrait,
    make_array,
};
use arrow_schema::{ArrowError, DataType, TimeUnit};
use numpy::PyArray1;
use pyo3::exceptions::{PyIndexError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyCapsule;

use crate::convert::arrays::{array, window};
use crate::convert::arrow::{ARRAY_NAME, SCHEMA_NAME, STREAM_NAME};
use crate::memory;

/// A column, or a table, of another Arrow library, in one or more arrays of one type.
///
/// For `alexpy._convert` only.
#[pyclass(frozen, name = "_ArrowInput", module = "alexpy._alexpy")]
pub(crate) struct ArrowInput {
    data_type: DataType,
    arrays: Vec<ArrayRef>,
}

/// What numbers are to NumPy.
struct Numbers {
    dtype: String,
    /// How many of them are one row, if a row is an array.
    each: Option<usize>,
}

/// Values in one piece of memory: their bytes, and where each begins.
type Spans<'py> = (Bound<'py, PyArray1<u8>>, Bound<'py, PyArray1<i64>>);

/// Reads what `object` exports through the Arrow PyCapsule interface.
///
/// For `alexpy._convert` only. Raises TypeError if it exports nothing, and ValueError if its producer
/// fails or its type is none that arrow-rs knows. O(arrays), and what the producer does; the GIL is
/// released meanwhile.
#[pyfunction]
#[pyo3(name = "_arrow_input")]
pub(crate) fn arrow_input(object: &Bound<'_, PyAny>) -> PyResult<ArrowInput> {
    let py = object.py();
    if let Ok(export) = object.getattr("__arrow_c_stream__") {
        return streamed(py, &export.call0()?);
    }
    let pair = object.getattr("__arrow_c_array__")?.call0()?;
    let Ok((schema, array)) = pair.extract::<(Bound<'_, PyCapsule>, Bound<'_, PyCapsule>)>() else {
        return Err(PyTypeError::new_err(
            "the Arrow data cannot be read: __arrow_c_array__ returned no pair of capsules",
        ));
    };
    let schema = pointer(&schema, SCHEMA_NAME)?.cast::<FFI_ArrowSchema>();
    let array = pointer(&array, ARRAY_NAME)?.cast::<FFI_ArrowArray>();
    // SAFETY: by the protocol capsules of these names hold such structs, which `pair` keeps alive. The array is moved out,
    // as consumers do, so that the capsule does not release it a second time.
    let (schema, array) = unsafe { (schema.as_ref(), FFI_ArrowArray::from_raw(array.as_ptr())) };
    if schema.release().is_none() || array.is_released() {
        return Err(PyValueError::new_err("the Arrow array was released, or read before"));
    }
    let array = believed(|| {
        // SAFETY: the producer made both for each other, and vouches for the memory that they describe.
        unsafe { from_ffi(array, schema) }.map(make_array)
    })?;
    Ok(ArrowInput { data_type: array.data_type().clone(), arrays: vec![array] })
}

/// The pointer in a capsule of this name.
fn pointer(capsule: &Bound<'_, PyCapsule>, name: &CStr) -> PyResult<NonNull<c_void>> {
    capsule.pointer_checked(Some(name))
}

fn streamed(py: Python<'_>, capsule: &Bound<'_, PyAny>) -> PyResult<ArrowInput> {
    let Ok(capsule) = capsule.cast::<PyCapsule>() else {
        return Err(PyTypeError::new_err(
            "the Arrow data cannot be read: __arrow_c_stream__ returned no capsule",
        ));
    };
    let stream = pointer(capsule, STREAM_NAME)?.cast::<FFI_ArrowArrayStream>();
    // SAFETY: by the protocol a capsule of this name holds a stream. It is moved out, as consumers do.
    let stream = unsafe { FFI_ArrowArrayStream::from_raw(stream.as_ptr()) };
    // Without the GIL, which a producer may need, also on a thread of its own.
    py.detach(|| {
        let reader = believed(|| ArrayStreamReader::try_new(stream))?;
        let data_type = reader.field().data_type().clone();
        let arrays = believed(|| reader.collect::<Result<_, _>>())?;
        Ok(ArrowInput { data_type, arrays })
    })
}

/// Makes arrays of what a producer describes. Descriptions that contradict themselves, at which the crate panics, are
/// errors too.
fn believed<T>(make: impl FnOnce() -> Result<T, ArrowError>) -> PyResult<T> {
    match catching("an Arrow import", make) {
        Ok(outcome) => outcome.map_err(|error| unreadable(&error)),
        Err(_) => Err(contradiction()),
    }
}

#[cold]
fn contradiction() -> PyErr {
    PyValueError::new_err("the Arrow data cannot be read: its producer's numbers contradict each other")
}

/// The exception for a producer that fails, or for a type that the crate does not know: the text on one line.
#[cold]
fn unreadable(error: &ArrowError) -> PyErr {
    let text = error.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
    PyValueError::new_err(format!("the Arrow data cannot be read: {text}"))
}

/// The unit of a NumPy date or time span.
fn unit(unit: TimeUnit) -> &'static str {
    match unit {
        TimeUnit::Second => "s",
        TimeUnit::Millisecond => "ms",
        TimeUnit::Microsecond => "us",
        TimeUnit::Nanosecond => "ns",
    }
}

/// What values of this type are to NumPy, if their memory is flat.
fn numbers(data_type: &DataType) -> Option<Numbers> {
    let dtype = match data_type {
        DataType::Int8 => "i1",
        DataType::Int16 => "i2",
        DataType::Int32 => "i4",
        DataType::Int64 => "i8",
        DataType::UInt8 => "u1",
        DataType::UInt16 => "u2",
        DataType::UInt32 => "u4",
        DataType::UInt64 => "u8",
        DataType::Float16 => "f2",
        DataType::Float32 => "f4",
        DataType::Float64 => "f8",
        DataType::Date64 => "M8[ms]",
        DataType::Timestamp(each, _) => {
            return Some(Numbers { dtype: format!("M8[{}]", unit(*each)), each: None });
        }
        DataType::Duration(each) => {
            return Some(Numbers { dtype: format!("m8[{}]", unit(*each)), each: None });
        }
        DataType::FixedSizeBinary(width) if *width > 0 => {
            return Some(Numbers { dtype: format!("V{width}"), each: None });
        }
        DataType::FixedSizeList(item, each) if *each > 0 => {
            let Numbers { dtype, each: None } = numbers(item.data_type())? else { return None };
            return Some(Numbers { dtype, each: usize::try_from(*each).ok() });
        }
        _ => return None,
    };
    Some(Numbers { dtype: dtype.to_owned(), each: None })
}

/// The name of a type as pyarrow and others write it.
fn type_name(data_type: &DataType) -> String {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "string".to_owned(),
        DataType::Boolean => "bool".to_owned(),
        DataType::Float64 => "double".to_owned(),
        DataType::Dictionary(_, values) => format!("dictionary of {}", type_name(values)),
        DataType::FixedSizeList(item, each) => format!("lists of {each} {}", type_name(item.data_type())),
        DataType::List(_) | DataType::LargeList(_) => "lists".to_owned(),
        other => other.to_string().to_lowercase(),
    }
}

/// Whether values of this type are bytes of any length.
fn holds_bytes(data_type: &DataType) -> bool {
    match data_type {
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(0) => {
            true
        }
        DataType::Dictionary(_, values) => holds_bytes(values),
        _ => false,
    }
}

/// The type of bytes that has the layout of this type of text; `None` if it is none.
fn bytes_of_text(data_type: &DataType) -> Option<DataType> {
    match data_type {
        DataType::Utf8 => Some(DataType::Binary),
        DataType::LargeUtf8 => Some(DataType::LargeBinary),
        DataType::Utf8View => Some(DataType::BinaryView),
        DataType::Dictionary(keys, values) => {
            Some(DataType::Dictionary(keys.clone(), Box::new(bytes_of_text(values)?)))
        }
        _ => None,
    }
}

/// An array of text as one of its bytes, without a copy.
fn encoded(text: &ArrayRef) -> ArrayRef {
    match text.data_type() {
        DataType::Utf8 => Arc::new(BinaryArray::from(text.as_string::<i32>().clone())),
        DataType::LargeUtf8 => Arc::new(LargeBinaryArray::from(text.as_string::<i64>().clone())),
        DataType::Utf8View => Arc::new(text.as_string_view().clone().to_binary_view()),
        DataType::Dictionary(..) => {
            let dictionary = text.as_any_dictionary();
            dictionary.with_values(encoded(dictionary.values()))
        }
        _ => Arc::clone(text),
    }
}

/// The first row that is null.
fn first_null_of(array: &ArrayRef) -> PyResult<Option<usize>> {
    if matches!(array.data_type(), DataType::Dictionary(..)) {
        checked(array)?;
    }
    let nulls = array.logical_nulls().filter(|nulls| nulls.null_count() > 0);
    let own = nulls.and_then(|nulls| (0..nulls.len()).find(|&row| nulls.is_null(row)));
    let Some(lists) = array.as_fixed_size_list_opt() else { return Ok(own) };
    // A row with a null in it counts too.
    let inner = first_null_of(lists.values())?.map(|item| item / lists.value_length().max(1) as usize);
    Ok(own.into_iter().chain(inner).min())
}

/// Checks whatever refers to memory.
fn checked(array: &ArrayRef) -> PyResult<()> {
    array.to_data().validate_full().map_err(|error| unreadable(&error))
}

/// The memory of numbers as a NumPy array of this type, a read-only window that keeps `owner` alive.
fn flat<'py>(owner: &Bound<'py, ArrowInput>, array: &ArrayRef, dtype: &str) -> PyResult<Bound<'py, PyAny>> {
    let data = array.to_data();
    let width = match data.data_type() {
        DataType::FixedSizeBinary(width) => *width as usize,
        other => other.primitive_width().unwrap_or_default(),
    };
    let (start, length) = (data.offset() * width, data.len() * width);
    let memory = data.buffers().first().and_then(|buffer| buffer.as_slice().get(start..start + length));
    // SAFETY: `numbers`, the only caller, passes arrays of `owner`. The class is frozen, so that these live while it
    // does; they share the buffer, which never changes.
    let memory = unsafe { window(owner.clone().into_any(), memory.ok_or_else(contradiction)?) };
    memory.call_method1("view", (dtype,))
}

/// Booleans as NumPy has them: one byte each.
fn bools<'py>(py: Python<'py>, flags: &ArrayRef) -> PyResult<Bound<'py, PyAny>> {
    let mut bools = Vec::new();
    memory::room(&mut bools, flags.len())?;
    bools.extend(flags.as_boolean().values().iter());
    Ok(array(py, bools).into_any())
}

/// Byte values, copied one after another.
struct Gathered {
    data: Vec<u8>,
    offsets: Vec<i64>,
}

impl Gathered {
    fn of(arrays: &[ArrayRef]) -> PyResult<Self> {
        let mut all = Self { data: Vec::new(), offsets: Vec::new() };
        memory::room(&mut all.offsets, arrays.iter().map(Array::len).sum::<usize>() + 1)?;
        all.offsets.push(0);
        arrays.iter().try_for_each(|array| all.append(array))?;
        Ok(all)
    }

    fn append(&mut self, array: &ArrayRef) -> PyResult<()> {
        match array.data_type() {
            DataType::Binary => self.append_spans(array.as_binary::<i32>()),
            DataType::LargeBinary => self.append_spans(array.as_binary::<i64>()),
            DataType::BinaryView => {
                checked(array)?;
                let views = array.as_binary_view();
                memory::room(&mut self.data, views.lengths().map(|length| length as usize).sum())?;
                (0..views.len()).try_for_each(|row| self.push(views.value(row)))
            }
            DataType::Dictionary(..) => {
                checked(array)?;
                let dictionary = array.as_any_dictionary();
                let words = Self::of(&[Arc::clone(dictionary.values())])?;
                if array.is_empty() {
                    return Ok(());
                }
                dictionary.normalized_keys().into_iter().try_for_each(|word| self.push(words.get(word)))
            }
            _ => (0..array.len()).try_for_each(|_| self.push(&[])),
        }
    }

    fn append_spans<O: OffsetSizeTrait>(&mut self, array: &GenericBinaryArray<O>) -> PyResult<()> {
        let (from, ends) = (array.values().as_slice(), array.value_offsets());
        let value = |pair: &[O]| from.get(pair[0].as_usize()..pair[1].as_usize());
        let bytes = ends.windows(2).map(|pair| value(pair).map(<[u8]>::len)).sum::<Option<usize>>();
        memory::room(&mut self.data, bytes.ok_or_else(contradiction)?)?;
        ends.windows(2).try_for_each(|pair| self.push(value(pair).unwrap_or_default()))
    }

    /// Appends a value, for whose offset there is room.
    fn push(&mut self, value: &[u8]) -> PyResult<()> {
        memory::room(&mut self.data, value.len())?;
        self.data.extend_from_slice(value);
        self.offsets.push(self.data.len() as i64);
        Ok(())
    }

    fn get(&self, i: usize) -> &[u8] {
        &self.data[self.offsets[i] as usize..self.offsets[i + 1] as usize]
    }
}

#[pymethods]
impl ArrowInput {
    fn __len__(&self) -> usize {
        self.arrays.iter().map(Array::len).sum()
    }

    /// The name of the type, for messages.
    #[getter]
    fn r#type(&self) -> String {
        type_name(&self.data_type)
    }

    /// The names of the columns of a table; None of a column.
    #[getter]
    fn names(&self) -> Option<Vec<String>> {
        let DataType::Struct(fields) = &self.data_type else { return None };
        Some(fields.iter().map(|field| field.name().clone()).collect())
    }

    /// One column of a table.
    ///
    /// Raises TypeError if a whole row is null: the column has a value there, which is no data.
    fn column(&self, at: usize) -> PyResult<Self> {
        let fields = match &self.data_type {
            DataType::Struct(fields) if at < fields.len() => fields,
            _ => return Err(PyIndexError::new_err(format!("there is no column {at}"))),
        };
        if let Some(row) = self.first_null()? {
            return Err(PyTypeError::new_err(format!("row {row} is null; drop or fill nulls first")));
        }
        let arrays = self.arrays.iter().map(|array| array.as_struct().column(at).clone());
        Ok(Self { data_type: fields[at].data_type().clone(), arrays: arrays.collect() })
    }

    /// A column of text as one of bytes in UTF-8, without a copy; None if it is no text.
    ///
    /// Raises ValueError if it is no UTF-8.
    fn encoded(&self, py: Python<'_>) -> PyResult<Option<Self>> {
        let Some(data_type) = bytes_of_text(&self.data_type) else { return Ok(None) };
        py.detach(|| self.arrays.iter().try_for_each(checked))?;
        Ok(Some(Self { data_type, arrays: self.arrays.iter().map(encoded).collect() }))
    }

    /// The first row that is null; None if none is.
    fn first_null(&self) -> PyResult<Option<usize>> {
        let mut before = 0;
        for array in &self.arrays {
            if let Some(row) = first_null_of(array)? {
                return Ok(Some(before + row));
            }
            before += array.len();
        }
        Ok(None)
    }

    /// Numbers, dates and rows of a fixed size as NumPy arrays, one for each Arrow array; else None.
    ///
    /// The arrays are read-only windows on the memory of the producer, which they keep alive.
    fn numbers<'py>(slf: &Bound<'py, Self>) -> PyResult<Option<Vec<Bound<'py, PyAny>>>> {
        let this = slf.get();
        let made = |array: &ArrayRef| match &this.data_type {
            DataType::Boolean => bools(slf.py(), array).map(Some),
            DataType::Date32 => flat(slf, array, "i4")?.call_method1("astype", ("M8[D]",)).map(Some),
            data_type => match (numbers(data_type), array.as_fixed_size_list_opt()) {
                (Some(Numbers { dtype, each: Some(each) }), Some(lists)) => {
                    flat(slf, lists.values(), &dtype)?.call_method1("reshape", (lists.len(), each)).map(Some)
                }
                (Some(Numbers { dtype, each: None }), _) => flat(slf, array, &dtype).map(Some),
                _ => Ok(None),
            },
        };
        this.arrays.iter().map(made).collect()
    }

    /// An empty NumPy array of the type of the numbers; None if they are none.
    fn no_numbers<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let dtype = match &self.data_type {
            DataType::Boolean => "?".to_owned(),
            DataType::Date32 => "M8[D]".to_owned(),
            data_type => match numbers(data_type) {
                Some(Numbers { dtype, .. }) => dtype,
                None => return Ok(None),
            },
        };
        py.import("numpy")?.call_method1("empty", (0, dtype)).map(Some)
    }

    /// Byte values as (memory, int64 offsets); None if they are no bytes.
    fn spans<'py>(slf: &Bound<'py, Self>) -> PyResult<Option<Spans<'py>>> {
        let this = slf.get();
        if !holds_bytes(&this.data_type) {
            return Ok(None);
        }
        if let ([array], DataType::LargeBinary) = (&*this.arrays, &this.data_type) {
            let array = array.as_binary::<i64>();
            // SAFETY: the class is frozen, so its arrays live, unchanged, while it does.
            let spans = unsafe {
                (
                    window(slf.clone().into_any(), array.values().as_slice()),
                    window(slf.clone().into_any(), array.value_offsets()),
                )
            };
            return Ok(Some(spans));
        }
        if let ([array], DataType::Binary) = (&*this.arrays, &this.data_type) {
            let array = array.as_binary::<i32>();
            let mut offsets = Vec::new();
            memory::room(&mut offsets, array.len() + 1)?;
            offsets.extend(array.value_offsets().iter().map(|&offset| i64::from(offset)));
            // SAFETY: the class is frozen, so its array lives, unchanged, while it does.
            let data = unsafe { window(slf.clone().into_any(), array.values().as_slice()) };
            return Ok(Some((data, self::array(slf.py(), offsets))));
        }
        let Gathered { data, offsets } = slf.py().detach(|| Gathered::of(&this.arrays))?;
        Ok(Some((array(slf.py(), data), array(slf.py(), offsets))))
    }
}
