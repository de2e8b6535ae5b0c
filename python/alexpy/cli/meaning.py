"""What the bytes of values mean: how they look on the terminal and in files, and how they are made of text.

Commands open a store without its codec, which may be anybody's, and work with bytes. Here is what those of a
store of text, JSON, arrays or records mean. O(bytes of a value).
"""

from __future__ import annotations

import base64
import json
import struct
from typing import TYPE_CHECKING, Any, cast

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
        except ValueError:
            return repr(value)
        return text if text.isprintable() else repr(value)

    def text(self, value: bytes) -> str:
        """Return a value as text, from which `stored` makes it again.

        Raises:
            ValueError: there is no such text.

        """
        return value.decode()

    def fields(self, value: bytes) -> dict[str, Any]:
        """Return a value for JSON: `value` if it can be told, else `value_base64`."""
        try:
            return {"value": self.text(value)}
        except ValueError:
            return _base64(value)

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
        except (ValueError, RecursionError):
            return super().fields(value)

    def stored(self, text: bytes) -> bytes:
        try:
            return bytes(codecs.json.encode(_parsed(text)))
        except (UnicodeEncodeError, RecursionError) as error:
            raise ValueError(f"the values of this store are JSON in UTF-8: {error}") from error

    def checked(self, data: bytes) -> bytes:
        return self.stored(data)


class _Rows(Meaning):
    """Values of `codecs.numpy` and `codecs.struct`, shown and taken as JSON."""

    is_json = True

    def __init__(self, codec: codecs.Rows) -> None:
        """Remember the codec."""
        self._codec = codec

    def text(self, value: bytes) -> str:
        return _to_json(self._told(value))

    def fields(self, value: bytes) -> dict[str, Any]:
        try:
            return {"value": self._told(value)}
        except ValueError:
            return _base64(value)

    def stored(self, text: bytes) -> bytes:
        from . import arrays  # noqa: PLC0415 - it imports NumPy

        value = _parsed(text)
        try:
            return bytes(self._codec.encode(arrays.given(value, self._codec.dtype, self._codec.shape)))
        except (TypeError, ValueError, ArithmeticError, RecursionError, struct.error) as error:
            raise ValueError(f"the values of this store are {self._codec.name}: {error}") from error

    def checked(self, data: bytes) -> bytes:
        self._codec.row(data)
        return data

    def _told(self, value: bytes) -> Any:
        """Return a value as JSON has it.

        Raises:
            ValueError: what JSON has would make another value.

        """
        from . import arrays  # noqa: PLC0415 - it imports NumPy

        array = self._codec.row(value)
        told = arrays.told(array)
        if not arrays.same(self._codec.row(self.stored(_to_json(told).encode())), array):
            raise ValueError("text does not have all of it")
        return told


class _Unknown(Meaning):
    """Values of a codec of somebody's own, of which only the bytes are known."""

    def __init__(self, name: str) -> None:
        """Remember the codec's name."""
        self._name = name

    def stored(self, text: bytes) -> bytes:  # noqa: ARG002 - no text will do
        raise ValueError(
            f"the values of this store are made by the codec {self._name!r}, which is in a program; "
            "`alexpy load` takes what it has made, as bytes: --base64, or a Parquet column of bytes"
        )


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
        return _Rows(cast("codecs.Rows", codecs.named(name)))
    return _Unknown(name)


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


def _base64(value: bytes) -> dict[str, Any]:
    return {"value_base64": base64.b64encode(value).decode()}
