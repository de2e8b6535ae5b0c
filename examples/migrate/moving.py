"""What the scripts of this folder share: a store is filled in batches, compared with its source, and named.

The store is made beside its place, as DEST.unfinished, and gets its name once every item of the source was
found in it again, so a store that has its name is whole. Memory holds one batch. The source is read twice,
through whatever view of one moment its library has; a change between the two is found and stops the copy.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import shutil
import struct
import sys
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import alexpy
from alexpy import codecs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from contextlib import AbstractContextManager

    Items = Callable[[], Iterable[tuple[Any, Any]]]

# A batch ends with whichever comes first.
BATCH_ITEMS = 10_000
BATCH_BYTES = 8 << 20
REPORT_ITEMS = 1_000_000
CODECS = {"bytes": None, "text": codecs.text, "json": codecs.json}
KEYS_HELP = """what a key of the source is: int; text, an integer in decimal digits; uuid, also any 16 bytes;
or how struct.pack made it: >Q, <Q, >q, <q, >I and so on"""
KIND_HELP = """kind of keys of the new store (default: uuid for UUIDs, uint64 for Q, else int64);
integers become moments with datetime64[s], [ms], [us] or [ns]"""
# How much of a key or value an error shows.
SHOWN = 60


class RefusedError(Exception):
    """Something in the source, or in the place of the new store, that the copy must not pass over."""


def needed(package: str) -> Any:
    """Import the library of the source."""
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise SystemExit(f"{package} cannot be imported ({error}): pip install {package}") from None


def arguments(description: str, keys: str | None) -> argparse.ArgumentParser:
    """Return a parser of what all scripts take; `keys` is the default of --keys."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", type=Path, help="what is copied; it is only read")
    parser.add_argument("dest", type=Path, help="the new store; must not exist")
    told = "" if keys is None else f" (default: {keys})"
    parser.add_argument("--keys", default=keys, required=keys is None, help=KEYS_HELP + told)
    parser.add_argument("--kind", help=KIND_HELP)
    parser.add_argument(
        "--values",
        choices=CODECS,
        default="bytes",
        help="what the values are to be: bytes, as the source has them (default), text or JSON",
    )
    return parser


def run(
    parser: argparse.ArgumentParser,
    opened: Callable[[argparse.Namespace], AbstractContextManager[Items]],
    is_there: Callable[[Path], bool] = Path.exists,
) -> None:
    """Copy what `opened` reads into the new store; end the program with one line if that cannot be."""
    options = parser.parse_args()
    if not is_there(options.source):
        raise SystemExit(f"{parser.prog}: {options.source} does not exist")
    try:
        move = Move(options)
        with opened(options) as items:
            move.all(items)
    except (RefusedError, alexpy.AlexError, OSError) as error:
        raise SystemExit(f"{parser.prog}: {error}") from None


