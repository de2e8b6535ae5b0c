//! Classes that annotations may give types, as `Store[int, str]`. Nothing looks at the types.

/// Lets a class be subscripted.
macro_rules! generic_class {
    ($class:ident) => {
        #[pymethods]
        impl $class {
            #[classmethod]
            fn __class_getitem__<'py>(
                cls: &Bound<'py, pyo3::types::PyType>,
                types: &Bound<'py, PyAny>,
            ) -> PyResult<Bound<'py, pyo3::types::PyGenericAlias>> {
                pyo3::types::PyGenericAlias::new(cls.py(), cls, types)
            }
        }
    };
}
pub(crate) use generic_class;
