"""What a manifest and a segment say of themselves, as docs/format.md has it. Knows bytes, and no files."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from collections.abc import Mapping

MANIFESTS: Final = ("MANIFEST-A", "MANIFEST-B")
# Where a segment's header has its salt, and the bytes that the file may come to.
SALT: Final = slice(72, 80)
CAPACITY: Final = slice(88, 96)
_MAGIC = b"ALEXMAN\0"
_STORE_ID = slice(16, 32)
_GENERATION = slice(32, 40)
_HEADER_BYTES = slice(40, 44)
_COUNTS = struct.Struct("<II")
_COUNTS_AT = 100
_ENTRY = struct.Struct("<IIQQ")
_ENTRIES_AT = 112
_IS_RELOCATION = 2
_IS_NEXT = 4
_IMAGE_BYTES = 40
_PART = struct.Struct("<II")
_CUTS = 4
_CUT = struct.Struct("<QQ")
_CHECKSUM_BYTES = 4


@dataclass(frozen=True, slots=True)
class Listing:
    """A manifest."""

    store_id: str
    generation: int
    ends: Mapping[str, int]
    """Its segments, each with the bytes of it that count."""
    seq: int
    """The last sequence in the log."""
    grows: str
    """The segment in which the log goes on; empty if there is none."""
    cuts: tuple[tuple[int, int], ...]
    """Where recovery cut the log back: a sequence, and the one with which it went on after it."""

    @classmethod
    def of(cls, data: bytes) -> Self | None:
        """Return what a manifest says, whose checksum is up to others; None if it is none."""
        if not data.startswith(_MAGIC) or len(data) < _ENTRIES_AT:
            return None
        count, images = _COUNTS.unpack_from(data, _COUNTS_AT)
        if len(data) < _ENTRIES_AT + count * _ENTRY.size:
            return None
        entries = [_ENTRY.unpack_from(data, _ENTRIES_AT + i * _ENTRY.size) for i in range(count)]
        log = [
            (segment, last) for segment, flags, _, last in entries if not flags & (_IS_RELOCATION | _IS_NEXT)
        ]
        return cls(
            store_id=data[_STORE_ID].hex(),
            generation=int.from_bytes(data[_GENERATION], "little"),
            ends={segment_name(segment): end for segment, flags, end, _ in entries if not flags & _IS_NEXT},
            seq=max((last for _, last in log), default=0),
            grows=segment_name(log[-1][0]) if log else "",
            cuts=_cuts(data, _ENTRIES_AT + count * _ENTRY.size + images * _IMAGE_BYTES),
        )


def _cuts(data: bytes, begin: int) -> tuple[tuple[int, int], ...]:
    """Return the cuts among the parts of a manifest, which begin there."""
    at, end = begin, int.from_bytes(data[_HEADER_BYTES], "little") - _CHECKSUM_BYTES
    while at + _PART.size <= min(end, len(data)):
        part, size = _PART.unpack_from(data, at)
        at += _PART.size
        if part == _CUTS:
            return tuple(_CUT.iter_unpack(data[at : at + size - size % _CUT.size]))
        at += size
    return ()


def segment_name(number: int) -> str:
    """Return the name of the file of a segment."""
    return f"seg-{number:08x}.log"