class Move:
    """One copy: the ways to read keys and values, and the two passes."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options, self.dest = options, options.dest
        self.unfinished = self.dest.with_name(f"{self.dest.name}.unfinished")
        self.read_key = key_reader(options.keys)
        wide = "uint64" if options.keys.endswith("Q") else "int64"
        self.kind = options.kind or ("uuid" if options.keys == "uuid" else wide)
        if os.path.lexists(self.dest):
            raise RefusedError(f"{self.dest} is already there; nothing was changed")
        if os.path.lexists(self.unfinished):
            raise RefusedError(
                f"{self.unfinished} is already there: another copy is under way, or was cut off; if it was "
                "cut off, remove what it left (nothing was changed)"
            )

    def all(self, items: Items) -> None:
        """Copy, compare and name the store; a copy that fails is removed."""
        try:
            self.copy(items)
            compared = self.compare(items)
            os.rename(self.unfinished, self.dest)  # noqa: PTH104 - never onto a store: fails if it is not empty
        except BaseException:
            shutil.rmtree(self.unfinished, ignore_errors=True)
            raise
        folder = os.open(self.dest.absolute().parent, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)
        print(
            f"{self.dest}: {compared:,} items of {self.options.source} copied and compared, all equal "
            f"(keys: {self.kind}, values: {self.options.values})"
        )

    def copy(self, items: Items) -> None:
        """Make the new store."""
        kind: Any = self.kind
        codec: Any = CODECS[self.options.values]
        try:
            made = alexpy.open(self.unfinished, key=kind, codec=codec)
        except ValueError as error:
            raise RefusedError(f"--kind: {error}") from None
        copied = 0
        with made as store:
            for keys, values in self.batches(items()):
                store.put_many(keys, values)
                copied += len(values)
                if copied // REPORT_ITEMS > (copied - len(values)) // REPORT_ITEMS:
                    print(f"{copied:,} items copied", file=sys.stderr)
            if copied != len(store):
                raise RefusedError(
                    f"{copied:,} items have only {len(store):,} different keys; nothing was kept"
                )

    def compare(self, items: Items) -> int:
        """Read the source again, and find each item of it in the store; return how many there are."""
        compared = 0
        with alexpy.open(self.unfinished, read_only=True) as store:
            for keys, values in self.batches(items()):
                for key, here, there in zip(keys, values, store.get_many(keys), strict=True):
                    if here != there:
                        raise RefusedError(
                            f"key {key} has {_short(here)} in the source and {_short(there)} in the copy: "
                            "the source was changed meanwhile, or this codec changes the value; "
                            "nothing was kept"
                        )
                compared += len(values)
            if compared != len(store):
                raise RefusedError(
                    f"{len(store):,} items were copied and {compared:,} are there now; nothing was kept"
                )
        return compared

    def batches(self, items: Iterable[tuple[Any, Any]]) -> Iterator[tuple[Any, list[Any]]]:
        """Yield keys and values as the store takes them, one batch after the other."""
        keys: list[int] = []
        values: list[Any] = []
        size = 0
        for key, value in items:
            try:
                keys.append(self.checked(self.read_key(key)))
            except (TypeError, ValueError, struct.error) as error:
                raise RefusedError(
                    f"the key {_short(key)} cannot be taken over as --keys {self.options.keys}, "
                    f"kind {self.kind}: {error}; nothing was kept"
                ) from None
            values.append(self.value(key, value))
            size += len(value) if isinstance(value, (bytes, str)) else len(repr(value))
            if len(keys) == BATCH_ITEMS or size >= BATCH_BYTES:
                yield self.as_kind(keys), values
                keys, values, size = [], [], 0
        if keys:
            yield self.as_kind(keys), values

    def checked(self, key: int) -> int:
        """Return a key that the kind has."""
        least, most = {"uint64": (0, 2**64 - 1), "uuid": (0, 2**128 - 1)}.get(
            self.kind, (-(2**63), 2**63 - 1)
        )
        if not least <= key <= most:
            raise ValueError(f"it is outside {least} to {most}")
        return key

    def as_kind(self, keys: list[int]) -> Any:
        """Return integers as keys; moments are made of them."""
        return np.array(keys, np.int64).view(self.kind) if self.kind.startswith("datetime64") else keys

    def value(self, key: object, value: Any) -> Any:
        """Return a value as the codec takes it."""
        wanted = self.options.values
        try:
            if isinstance(value, bytes) and wanted != "bytes":
                return value.decode() if wanted == "text" else json.loads(value)
        except ValueError as error:
            raise RefusedError(
                f"the value of key {_short(key)} is no {wanted}: {error}; nothing was kept"
            ) from None
        if wanted != "json" and not isinstance(value, bytes if wanted == "bytes" else str):
            raise RefusedError(
                f"the value of key {_short(key)} is a {type(value).__name__}, not {wanted}; see --values; "
                "nothing was kept"
            )
        return value


def key_reader(name: str) -> Callable[[Any], int]:
    """Return the function that makes an integer of a key of the source."""
    named = {"int": _number, "text": _decimal, "uuid": _uuid}
    if name in named:
        return named[name]
    try:
        packed = struct.Struct(name)
        if type(packed.unpack(bytes(packed.size))[0]) is int and len(packed.unpack(bytes(packed.size))) == 1:
            return lambda key: int(packed.unpack(key)[0])
    except (struct.error, IndexError, UnicodeEncodeError):
        pass
    raise RefusedError(f"--keys {name!r} is neither int, text, uuid nor the struct format of one integer")


def _number(key: object) -> int:
    if type(key) is not int:
        raise ValueError(f"it is a {type(key).__name__}, not an int")
    return key


def _decimal(key: object) -> int:
    text = key.decode() if isinstance(key, bytes) else key
    if not isinstance(text, str) or str(number := int(text)) != text:
        raise ValueError("it is not the text of an integer as str() writes it")
    return number


def _uuid(key: object) -> int:
    if isinstance(key, bytes):
        return uuid.UUID(bytes=key).int
    return uuid.UUID(str(key)).int


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}... ({len(text):,} characters)"
