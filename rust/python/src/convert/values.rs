//! Values on their way in, one as a slice, many as the engine's `ValueSource`; and one on its way out.
//!
//! In a store with a codec, its code has run by the time that this module returns; elsewhere a value is its memory.
//! `bytes` objects are borrowed: they cannot change, so the engine may read them without the GIL. Single values of any
//! other type are copied first. `alexpy._convert` brings arrays of rows and Arrow binary arrays to flat memory, which
//! is read in place. Offsets are copied and checked before use: no other thread can then change how long a value is.
//!
//! While memory is read in place, from `Many::source` until the engine is done, the call must run no Python code,
//! because NumPy lets any code free the memory of an array. A call with a callback takes a copy (`Many::owned`).

use std::ops::Deref;

use alex_store::{Key, Keys, ValueSource};
use numpy::{PyArray1, PyReadonlyArray1};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyList, PyMapping, PyString, PyTuple};

use crate::convert::buffers::{self, MAX_VALUE_BYTES, check_length};
use crate::convert::codec::Codec;
use crate::convert::keys::{SIGNAL_CHECK_ITEMS, readonly};
use crate::memory;

/// One value, borrowed from `bytes` or copied from any other buffer.
pub(crate) enum One<'a, 'py> {
    Borrowed(&'a [u8]),
    Copied(Bound<'py, PyBytes>),
}

impl Deref for One<'_, '_> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match self {
            Self::Borrowed(bytes) => bytes,
            Self::Copied(bytes) => bytes.as_bytes(),
        }
    }
}

/// One value on its way out: an object that means what is stored under `key`. A lent value is let go before code of the
/// codec runs.
#[inline(always)]
#[allow(clippy::inline_always, reason = "called for each get, where it is one test and one call")]
pub(crate) fn object<'py>(
    py: Python<'py>,
    codec: Option<&Codec>,
    key: Key,
    value: impl Deref<Target = [u8]>,
) -> PyResult<Bound<'py, PyAny>> {
    let bytes = memory::bytes(py, &value)?;
    match codec {
        None => Ok(bytes.into_any()),
        Some(codec) => {
            drop(value);
            codec.decode(key, bytes)
        }
    }
}

/// One value that is to be stored under `key`; `place` names it in messages.
#[inline]
pub(crate) fn one<'a, 'py>(
    codec: Option<&Codec>,
    key: Key,
    value: &'a Bound<'py, PyAny>,
    place: &str,
) -> PyResult<One<'a, 'py>> {
    if let Some(codec) = codec {
        return codec.encode(Some(key), value).map(One::Copied);
    }
    if let Ok(bytes) = value.cast::<PyBytes>() {
        let bytes = bytes.as_bytes();
        check_length(bytes.len(), place)?;
        return Ok(One::Borrowed(bytes));
    }
    copied(value, place).map(One::Copied)
}

#[cold]
fn copied<'py>(value: &Bound<'py, PyAny>, place: &str) -> PyResult<Bound<'py, PyBytes>> {
    static RAW: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    // numpy.str_ exports a buffer although it is a str.
    if value.is_instance_of::<PyString>() {
        return Err(not_bytes(value, place));
    }
    let error = match buffers::copied(value, place)? {
        Ok(bytes) => return Ok(bytes),
        Err(error) if error.is_instance_of::<PyTypeError>(value.py()) => return Err(not_bytes(value, place)),
        Err(error) => error,
    };
    // NumPy refuses to export dates as a buffer; their memory is a value like any other.
    let raw = RAW.import(value.py(), "alexpy._convert", "raw")?.call1((value,))?;
    let bytes = raw.cast_into::<PyBytes>().map_err(|_| error)?;
    check_length(bytes.as_bytes().len(), place)?;
    Ok(bytes)
}

#[cold]
fn not_bytes(value: &Bound<'_, PyAny>, place: &str) -> PyErr {
    static REFUSED: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let told = REFUSED
        .import(value.py(), "alexpy._convert", "refused_value")
        .and_then(|refused| refused.call1((value, place)))
        .and_then(|told| told.extract::<String>());
    told.map_or_else(|failed| failed, PyTypeError::new_err)
}

/// The values of a batch.
pub(crate) enum Many<'py> {
    Items(Vec<PyBackedBytes>),
    /// `count` rows of `width` bytes.
    Rows {
        data: Data<'py>,
        width: usize,
        count: usize,
    },
    /// Value `i` is `data[offsets[i]..offsets[i + 1]]`.
    Spans {
        data: Data<'py>,
        offsets: Vec<i64>,
    },
}

