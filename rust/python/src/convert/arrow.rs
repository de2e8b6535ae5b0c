//! The Arrow C data and stream interfaces (arrow.apache.org/docs/format/CDataInterface.html): columns handed
//! to any Arrow library without a copy and without a dependency.
//!
//! Three C structs, whose memory is owned by Rust and given back by their `release`, which touches no Python
//! object, so consumers may call it on any thread. All unsafe code of this topic is here.
#![allow(unsafe_code)]

use std::any::Any;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::ptr;
use std::sync::Arc;

use alex_store::{ItemColumns, Scan};
use pyo3::prelude::*;
use pyo3::types::{PyCapsule, PyTuple};

const SCHEMA_NAME: &CStr = c"arrow_schema";
const ARRAY_NAME: &CStr = c"arrow_array";
const STREAM_NAME: &CStr = c"arrow_array_stream";

const FLAG_NULLABLE: i64 = 2;
/// What `get_next` of a stream returns for an error whose text `get_last_error` has.
const EIO: c_int = 5;

/// What a column holds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Type {
    Int64,
    LargeBinary,
    /// Of a key and a value column.
    Items,
}

impl Type {
    fn format(self) -> &'static CStr {
        match self {
            Self::Int64 => c"l",
            Self::LargeBinary => c"Z",
            Self::Items => c"+s",
        }
    }
}

/// `struct ArrowSchema`.
#[repr(C)]
struct CSchema {
    format: *const c_char,
    name: *const c_char,
    metadata: *const c_char,
    flags: i64,
    n_children: i64,
    children: *mut *mut CSchema,
    dictionary: *mut CSchema,
    release: Option<unsafe extern "C" fn(*mut CSchema)>,
    private_data: *mut c_void,
}

/// What a schema points to.
struct SchemaOwner {
    children: Vec<*mut CSchema>,
}

// SAFETY: the struct owns what it points to (static strings, and the boxes of its private data).
unsafe impl Send for CSchema {}

impl CSchema {
    fn new(kind: Type, name: &'static CStr, nullable: bool) -> Self {
        let children = match kind {
            Type::Items => {
                vec![Self::new(Type::Int64, c"key", false), Self::new(Type::LargeBinary, c"value", false)]
            }
            Type::Int64 | Type::LargeBinary => Vec::new(),
        };
        let children = children.into_iter().map(|child| Box::into_raw(Box::new(child))).collect();
        let mut owner = Box::new(SchemaOwner { children });
        Self {
            format: kind.format().as_ptr(),
            name: name.as_ptr(),
            metadata: ptr::null(),
            flags: if nullable { FLAG_NULLABLE } else { 0 },
            n_children: owner.children.len() as i64,
            children: owner.children.as_mut_ptr(),
            dictionary: ptr::null_mut(),
            release: Some(release_schema),
            private_data: Box::into_raw(owner).cast(),
        }
    }
}

impl Drop for CSchema {
    fn drop(&mut self) {
        if let Some(release) = self.release {
            // SAFETY: not yet released, or moved away, either of which clears `release`.
            unsafe { release(self) };
        }
    }
}

/// # Safety
/// `schema` must be one that [`CSchema::new`] made, or a bitwise move of it, not yet released.
unsafe extern "C" fn release_schema(schema: *mut CSchema) {
    // SAFETY: by contract `private_data` is the box of `new`, whose children are boxes of the same kind; a
    // child that the consumer moved away has its own `release` cleared, which its drop looks at.
    unsafe {
        let owner = Box::from_raw((*schema).private_data.cast::<SchemaOwner>());
        for child in owner.children {
            drop(Box::from_raw(child));
        }
        (*schema).private_data = ptr::null_mut();
        (*schema).release = None;
    }
}

/// `struct ArrowArray`.
#[repr(C)]
struct CArray {
    length: i64,
    null_count: i64,
    offset: i64,
    n_buffers: i64,
    n_children: i64,
    buffers: *mut *const c_void,
    children: *mut *mut CArray,
    dictionary: *mut CArray,
    release: Option<unsafe extern "C" fn(*mut CArray)>,
    private_data: *mut c_void,
}

/// What an array points to.
struct ArrayOwner {
    buffers: Vec<*const c_void>,
    children: Vec<*mut CArray>,
    _memory: Arc<dyn Any + Send + Sync>,
}

// SAFETY: the struct owns what it points to: boxes, and memory that is shared and never changes.
unsafe impl Send for CArray {}

