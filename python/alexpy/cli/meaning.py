"""What the bytes of values mean: how they look on the terminal and in files, and how they are made of text.

Commands open a store without its codec, which may be anybody's, and work with bytes. Here is what those of a
store of text, JSON, arrays or records mean. O(bytes of a value).
"""

from __future__ import annotations

import base64
import json
import math
import struct
from typing import TYPE_CHECKING, Any

from alexpy import codecs

from . import keys
from .text import json_line

if TYPE_CHECKING:
    import alexpy

    from .keys import Key

_to_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


class Meaning:
    """Values that are text where they are UTF-8, and bytes where they are not."""

    is_json = False
    """Whether a value in a file of JSON lines is JSON of any kind, not text alone."""

    def shown(self, value: bytes) -> str:
        """Return a value as one line; as Python bytes if it is not one line of text."""
        try:
            text = self.text(value)
        except UnicodeDecodeError:
            return repr(value)
        return text if text.isprintable() else repr(value)

    def text(self, value: bytes) -> str:
        """Return a value as text, from which `stored` makes it again.

        Raises:
            UnicodeDecodeError: it is none.

        """
        return value.decode()

    def fields(self, value: bytes) -> dict[str, Any]:
        """Return a value for JSON: `value` if it can be told, else `value_base64`."""
        try:
            return {"value": self.text(value)}
        except UnicodeDecodeError:
            return {"value_base64": base64.b64encode(value).decode()}

    def stored(self, text: bytes) -> bytes:
        """Return the bytes that are stored for what a person or a file gives as text.

        Raises:
            ValueError: it is no value of such a store; the message says why.

        """
        return text

    def checked(self, data: bytes) -> bytes:
        """Return bytes that are to be stored as they are.

        Raises:
            ValueError: they are no value of such a store.

        """
        return data

    def line(self, key: Key, value: bytes) -> bytes:
        """Return one line for people: key, tab, value."""
        return f"{keys.to_text(key)}\t{self.shown(value)}\n".encode()

    def json(self, key: Key, value: bytes) -> bytes:
        """Return one line of JSON for programs."""
        return json_line({"key": keys.to_json(key), **self.fields(value)})


class _Text(Meaning):
    """Values of `codecs.text`."""

    def stored(self, text: bytes) -> bytes:
        try:
            text.decode()
        except UnicodeDecodeError as error:
            raise ValueError("the values of this store are text, and this is not UTF-8") from error
        return text

    def checked(self, data: bytes) -> bytes:
        return self.stored(data)


class _Json(Meaning):
    """Values of `codecs.json`."""

    is_json = True

    def fields(self, value: bytes) -> dict[str, Any]:
        try:
            return {"value": codecs.json.decode(value)}
        except ValueError:
            return super().fields(value)

    def stored(self, text: bytes) -> bytes:
        return bytes(codecs.json.encode(_parsed(text)))

    def checked(self, data: bytes) -> bytes:
        return self.stored(data)


class _Rows(Meaning):
    """Values of `codecs.numpy` and `codecs.struct`, shown and taken as JSON."""

    is_json = True

    def __init__(self, codec: codecs.Codec[Any]) -> None:
        """Remember the codec."""
        self._codec = codec

    def text(self, value: bytes) -> str:
        try:
            return _to_json(_plain(self._codec.decode(value)))
        except ValueError:
            return value.decode()

    def fields(self, value: bytes) -> dict[str, Any]:
        try:
            return {"value": _plain(self._codec.decode(value))}
        except ValueError:
            return super().fields(value)

    def stored(self, text: bytes) -> bytes:
        value = _parsed(text)
        try:
            return bytes(self._codec.encode(_fielded(value, self._codec)))
        except (TypeError, ValueError, ArithmeticError, struct.error) as error:
            raise ValueError(f"the values of this store are {self._codec.name}: {error}") from error

    def checked(self, data: bytes) -> bytes:
        self._codec.decode(data)
        return data


def meaning_of(store: alexpy.Store[Any, bytes]) -> Meaning:
    """Return what the values of a store mean that was opened without its codec."""
    return meaning_named(store.codec_name)


def meaning_named(name: str | None) -> Meaning:
    """Return what values mean by the name of their codec."""
    if name is None:
        return Meaning()
    if name == "text":
        return _Text()
    if name == "json":
        return _Json()
    if name.startswith(("numpy(", "struct(")):
        return _Rows(codecs.named(name))
    return Meaning()


def _parsed(text: bytes) -> Any:
    try:
        value = codecs.json.decode(text)
    except (ValueError, RecursionError) as error:
        shown = text[:60].decode(errors="backslashreplace")
        raise ValueError(
            f"the values of this store are given as JSON (text in double quotes), and {shown!r} is none"
        ) from error
    if value is None:
        raise ValueError("null is no value; to remove a key, delete it")
    return value


def _plain(value: Any) -> Any:
    """Return what JSON has for a value: numbers, lists, and text for bytes, dates and what is not finite."""
    if hasattr(value, "dtype"):
        if value.dtype.kind in "mM":
            value = value.astype(str)
        value = value.tolist()
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    if isinstance(value, bytes):
        return value.decode(errors="backslashreplace")
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if isinstance(value, (int, float, str)) else str(value)


def _fielded(value: Any, codec: codecs.Codec[Any]) -> Any:
    """Return the lists of JSON as what the codec takes: the fields of a record as a tuple."""
    dtype = getattr(codec, "dtype", None)
    if getattr(dtype, "names", None) is None:
        text = isinstance(value, str) and dtype is not None and dtype.kind in "SV"
        return value.encode() if text else value
    if getattr(codec, "shape", ()) or not isinstance(value, list):
        return value
    fields = zip(value, (dtype[name].kind for name in dtype.names), strict=False) if dtype else ()
    return tuple(part.encode() if kind in "SV" and isinstance(part, str) else part for part, kind in fields)