/// Flat memory.
pub(crate) enum Data<'py> {
    Array(PyReadonlyArray1<'py, u8>),
    Own(Vec<u8>),
}

impl Data<'_> {
    fn as_slice(&self) -> &[u8] {
        match self {
            // Cannot fail: contiguity was checked when this was made.
            Self::Array(array) => array.as_slice().unwrap_or_default(),
            Self::Own(bytes) => bytes,
        }
    }

    fn owned(self) -> PyResult<Self> {
        match self {
            Self::Array(_) => Ok(Self::Own(memory::copy_of(self.as_slice())?)),
            own @ Self::Own(_) => Ok(own),
        }
    }
}

/// The values of a batch, which are to be stored under `keys`, in whatever form they come. Of an iterator, at most one
/// item more than there are keys is read.
pub(crate) fn many<'py>(
    codec: Option<&Codec>,
    keys: Keys<'_>,
    values: &Bound<'py, PyAny>,
) -> PyResult<Many<'py>> {
    let Some(codec) = codec else { return plain(values, keys.len()) };
    if let Some(encoded) = codec.encode_many(keys, values)? {
        return plain(&encoded, keys.len());
    }
    let mut encoded = Vec::new();
    for (position, value) in values.try_iter()?.take(keys.len().saturating_add(1)).enumerate() {
        let value = value?;
        if position % SIGNAL_CHECK_ITEMS == SIGNAL_CHECK_ITEMS - 1 {
            value.py().check_signals()?;
        }
        memory::room(&mut encoded, 1)?;
        // One value too many is not encoded: the lengths differ, and nothing will be written.
        encoded.push(PyBackedBytes::from(if position < keys.len() {
            codec.encode(Some(keys.get(position)), &value)?
        } else {
            memory::bytes(value.py(), &[])?
        }));
    }
    Ok(Many::Items(encoded))
}

/// The values of a batch in a store without a codec.
fn plain<'py>(values: &Bound<'py, PyAny>, count: usize) -> PyResult<Many<'py>> {
    static CONVERT: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    if let Ok(list) = values.cast::<PyList>() {
        return collect(list.iter().map(Ok), list.len());
    }
    if let Ok(tuple) = values.cast::<PyTuple>() {
        return collect(tuple.iter().map(Ok), tuple.len());
    }
    let flat = CONVERT.import(values.py(), "alexpy._convert", "values")?.call1((values,))?;
    if flat.is_none() {
        return collect(values.try_iter()?.take(count.saturating_add(1)), count);
    }
    if let Ok(list) = flat.cast::<PyList>() {
        return collect(list.iter().map(Ok), list.len());
    }
    if let Ok((data, width, count)) = flat.extract::<(Bound<'py, PyArray1<u8>>, usize, usize)>() {
        let data = readonly(&data, "values")?;
        check_length(width, "each row of values")?;
        if data.as_slice().is_ok_and(|data| Some(data.len()) == width.checked_mul(count)) {
            return Ok(Many::Rows { data: Data::Array(data), width, count });
        }
    } else if let Ok((data, offsets)) =
        flat.extract::<(Bound<'py, PyArray1<u8>>, Bound<'py, PyArray1<i64>>)>()
    {
        let data = readonly(&data, "values")?;
        let offsets = match readonly(&offsets, "values")?.as_slice() {
            Ok(offsets) => memory::copy_of(offsets)?,
            Err(_) => Vec::new(),
        };
        check_spans(&data, &offsets)?;
        return Ok(Many::Spans { data: Data::Array(data), offsets });
    }
    Err(PyTypeError::new_err("alexpy._convert returned values in a form that this module does not read"))
}

fn collect<'py>(
    items: impl Iterator<Item = PyResult<Bound<'py, PyAny>>>,
    expected: usize,
) -> PyResult<Many<'py>> {
    let mut values = Vec::new();
    memory::room(&mut values, expected.min(1 << 24))?;
    for (position, item) in items.enumerate() {
        let item = item?;
        if position % SIGNAL_CHECK_ITEMS == SIGNAL_CHECK_ITEMS - 1 {
            item.py().check_signals()?;
        }
        let bytes = match item.cast_into::<PyBytes>() {
            Ok(bytes) => bytes,
            Err(other) => copied(&other.into_inner(), &format!("values[{position}]"))?,
        };
        if bytes.as_bytes().len() > MAX_VALUE_BYTES {
            check_length(bytes.as_bytes().len(), &format!("values[{position}]"))?;
        }
        memory::room(&mut values, 1)?;
        values.push(PyBackedBytes::from(bytes));
    }
    Ok(Many::Items(values))
}