impl CArray {
    /// An array over `buffers`, which point into `memory` (null is no buffer).
    fn new(
        length: usize,
        null_count: usize,
        buffers: Vec<*const c_void>,
        children: Vec<Self>,
        memory: Arc<dyn Any + Send + Sync>,
    ) -> Self {
        let children = children.into_iter().map(|child| Box::into_raw(Box::new(child))).collect();
        let mut owner = Box::new(ArrayOwner { buffers, children, _memory: memory });
        Self {
            length: length as i64,
            null_count: null_count as i64,
            offset: 0,
            n_buffers: owner.buffers.len() as i64,
            n_children: owner.children.len() as i64,
            buffers: owner.buffers.as_mut_ptr(),
            children: owner.children.as_mut_ptr(),
            dictionary: ptr::null_mut(),
            release: Some(release_array),
            private_data: Box::into_raw(owner).cast(),
        }
    }

    fn of_items(items: &Arc<ItemColumns>) -> Self {
        let rows = items.keys.len();
        let memory = || Arc::clone(items) as Arc<dyn Any + Send + Sync>;
        let (offsets, data) = (items.values.offsets(), items.values.data());
        let keys = vec![ptr::null(), items.keys.as_ptr().cast()];
        let values = vec![ptr::null(), offsets.as_ptr().cast(), data.as_ptr().cast()];
        let children = vec![
            Self::new(rows, 0, keys, Vec::new(), memory()),
            Self::new(rows, 0, values, Vec::new(), memory()),
        ];
        Self::new(rows, 0, vec![ptr::null()], children, memory())
    }
}

impl Drop for CArray {
    fn drop(&mut self) {
        if let Some(release) = self.release {
            // SAFETY: not yet released, or moved away, either of which clears `release`.
            unsafe { release(self) };
        }
    }
}

/// # Safety
/// `array` must be one that [`CArray::new`] made, or a bitwise move of it, not yet released.
unsafe extern "C" fn release_array(array: *mut CArray) {
    // SAFETY: as in `release_schema`.
    unsafe {
        let mut owner = Box::from_raw((*array).private_data.cast::<ArrayOwner>());
        for child in owner.children.drain(..) {
            drop(Box::from_raw(child));
        }
        (*array).private_data = ptr::null_mut();
        (*array).release = None;
    }
}

/// The columns behind an [`ArrowArray`].
enum Columns {
    /// Values, some of which may be missing: the validity bitmap, where any is.
    Values {
        column: Arc<alex_store::ValueColumn>,
        valid: Option<Arc<Vec<u8>>>,
        missing: usize,
    },
    Items(Arc<ItemColumns>),
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
pub(crate) struct ArrowArray(Columns);

impl ArrowArray {
    /// Values in Arrow's LargeBinary; a value that was not found is null.
    pub(crate) fn of_values(column: &Arc<alex_store::ValueColumn>, found: &[bool]) -> Self {
        let missing = found.iter().filter(|&&found| !found).count();
        let valid = (missing > 0).then(|| Arc::new(bitmap(found)));
        Self(Columns::Values { column: Arc::clone(column), valid, missing })
    }

    /// A struct of `key` (int64) and `value` (LargeBinary).
    pub(crate) fn of_items(items: &Arc<ItemColumns>) -> Self {
        Self(Columns::Items(Arc::clone(items)))
    }

    fn schema(&self) -> CSchema {
        match &self.0 {
            Columns::Values { .. } => CSchema::new(Type::LargeBinary, c"", true),
            Columns::Items(_) => CSchema::new(Type::Items, c"", false),
        }
    }

    fn array(&self) -> CArray {
        match &self.0 {
            Columns::Values { column, valid, missing } => {
                let bits = valid.as_ref().map_or(ptr::null(), |valid| valid.as_ptr().cast());
                let buffers = vec![bits, column.offsets().as_ptr().cast(), column.data().as_ptr().cast()];
                let memory = Arc::new((Arc::clone(column), valid.clone()));
                CArray::new(column.len(), *missing, buffers, Vec::new(), memory)
            }
            Columns::Items(items) => CArray::of_items(items),
        }
    }
}

/// One bit a value, least significant first.
fn bitmap(found: &[bool]) -> Vec<u8> {
    let byte = |bits: &[bool]| {
        bits.iter().enumerate().fold(0_u8, |byte, (bit, &found)| byte | u8::from(found) << bit)
    };
    found.chunks(8).map(byte).collect()
}

#[pymethods]
impl ArrowArray {
    fn __len__(&self) -> usize {
        match &self.0 {
            Columns::Values { column, .. } => column.len(),
            Columns::Items(items) => items.keys.len(),
        }
    }

    /// The Arrow type alone.
    fn __arrow_c_schema__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyCapsule>> {
        PyCapsule::new_with_value(py, self.schema(), SCHEMA_NAME)
    }

