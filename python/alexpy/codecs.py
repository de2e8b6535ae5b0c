"""Codecs: what the values of a store mean; `alexpy.open(path, codec=...)` takes one.

A store keeps bytes. With a codec it takes and gives values of another type, in every call, and remembers the
codec's name, by which `text`, `json`, `numpy(...)` and `struct(...)` are found again when it is opened. The
values of `numpy` and `struct` are rows of an array, so calls for many keys take and return one array.

Nothing here runs what a stored value says, as pickle does. Knows no store.
"""

from __future__ import annotations

import ast
import functools
import json as _json
import math
import struct as _struct_module
import sys
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, Generic, Literal, TypeVar, overload

from . import _alexpy
from ._integers import lengths
from .errors import FormatError

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import DTypeLike, NDArray
    from typing_extensions import Buffer

    _Scalar = TypeVar("_Scalar", bound=np.generic)

__all__ = ["Codec", "json", "named", "numpy", "struct", "text"]

_V = TypeVar("_V")

# Of one value, in bytes.
_MAX_VALUE_BYTES: Final = 2**32 - 1
# Of a struct. Each is an object, here and in NumPy.
_MAX_FIELDS: Final = 1 << 14
_FIELD: Final = r"\s*([0-9]*)([a-zA-Z?])"