/// Checks foreign offsets before they are used: they must ascend and lie inside the data.
fn check_spans(data: &PyReadonlyArray1<'_, u8>, offsets: &[i64]) -> PyResult<()> {
    let bad = |what: String| Err(PyValueError::new_err(format!("values: {what}")));
    let Ok(data) = data.as_slice() else {
        return bad("the data must be contiguous".to_owned());
    };
    let (Some(&first), Some(&last)) = (offsets.first(), offsets.last()) else {
        return bad("there must be one offset more than there are values".to_owned());
    };
    if first < 0 || usize::try_from(last).map_or(true, |last| last > data.len()) {
        return bad(format!("offsets run from {first} to {last}, and there are {} bytes", data.len()));
    }
    for (position, pair) in offsets.windows(2).enumerate() {
        if pair[0] > pair[1] {
            return bad(format!("the offset {} at position {position} is above the next", pair[0]));
        }
        if pair[1] - pair[0] > MAX_VALUE_BYTES as i64 {
            check_length((pair[1] - pair[0]) as usize, &format!("values[{position}]"))?;
        }
    }
    Ok(())
}

impl Many<'_> {
    /// The values as the engine reads them: without the GIL, and before any Python code of the call runs.
    pub(crate) fn source(&self) -> Source<'_> {
        match self {
            Self::Items(items) => Source::Items(items),
            Self::Rows { data, width, count } => {
                Source::Rows { data: data.as_slice(), width: *width, count: *count }
            }
            Self::Spans { data, offsets } => Source::Spans { data: data.as_slice(), offsets },
        }
    }

    /// The same values, in memory that no Python code can reach.
    pub(crate) fn owned(self) -> PyResult<Self> {
        Ok(match self {
            Self::Items(items) => Self::Items(items),
            Self::Rows { data, width, count } => Self::Rows { data: data.owned()?, width, count },
            Self::Spans { data, offsets } => Self::Spans { data: data.owned()?, offsets },
        })
    }
}

/// The values of a call that takes keys and values; `for_mappings` is the one that takes a mapping.
pub(crate) fn given<'a, 'py>(
    keys: &Bound<'py, PyAny>,
    values: Option<&'a Bound<'py, PyAny>>,
    for_mappings: Option<&str>,
) -> PyResult<&'a Bound<'py, PyAny>> {
    if let Some(values) = values {
        return Ok(values);
    }
    if keys.cast::<PyMapping>().is_err() {
        return Err(PyTypeError::new_err("values is None; give one value for each key"));
    }
    let what = keys.get_type().name()?;
    let instead = match for_mappings {
        Some(call) => format!("{call}(mapping) takes one"),
        None => "give its keys and its values: list(mapping), list(mapping.values())".to_owned(),
    };
    Err(PyTypeError::new_err(format!("keys is a {what} and values is missing; {instead}")))
}

/// Raises unless there is one value for each key.
pub(crate) fn check_count(keys: usize, values: usize) -> PyResult<()> {
    if keys == values {
        return Ok(());
    }
    // At most one value too many was read of an iterator.
    let at_least = if values == keys + 1 { "at least " } else { "" };
    Err(PyValueError::new_err(format!(
        "there are {keys} keys and {at_least}{values} values; nothing was written"
    )))
}

/// The engine's view of [`Many`].
pub(crate) enum Source<'a> {
    Items(&'a [PyBackedBytes]),
    Rows { data: &'a [u8], width: usize, count: usize },
    Spans { data: &'a [u8], offsets: &'a [i64] },
}

impl ValueSource for Source<'_> {
    fn len(&self) -> usize {
        match self {
            Self::Items(items) => items.len(),
            Self::Rows { count, .. } => *count,
            Self::Spans { offsets, .. } => offsets.len().saturating_sub(1),
        }
    }

    fn get(&self, i: usize) -> &[u8] {
        match self {
            Self::Items(items) => &items[i],
            Self::Rows { data, width, .. } => &data[i * width..(i + 1) * width],
            // The offsets were checked when the batch came in.
            Self::Spans { data, offsets } => {
                data.get(offsets[i] as usize..offsets[i + 1] as usize).unwrap_or_default()
            }
        }
    }
}
