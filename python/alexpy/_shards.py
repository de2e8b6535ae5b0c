"""The manifest of a sharded store: which stores hold which keys, and how a new one comes into being.

A sharded store is a directory with a store for each range of keys and, for each epoch, a manifest that never
changes. Whoever makes the file of the next epoch's name first has published it: that is the compare-and-set.
Knows files, and nothing of what is in the stores.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
import uuid
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ._path import flush, read_whole
from .errors import AlexError, CorruptionError, FencedError, FormatError

if TYPE_CHECKING:
    from collections.abc import Sequence

FORMAT = 1
KINDS = ("int64", "uint64", *(f"datetime64[{unit}]" for unit in ("s", "ms", "us", "ns")), "uuid")
# The lowest and the highest key of each kind. The integer below the first moment is NaT.
_KEYS = {"int64": (-(2**63), 2**63 - 1), "uint64": (0, 2**64 - 1), "uuid": (0, 2**128 - 1)}
_MOMENTS = (-(2**63) + 1, 2**63 - 1)
_BOUND = re.compile(r"-?[0-9]{1,39}")
_NAME = re.compile(r"SHARDS-(\d{8})\.json")


@dataclass(frozen=True, slots=True)
class Shard:
    """One store of a sharded store: its directory, and the range of keys that it holds.

    `start` and `stop` are integers: of moments the number of units since 1970, of UUIDs that of their 128
    bits. None is no bound.

    Example:
        >>> Shard("west", None, 100).stop
        100

    """

    directory: str
    start: int | None
    stop: int | None


@dataclass(frozen=True, slots=True)
class Manifest:
    """What an epoch consists of."""

    epoch: int
    key: str
    codec: str | None
    shards: tuple[Shard, ...]


def name_of(epoch: int) -> str:
    """Return the name of an epoch's manifest.

    Example:
        >>> name_of(3)
        'SHARDS-00000003.json'

    """
    return f"SHARDS-{epoch:08}.json"


def newest(path: Path) -> int:
    """Return the newest epoch in a directory; 0 if there is none.

    Raises:
        FileNotFoundError: there is no such directory.

    Example:
        >>> newest(path.parent)
        0

    """
    epochs = [int(found[1]) for file in path.iterdir() if (found := _NAME.fullmatch(file.name))]
    return max(epochs, default=0)


def triples(shards: object) -> list[tuple[str, Any, Any]]:
    """Return what a caller gives as shards, each a directory and two bounds.

    Raises:
        TypeError, ValueError: it is something else.

    Example:
        >>> triples([("west", None)])
        Traceback (most recent call last):
        ValueError: shards[0] is ('west', None); give (directory, start, stop)

    """
    if isinstance(shards, str | bytes | Mapping) or not isinstance(shards, Iterable):
        raise TypeError(f"shards is {shards!r}; give a list of (directory, start, stop)")
    found = []
    for at, shard in enumerate(shards):
        told = f"shards[{at}] is {shard!r}; give (directory, start, stop)"
        if not isinstance(shard, tuple | list):
            raise TypeError(told)
        if len(shard) != len(("directory", "start", "stop")):
            raise ValueError(told)
        directory, start, stop = shard
        if not isinstance(directory, str):
            raise TypeError(f"{told}, the directory as a str")
        found.append((directory, start, stop))
    return found


def check(shards: Sequence[Shard], where: str) -> None:
    """Refuse shards that do not cover all keys once.

    Raises:
        FormatError: they overlap, leave a gap, or name a directory outside of the sharded store.

    Example:
        >>> check([Shard("a", None, 5), Shard("b", 6, None)], "m")
        Traceback (most recent call last):
        alexpy.errors.FormatError: m: no shard has the keys from 5 to 6: a ends there and b begins here

    """
    if not shards:
        raise FormatError(f"{where}: there are no shards")
    names = [shard.directory for shard in shards]
    for name in names:
        if not name or Path(name).name != name or name.startswith("."):
            raise FormatError(f"{where}: {name!r} is not the name of a directory beside the manifest")
        if names.count(name) > 1:
            raise FormatError(f"{where}: {name} is named twice")
    first, last = shards[0], shards[-1]
    if first.start is not None or last.stop is not None:
        raise FormatError(f"{where}: the first shard must begin, and the last one end, without a bound")
    for before, after in pairwise(shards):
        wrong = _between(before, after)
        if wrong:
            raise FormatError(f"{where}: {wrong}")


def _check_bounds(shards: Sequence[Shard], kind: str, where: str) -> None:
    """Refuse bounds that no key of a kind can be; FormatError."""
    low, high = _KEYS.get(kind, _MOMENTS)
    for shard in shards:
        for bound in (shard.start, shard.stop):
            if bound is not None and not low <= bound <= high:
                raise FormatError(
                    f"{where}: {shard.directory} has the bound {bound}, and keys of the kind {kind} are from "
                    f"{low} to {high}; put a copy of the file in its place, or publish the shards again as "
                    "the next epoch"
                )


def _between(before: Shard, after: Shard) -> str | None:
    """Say what is wrong with the end of one shard and the beginning of the next."""
    end, start = before.stop, after.start
    if end is None or start is None:
        return f"{before.directory} and {after.directory} overlap: a bound is missing"
    if before.start is not None and end <= before.start:
        return f"{before.directory} ends at {end}, where it begins, or before"
    if end < start:
        return (
            f"no shard has the keys from {end} to {start}: "
            f"{before.directory} ends there and {after.directory} begins here"
        )
    if end > start:
        return f"{before.directory} and {after.directory} both have the keys from {start}"
    return None


def publish(path: Path, manifest: Manifest) -> None:
    """Make a manifest that of its epoch, durably, unless another one is.

    Whoever wants to remove shards after an error asks `names_any` first: it may have been published.

    Raises:
        FencedError: the epoch, or a later one, has been published already.
        FormatError: as `check`.
        OSError: it cannot be written; or, as the message says then, is there but could not be flushed.

    Example:
        >>> publish(path.parent, Manifest(1, "int64", None, (Shard("all", None, None),)))
        >>> newest(path.parent), read(path.parent, 1).shards
        (1, (Shard(directory='all', start=None, stop=None),))

    """
    check(manifest.shards, f"epoch {manifest.epoch}")
    if any((path / name).exists() for name in ("MANIFEST-A", "MANIFEST-B")):
        raise FormatError(f"{path} is a store itself; give a directory of its own to the shards")
    if manifest.epoch != newest(path) + 1:
        raise FencedError(
            f"epoch {manifest.epoch} of {path} cannot be published: the newest is {newest(path)}; "
            "look at what is there, and build anew on it"
        )
    body: dict[str, Any] = {
        "format": FORMAT,
        "epoch": manifest.epoch,
        "key": manifest.key,
        "codec": manifest.codec,
        "shards": [
            {"directory": shard.directory, "start": _text(shard.start), "stop": _text(shard.stop)}
            for shard in manifest.shards
        ],
    }
    text = json.dumps({**body, "checksum": _checksum(body)}, indent=1) + "\n"
    handle, temporary = tempfile.mkstemp(prefix=f".{uuid.uuid4().hex}-", dir=path)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        # A link is made only if no file has the name.
        os.link(temporary, path / name_of(manifest.epoch))
    except FileExistsError:
        raise FencedError(
            f"epoch {manifest.epoch} of {path} was published by another builder meanwhile; this one stops"
        ) from None
    finally:
        # What is left of it is read by nobody.
        with suppress(OSError):
            Path(temporary).unlink()
    try:
        flush(path)
    except OSError as error:
        raise OSError(
            error.errno,
            f"epoch {manifest.epoch} is published, but the directory could not be flushed "
            f"({error.strerror}): readers see it, and a power cut may take it back; its shards are kept",
            os.fspath(path),
        ) from error


def names_any(path: Path, epoch: int, directories: Iterable[str]) -> bool:
    """Whether a manifest of this epoch, or of a later one, names one of these directories.

    What it names is not to be removed. Of a manifest that cannot be read this is not known, and True.

    Example:
        >>> publish(path.parent, Manifest(1, "int64", None, (Shard("all", None, None),)))
        >>> names_any(path.parent, 1, ["all"]), names_any(path.parent, 1, ["other"])
        (True, False)

    """
    asked = set(directories)
    try:
        return any(
            shard.directory in asked
            for later in range(epoch, newest(path) + 1)
            if (path / name_of(later)).exists()
            for shard in read(path, later).shards
        )
    except (OSError, AlexError):
        return True


def read(path: Path, epoch: int) -> Manifest:
    """Return the manifest of an epoch.

    Raises:
        FileNotFoundError: there is no such epoch.
        CorruptionError: its checksum does not match.
        FormatError: it is of a later format, or no file, or its shards do not cover all keys once.

    Example:
        >>> read(path.parent, 5)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        FileNotFoundError: ... has no epoch 5: SHARDS-00000005.json is not there

    """
    file = path / name_of(epoch)
    try:
        body = json.loads(read_whole(file).decode())
        checksum = body.pop("checksum")
    except FileNotFoundError:
        raise FileNotFoundError(f"{path} has no epoch {epoch}: {file.name} is not there") from None
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError):
        raise _damaged(file, "it is no manifest of shards") from None
    if checksum != _checksum(body):
        raise _damaged(file, "its checksum does not match")
    try:
        if body["format"] != FORMAT:
            raise FormatError(f"{file} has format {body['format']}; this version of alexpy reads {FORMAT}")
        if body["epoch"] != epoch:
            raise FormatError(f"{file} holds epoch {body['epoch']}; it was renamed, or copied from elsewhere")
        if body["key"] not in KINDS:
            raise FormatError(
                f"{file} has keys of the kind {body['key']!r}, which this version does not know"
            )
        shards = tuple(
            Shard(entry["directory"], _number(entry["start"]), _number(entry["stop"]))
            for entry in body["shards"]
        )
        check(shards, str(file))
        _check_bounds(shards, body["key"], str(file))
        return Manifest(epoch, body["key"], body["codec"], shards)
    except (KeyError, TypeError, ValueError) as error:
        raise FormatError(f"{file} is no manifest of shards as this version writes them: {error}") from None


def _damaged(file: Path, why: str) -> CorruptionError:
    return CorruptionError(
        f"{file} is damaged: {why}; the shards that it names are untouched: put a copy of the file in its "
        "place, or publish them again as the next epoch",
        str(file),
    )


def _text(bound: int | None) -> str | None:
    # Integers of 128 bits are no numbers to most readers of JSON.
    return None if bound is None else str(bound)


def _number(bound: str | None) -> int | None:
    if bound is None:
        return None
    if not (isinstance(bound, str) and _BOUND.fullmatch(bound)):
        raise ValueError(f"a bound is {str(bound)[:50]!r}, which is no integer as a text")
    return int(bound)


def _checksum(body: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