class Codec(Generic[_V]):
    """A way to make bytes of values and values of bytes; `name` is what a store remembers of it.

    `encode(value)` returns bytes or another contiguous buffer; `decode(data)` gets bytes and returns the
    value, which must not be None: that means that there is no value. Both may be called by many threads at
    once. Whatever they raise becomes a `CodecError` that names the key. Opening a store with a codec of your
    own takes `codec=` each time, with a codec of the same name.

    Raises:
        TypeError: `name` is no str, or `encode` or `decode` cannot be called.
        ValueError: `name` is empty, or that of a codec of this module.

    Example:
        >>> import alexpy, tempfile, zlib
        >>> packed = alexpy.Codec("zlib", zlib.compress, zlib.decompress)
        >>> with alexpy.open(tempfile.mkdtemp(), codec=packed) as store:
        ...     store[1] = b"one " * 1000
        ...     len(store[1]), len(store.get_view(1)) < 100
        (4000, True)

    """

    __slots__ = ("decode", "encode", "name")

    name: str
    encode: Callable[[_V], Buffer]
    decode: Callable[[bytes], _V]

    _row_bytes: int | None = None
    """Bytes of each value if all are rows of one array; else None."""
    _counter: str | None = None
    """What `Store.add_many` adds to: "int64", "float64", or None if values are no such numbers."""

    _arrow: object = None
    """What values are to an Arrow library: None for binary, "text", or the parts of a row."""

    def __init__(self, name: str, encode: Callable[[_V], Buffer], decode: Callable[[bytes], _V]) -> None:
        if not isinstance(name, str):
            raise TypeError(f"the name of a codec is a str, not a {type(name).__name__}")
        if not name or not name.isprintable():
            raise ValueError(f"the name of a codec is printable text, not {name!r}")
        if name.partition("(")[0] in _BUILT_IN:
            raise ValueError(f"{name!r} is the name of a codec of alexpy.codecs; choose another")
        for what, function in (("encode", encode), ("decode", decode)):
            if not callable(function):
                raise TypeError(f"{what} is a {type(function).__name__}, which cannot be called")
        self._set(name, encode, decode)

    def _set(self, name: str, encode: Any, decode: Any) -> None:
        for attribute, value in (("name", name), ("encode", encode), ("decode", decode)):
            object.__setattr__(self, attribute, value)

    def __setattr__(self, name: str, value: object) -> None:
        """Refuse: a store has taken its functions when it was opened."""
        raise AttributeError(f"a codec does not change, so {name!r} cannot be set")

    def _encode_many(self, values: Any, count: int) -> Any:  # noqa: ARG002 - for those who know more
        """Return `count` values for a store in a form that it reads as bytes; None to have each encoded.

        For the store. What cannot hold one value for each key is refused here.

        Raises:
            TypeError: `values` is one value, unordered, or not iterable.

        """
        refuse_one_value(values)
        if _is_arrow(values) and not isinstance(values, Iterable):
            raise TypeError(
                f"values is an Arrow column, which the codec {self.name} does not read; give a list of values"
            )

    def __eq__(self, other: object) -> bool:
        """Whether both have the same name, which is all that a store knows."""
        return isinstance(other, Codec) and self.name == other.name

    def __hash__(self) -> int:
        """As that of the name."""
        return hash(self.name)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the codec itself: by name, or by the functions, if those can be pickled."""
        return Codec, (self.name, self.encode, self.decode)

    def __repr__(self) -> str:
        """Return an expression for a codec of this module, else the name."""
        return f"<alexpy.Codec {self.name!r}>"


class _BuiltIn(Codec[_V]):
    """A codec of this module, which its name makes again."""

    __slots__ = ()

    def __init__(self, name: str, encode: Callable[[_V], Buffer], decode: Callable[[bytes], _V]) -> None:
        self._set(name, encode, decode)

    def __reduce__(self) -> tuple[Any, ...]:
        return named, (self.name,)

    def __repr__(self) -> str:
        return f"alexpy.codecs.{self.name}"


# ---- text and JSON ----


class _Json(_BuiltIn[Any]):
    __slots__ = ()

    _arrow = "text"


class _Text(_BuiltIn[str]):
    __slots__ = ()

    _arrow = "text"

    def _encode_many(self, values: Any, count: int) -> Any:  # noqa: ARG002 - for those who know more
        refuse_one_value(values)
        if _is_arrow(values):
            from ._convert import text_as_binary  # noqa: PLC0415 - it imports NumPy

            return text_as_binary(values)
        return None


def _encode_text(value: str) -> bytes:
    if not isinstance(value, str):
        raise TypeError(f"it takes a str, not a {type(value).__name__}")
    return value.encode()


def _of_numpy(value: Any) -> Any:
    """Return what JSON has for a NumPy number or array."""
    if hasattr(value, "tolist") and hasattr(value, "dtype") and value.dtype.kind in "biuf":
        return value.tolist()
    raise TypeError(f"JSON has no {type(value).__name__}")


_to_json = _json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_of_numpy
).encode
_from_json = _json.JSONDecoder().decode


def _encode_json(value: Any) -> bytes:
    return _to_json(value).encode()


def _decode_json(data: bytes) -> Any:
    return _from_json(data.decode())


text: Final[Codec[str]] = _Text("text", _encode_text, bytes.decode)
"""Values are `str`, stored as UTF-8."""

json: Final[Codec[Any]] = _Json("json", _encode_json, _decode_json)
"""Values are what JSON has: dict, list, str, int, float, bool; stored as compact JSON in UTF-8.

