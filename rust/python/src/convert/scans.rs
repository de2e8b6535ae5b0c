//! The calls that iterate over a range, written once for both classes that have them. Knows nothing of what is iterated.

/// A method that returns an iterator over a range: `scan`, `scan_keys` and `scan_values` differ in their names, their
/// docstrings, and in what the iterator yields.
macro_rules! scan_method {
    ($(#[$doc:meta])* $class:ident.$name:ident yields $yields:ident by $iterator:ident) => {
        #[pyo3::pymethods]
        impl $class {
            $(#[$doc])*
            #[pyo3(signature = (start=None, stop=None, *, include_start=true, include_stop=false, reverse=false,
                                limit=None))]
            #[expect(clippy::too_many_arguments, reason = "what Python calls has a parameter for each option")]
            fn $name(
                slf: &pyo3::Bound<'_, Self>,
                start: Option<&pyo3::Bound<'_, pyo3::PyAny>>,
                stop: Option<&pyo3::Bound<'_, pyo3::PyAny>>,
                include_start: bool,
                include_stop: bool,
                reverse: bool,
                limit: Option<&pyo3::Bound<'_, pyo3::PyAny>>,
            ) -> pyo3::PyResult<$iterator> {
                use $crate::convert::bounds::{self, ScanRequest, Yields};
                let range = bounds::range(slf.get().kind(), start, stop, include_start, include_stop)?;
                let limit = bounds::limit(limit)?;
                $iterator::over(slf, ScanRequest { range, reverse, limit, yields: Yields::$yields })
            }
        }
    };
}

pub(crate) use scan_method;