    /// The array, as a pair of capsules. The requested schema is a wish that Arrow lets a producer ignore.
    #[pyo3(signature = (requested_schema=None))]
    fn __arrow_c_array__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyTuple>> {
        drop(requested_schema);
        let schema = PyCapsule::new_with_value(py, self.schema(), SCHEMA_NAME)?;
        let array = PyCapsule::new_with_value(py, self.array(), ARRAY_NAME)?;
        (schema, array).into_pyobject(py)
    }
}

/// `struct ArrowArrayStream`.
#[repr(C)]
struct CStream {
    get_schema: Option<unsafe extern "C" fn(*mut CStream, *mut CSchema) -> c_int>,
    get_next: Option<unsafe extern "C" fn(*mut CStream, *mut CArray) -> c_int>,
    get_last_error: Option<unsafe extern "C" fn(*mut CStream) -> *const c_char>,
    release: Option<unsafe extern "C" fn(*mut CStream)>,
    private_data: *mut c_void,
}

/// What a stream reads from.
struct StreamOwner {
    scan: Scan,
    rows: usize,
    ended: bool,
    last_error: CString,
}

// SAFETY: the struct owns its private data, which is Send.
unsafe impl Send for CStream {}

impl CStream {
    fn new(scan: Scan, rows: usize) -> Self {
        let owner = Box::new(StreamOwner { scan, rows, ended: false, last_error: CString::default() });
        Self {
            get_schema: Some(stream_schema),
            get_next: Some(stream_next),
            get_last_error: Some(stream_error),
            release: Some(release_stream),
            private_data: Box::into_raw(owner).cast(),
        }
    }
}

impl Drop for CStream {
    fn drop(&mut self) {
        if let Some(release) = self.release {
            // SAFETY: not yet released, or moved away, either of which clears `release`.
            unsafe { release(self) };
        }
    }
}

/// # Safety
/// `stream` must come from [`CStream::new`] and not be released; `out` must be writable.
unsafe extern "C" fn stream_schema(_: *mut CStream, out: *mut CSchema) -> c_int {
    // SAFETY: `out` is the consumer's uninitialised struct, so nothing is dropped there.
    unsafe { out.write(CSchema::new(Type::Items, c"", false)) };
    0
}

/// # Safety
/// As [`stream_schema`]; not called by two threads at once (the interface says so).
unsafe extern "C" fn stream_next(stream: *mut CStream, out: *mut CArray) -> c_int {
    // SAFETY: by contract `private_data` is the box of `new`, and nobody else uses it now.
    let owner = unsafe { &mut *(*stream).private_data.cast::<StreamOwner>() };
    let array = if owner.ended {
        None
    } else {
        match owner.scan.next_columns(owner.rows) {
            Ok(items) => {
                owner.ended = items.keys.len() < owner.rows;
                (!items.keys.is_empty()).then(|| CArray::of_items(&Arc::new(items)))
            }
            Err(error) => {
                owner.ended = true;
                // No message of ours holds a NUL; a path might.
                owner.last_error = CString::new(error.to_string().replace('\0', "?")).unwrap_or_default();
                return EIO;
            }
        }
    };
    // SAFETY: `out` is the consumer's uninitialised struct. A released array is the end of the stream.
    unsafe {
        match array {
            Some(array) => out.write(array),
            None => (*out).release = None,
        }
    }
    0
}

/// # Safety
/// As [`stream_schema`].
unsafe extern "C" fn stream_error(stream: *mut CStream) -> *const c_char {
    // SAFETY: as in `stream_next`; the text lives until the next call on the stream.
    unsafe { (*(*stream).private_data.cast::<StreamOwner>()).last_error.as_ptr() }
}

/// # Safety
/// `stream` must come from [`CStream::new`], or be a bitwise move of it, and not yet be released.
unsafe extern "C" fn release_stream(stream: *mut CStream) {
    // SAFETY: by contract `private_data` is the box of `new`.
    unsafe {
        drop(Box::from_raw((*stream).private_data.cast::<StreamOwner>()));
        (*stream).private_data = ptr::null_mut();
        (*stream).release = None;
    }
}

/// A capsule with the items of a scan as a stream of struct arrays of at most `rows` rows.
pub(crate) fn stream(py: Python<'_>, scan: Scan, rows: usize) -> PyResult<Bound<'_, PyCapsule>> {
    PyCapsule::new_with_value(py, CStream::new(scan, rows), STREAM_NAME)
}

/// A capsule with the type of those arrays.
pub(crate) fn stream_type(py: Python<'_>) -> PyResult<Bound<'_, PyCapsule>> {
    PyCapsule::new_with_value(py, CSchema::new(Type::Items, c"", false), SCHEMA_NAME)
}