A tuple comes back as a list, and a key of a dict as str. NaN and infinity, which JSON has not, are refused.
Numbers and arrays of NumPy are stored as those of Python. None is no value of its own, but may be inside one.
"""


# ---- rows of arrays ----


class Rows(_BuiltIn[Any]):
    """Values that are rows of one array: of a dtype and a shape, all as long."""

    __slots__ = ("_arrow", "_counter", "_row_bytes", "dtype", "shape")

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    _row_bytes: int

    def __init__(
        self,
        name: str,
        dtype: np.dtype[Any],
        shape: tuple[int, ...],
        encode: Callable[[Any], Buffer] | None = None,
        decode: Callable[[bytes], Any] | None = None,
    ) -> None:
        from . import _rows  # noqa: PLC0415 - it imports NumPy

        super().__init__(
            name,
            encode or functools.partial(_rows.encoded, dtype=dtype, shape=shape, tidy=_rows.is_tidy(dtype)),
            decode or functools.partial(_rows.decoded, dtype=dtype, shape=shape),
        )
        made = {"dtype": dtype, "shape": shape, "_row_bytes": dtype.itemsize * math.prod(shape)}
        made["_counter"] = {"<i8": "int64", "<f8": "float64"}.get(dtype.str) if shape == () else None
        made["_arrow"] = _rows.arrow_parts(dtype, shape)
        for attribute, value in made.items():
            object.__setattr__(self, attribute, value)

    def row(self, data: bytes) -> NDArray[Any]:
        """Return one value as an array of `dtype` and `shape`, without a copy.

        Raises:
            ValueError: `data` is longer or shorter.

        """
        from . import _rows  # noqa: PLC0415 - it imports NumPy

        return _rows.row(data, self.dtype, self.shape)

    def _array(self, memory: NDArray[np.uint8], count: int) -> NDArray[Any]:
        """Return the `count` rows that lie in `memory` as an array, without a copy."""
        rows: NDArray[Any] = memory.view(self.dtype).reshape((count, *self.shape))
        return rows

    def _encode_many(self, values: Any, count: int) -> Any:  # noqa: ARG002 - for those who know more
        refuse_one_value(values)
        from . import _rows  # noqa: PLC0415 - it imports NumPy

        return _rows.many(values, self.dtype, self.shape)


def row_type(codec: object) -> tuple[np.dtype[Any], tuple[int, ...]]:
    """Return dtype and shape of the rows that values are, where a call was given none.

    Raises:
        TypeError: the codec has no rows, or there is none.

    Example:
        >>> row_type(alexpy.codecs.numpy("f4", 3))
        (dtype('float32'), (3,))

    """
    if not isinstance(codec, Rows):
        raise TypeError("dtype is None; only codecs.numpy and codecs.struct know of what dtype values are")
    return codec.dtype, codec.shape


class _Struct(Rows):
    """Rows that the module `struct` packs: a tuple for several fields, the value itself for one."""

    __slots__ = ()

    def __init__(self, name: str, packed: _struct_module.Struct, dtype: np.dtype[Any]) -> None:
        from . import _rows  # noqa: PLC0415 - it imports NumPy

        pack = functools.partial(_rows.packed, packed=packed, dtype=dtype, texts=_rows.texts(dtype))
        unpack = packed.unpack if dtype.names is not None else functools.partial(_first, packed)
        super().__init__(name, dtype, (), pack, unpack)

    def _encode_many(self, values: Any, count: int) -> Any:
        dtype = getattr(values, "dtype", None)
        if type(values).__module__ == "numpy" and dtype is not None and _layout(dtype) == _layout(self.dtype):
            # The same fields under names of the caller's, or byte strings.
            values = values.view(self.dtype)
        return super()._encode_many(values, count)


def _first(packed: _struct_module.Struct, data: bytes) -> Any:
    return packed.unpack(data)[0]


def _layout(dtype: Any) -> object:
    if dtype.names is None:
        return dtype.itemsize, "V" if dtype.kind in "SV" else dtype.str
    return dtype.itemsize, [(_layout(field[0]), field[1]) for field in map(dtype.fields.get, dtype.names)]


@overload
def numpy(
    dtype: type[_Scalar] | np.dtype[_Scalar], shape: int | tuple[int, ...]
) -> Codec[NDArray[_Scalar]]: ...
@overload
def numpy(dtype: DTypeLike, shape: int | tuple[int, ...] = ()) -> Codec[Any]: ...
def numpy(dtype: DTypeLike, shape: int | tuple[int, ...] = ()) -> Codec[Any]:
    """Return the codec whose values are arrays of `shape`, or scalars for shape (), of a NumPy dtype.

    A value is anything that NumPy makes such an array of without losing more than the digits of a float:
    `store[1] = 0.5`, `store[1] = [1, 2, 3]`. `put_many` takes one array of shape (n, *shape), `get_many`
    returns one, and Arrow libraries see a typed column. Arrays that come out are read-only. The dtype may be
    structured, for the rows of a table: `numpy(frame.to_records(index=False).dtype)`. Little-endian or
    big-endian, as given, on every machine.

    Raises:
        TypeError: `dtype` is none, or holds Python objects, or `shape` is no integers.
        ValueError: a value would have no bytes, or be a date without a unit.

    Example:
        >>> import alexpy, tempfile
        >>> with alexpy.open(tempfile.mkdtemp(), codec=alexpy.codecs.numpy(np.float32, 2)) as store:
        ...     store.put_many([1, 2], np.array([[0.5, 1.5], [2.5, 3.5]]))
        ...     store[3] = [4, 5]
        ...     store[2], store.get_many([3, 1]).tolist()
        2
        (array([2.5, 3.5], dtype=float32), [[4.0, 5.0], [0.5, 1.5]])

    """
    import numpy as np  # noqa: PLC0415 - the command line can do without

    element = np.dtype(dtype)
    outer = lengths(shape)
    if element.subdtype is not None:
        element, inner = element.subdtype
        outer += inner
    if element.hasobject or element.kind == "T":
        raise TypeError(f"dtype {element} holds Python objects; values are plain memory")
    if _has_dates_without_unit(element):
        raise ValueError(
            f"dtype {element} has dates without a unit, which hold none; give one, as in 'M8[us]'"
        )
    row_bytes = element.itemsize * math.prod(outer)
    if any(length < 0 for length in outer) or row_bytes == 0:
        raise ValueError(f"an array of {element} and shape {outer} has no bytes to store")
    if row_bytes > _MAX_VALUE_BYTES:
        raise ValueError(
            f"an array of {element} and shape {outer} has {row_bytes:,} bytes; a value has at most 2**32-1"
        )
    described = np.lib.format.dtype_to_descr(element)
    _refuse_units(described)
    # The same as opening the store again will make of the name: of plain records, for instance.
    element = np.lib.format.descr_to_dtype(described)
    return Rows(f"numpy({described!r}, {outer!r})", element, outer)


def _has_dates_without_unit(dtype: np.dtype[Any]) -> bool:
    """Whether some field holds no date but NaT."""
    if dtype.subdtype is not None:
        return _has_dates_without_unit(dtype.subdtype[0])
    if dtype.names is not None:
        return any(_has_dates_without_unit(dtype[name]) for name in dtype.names)
    return dtype.kind == "M" and dtype.name == "datetime64"


# The fields of the module `struct` as those of NumPy. None for padding; "p" and "n", "N", "P" have none.
_FIELDS: Final[Mapping[str, str | None]] = {
    "x": None,
    "c": "V1",
    "b": "i1",
    "B": "u1",
    "?": "?",
    "h": "i2",
    "H": "u2",
    "i": "i4",
    "I": "u4",
    "l": "i4",
    "L": "u4",
    "q": "i8",
    "Q": "u8",
    "e": "f2",
    "f": "f4",
    "d": "f8",
}


def struct(fmt: str) -> Codec[Any]:
    """Return the codec whose values are what `struct.pack(fmt, ...)` takes and `struct.unpack` returns.

    A tuple of the fields, or the value itself if `fmt` has one field and no padding. `fmt` begins with "<"
    or ">" (or "!"), because what follows it must mean the same on every machine. `put_many` takes one
    structured array too, with fields "f0", "f1" ..., `get_many` returns one (an array of numbers for one
    field), and Arrow libraries see a struct column. Bytes ("s", "c") are of kind "V" there, which keeps NULs
    at the end.

    Raises:
        TypeError: `fmt` is no str.
        ValueError: `fmt` is no format, has no field, no byte order, or a field that NumPy has not.

    Example:
        >>> import alexpy, tempfile
        >>> with alexpy.open(tempfile.mkdtemp(), codec=alexpy.codecs.struct("<if")) as store:
        ...     store.put_many([1, 2], [(10, 0.5), (20, 1.5)])
        ...     store[1], store.get_many([2, 1])["f0"].tolist()
        2
        ((10, 0.5), [20, 10])

    """
    if not isinstance(fmt, str):
        raise TypeError(f"fmt is a {type(fmt).__name__}; give the format as str")
    if fmt[:1] not in {"<", ">", "!"}:
        better = ("<" if sys.byteorder == "little" else ">") + fmt.lstrip("@=")
        raise ValueError(
            f"{fmt!r} means something else on another machine; begin it with a byte order: {better!r}"
        )
    try:
        packed = _struct_module.Struct(fmt)
    except _struct_module.error as error:
        raise ValueError(f"{fmt!r} is no format of the module struct: {error}") from error
    return _Struct(f"struct({fmt!r})", packed, _fields(fmt, packed.size))


def _fields(fmt: str, size: int) -> np.dtype[Any]:
    """Return the dtype of what a format packs."""
    import re  # noqa: PLC0415 - nobody else needs it

    import numpy as np  # noqa: PLC0415 - the command line can do without

    order: Literal["<", ">"] = "<" if fmt[0] == "<" else ">"
    if sum(int(digits or 1) for digits, code in re.findall(_FIELD, fmt[1:]) if code != "s") > _MAX_FIELDS:
        raise ValueError(f"a struct has at most {_MAX_FIELDS:,} fields, and {fmt[:40]!r} has more")
    formats, offsets, at = [], [], 0
    for digits, code in re.findall(_FIELD, fmt[1:]):
        times = int(digits) if digits else 1
        if code == "s":
            if times == 0:
                raise ValueError(f"{fmt!r} has the field '0s', which holds nothing")
            fields: list[str | None] = [f"V{times}"]
        elif code in _FIELDS:
            fields = [_FIELDS[code]] * times
        else:
            raise ValueError(f"{fmt!r} has the field {code!r}, which NumPy has not")
        for field in fields:
            if field is not None:
                formats.append(np.dtype(field).newbyteorder(order))
                offsets.append(at)
            at += 1 if field is None else np.dtype(field).itemsize
    if not formats:
        raise ValueError(f"{fmt!r} has no field")
    if len(formats) == 1 and formats[0].itemsize == size:
        return formats[0]
    names = [f"f{number}" for number in range(len(formats))]
    return np.dtype({"names": names, "formats": formats, "offsets": offsets, "itemsize": size})


# ---- by name ----

_BUILT_IN: Final = ("text", "json", "numpy", "struct")


def named(name: str) -> Codec[Any]:
    """Return the codec of this module that has this name, as a store remembers it.

    Raises:
        FormatError: there is none; a codec of your own is to be given to `alexpy.open` as `codec`.

    Example:
        >>> import alexpy
        >>> alexpy.codecs.named("struct('<id')")
        alexpy.codecs.struct('<id')

    """
    if name == "text":
        return text
    if name == "json":
        return json
    kind, bracket, arguments = name.partition("(")
    if bracket and kind in {"numpy", "struct"} and arguments.endswith(")"):
        try:
            made = _made_again(kind, ast.literal_eval(f"({arguments[:-1]},)"))
        except (
            ValueError, TypeError, SyntaxError, LookupError, ArithmeticError, RecursionError, MemoryError
        ) as error:  # fmt: skip
            raise FormatError(
                f"the store's codec {name!r} is none that this version knows: {error}"
            ) from error
        if made.name == name:
            return made
    raise FormatError(
        f"the values of this store have the codec {name!r}, which is none of alexpy.codecs; pass it to "
        f"alexpy.open as codec=alexpy.Codec({name!r}, encode, decode)"
    )


def called(call: str) -> Codec[Any]:
    """Return the codec that a person names: "text", "json", or a call of `numpy` or `struct`.

    Raises:
        FormatError, ValueError: there is none of this name, or these are no arguments of it.

    Example:
        >>> called("numpy('f8')"), called("struct('<id')").name
        (alexpy.codecs.numpy('<f8', ()), "struct('<id')")

    """
    try:
        return named(call)
    except FormatError:
        kind, bracket, arguments = call.partition("(")
        if not bracket or kind not in {"numpy", "struct"} or not arguments.endswith(")"):
            raise
    try:
        given = ast.literal_eval(f"({arguments[:-1]},)")
        _refuse_units(given)
        made: Codec[Any] = (struct if kind == "struct" else numpy)(*given)
    except (
        SyntaxError, ValueError, TypeError, LookupError, ArithmeticError, RecursionError, MemoryError
    ) as error:  # fmt: skip
        raise ValueError(f"{call!r} is no call of alexpy.codecs: {error}") from error
    return made


def name_of(codec: Codec[Any] | str) -> str:
    """Return the name of a codec, or the one that a person means who names it.

    Raises:
        FormatError, ValueError: there is none of this name.
        TypeError: `codec` is neither.

    Example:
        >>> name_of(alexpy.codecs.text), name_of("numpy('f8')"), name_of("zlib")
        ('text', "numpy('<f8', ())", 'zlib')

    """
    if isinstance(codec, Codec):
        return codec.name
    if not isinstance(codec, str):
        raise TypeError(f"codec is a {type(codec).__name__}; give a codec, or its name")
    if codec.partition("(")[0].strip().lower() in _BUILT_IN:
        return called(codec).name
    return Codec(codec, bytes, bytes).name


def _made_again(kind: str, arguments: tuple[Any, ...]) -> Codec[Any]:
    if kind == "struct":
        return struct(*arguments)
    import numpy as np  # noqa: PLC0415 - the command line can do without

    described, shape = arguments
    _refuse_units(described)
    return numpy(np.lib.format.descr_to_dtype(described), shape)


def _refuse_units(described: Any) -> None:
    """Refuse a description of a dtype with a unit of time like "[0s]" or "[D/0]", before NumPy sees it.

    NumPy divides by that number, and a division by zero ends the process.

    Raises:
        ValueError: it has one.

    """
    if isinstance(described, Mapping):
        _refuse_units([*described.values()])
    elif isinstance(described, (list, tuple)):
        for part in described:
            _refuse_units(part)
    elif isinstance(described, str):
        for unit in described.split("[")[1:]:
            step = unit.partition("]")[0]
            if "/" in step or (step[:1].isdecimal() and not step.lstrip("0")[:1].isdecimal()):
                raise ValueError(f"{described!r} has a unit of time of no length, or a fraction")


def _is_arrow(values: object) -> bool:
    """Whether this is Arrow data of another library, or a column of such a table that `update` took apart."""
    return (
        isinstance(values, _alexpy._ArrowInput)  # noqa: SLF001 - the native half
        or hasattr(values, "__arrow_c_array__")
        or hasattr(values, "__arrow_c_stream__")
    )


def refuse_one_value(values: object) -> None:
    """Refuse what cannot hold one value for each key.

    Raises:
        TypeError: `values` is one value, unordered, or not iterable.

    Example:
        >>> refuse_one_value("text")
        Traceback (most recent call last):
        ...
        TypeError: values is a single str; give one value for each key

    """
    if isinstance(values, (str, bytes, bytearray)):
        raise TypeError(f"values is a single {type(values).__name__}; give one value for each key")
    if isinstance(values, (Mapping, set, frozenset)):
        raise TypeError(
            f"values is a {type(values).__name__}, which pairs no value with a key; give a list, or a "
            "mapping of keys to values to update"
        )
    if hasattr(values, "columns") and (hasattr(values, "__arrow_c_stream__") or hasattr(values, "iloc")):
        raise TypeError(f"values is a {type(values).__name__}, which is a table; pick one column of it")
    if not isinstance(values, Iterable) and not hasattr(values, "__getitem__") and not _is_arrow(values):
        kind = "None" if values is None else f"a {type(values).__name__}"
        raise TypeError(f"values is {kind}; give one value for each key")
