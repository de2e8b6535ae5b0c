"""A second reader of stores of format 1, written from docs/format.md alone; slow, and without an index.

It shares no code with the engine, so it tests that the document describes the format. It is for the frozen
stores of test_format.py only: it expects an undamaged store, checks every checksum and refuses anything else.
"""

from __future__ import annotations

import struct
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import zstandard

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SEGMENT_HEADER, RECORD_HEADER = 192, 24
PUT, TOMBSTONE, RANGE, BEGIN, COMMIT, BATCH_PUT, BATCH_TOMBSTONE, BATCH_RANGE, MARK, FOOTER = range(1, 11)
RELOCATION = 2
ENDED, RELOCATED, NEXT = 1, 2, 4
UINT64, UUID = 1, 6
DICTIONARY = 11
# Records of keys of 128 bits, and of compressed values, have kinds of their own.
WIDE, COMPRESSED = 16, 32
FRAME_MAGIC = bytes.fromhex("28b52ffd")


def _table() -> list[int]:
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)  # noqa: PLW2901 - the usual way to write it
        table.append(byte)
    return table


TABLE = _table()


def crc32c(data: bytes, seed: int = 0) -> int:
    crc = seed ^ 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ TABLE[(crc ^ byte) & 255]
    return crc ^ 0xFFFFFFFF


@dataclass
class Found:
    """What the files of a store hold."""

    items: dict[int, bytes] = field(default_factory=dict)
    """By the keys that users know."""
    key: int = 0
    """The number of the kind of keys."""
    codec: str | None = None
    compression: str | None = None
    kinds: Counter[int] = field(default_factory=Counter)
    origins: Counter[int] = field(default_factory=Counter)
    images: int = 0
    clean: bool = False
    durable: int = 0
    last: int = 0


def _begins(data: bytes, magic: bytes) -> tuple[bytes, int, int]:
    """Check the beginning that all files have in common; return store id, features, kind of keys."""
    found, version, least, features, store = struct.unpack_from("<8sHHI16s", data)
    assert (found, version, least, features & ~7) == (magic, 1, 1, 0)
    assert (data[44] > 0) == (features & 1 > 0)
    return bytes(store), features, data[44]


def read(path: Path) -> Found:
    found = Found()
    copies = [(path / f"MANIFEST-{letter}").read_bytes() for letter in "AB"]
    assert copies[0] == copies[1], "both copies hold the same content"
    data = copies[0]
    store, features, found.key = _begins(data, b"ALEXMAN\0")
    assert crc32c(data[:-4]) == struct.unpack_from("<I", data, len(data) - 4)[0]
    found.durable, _, clean, count, found.images, _ = struct.unpack_from("<QQIIII", data, 80)
    found.clean = clean == 1
    entries = [struct.unpack_from("<IIQQ", data, 112 + 24 * i) for i in range(count)]
    schema = dict(_parts(data[112 + 24 * count + 40 * found.images : -4]))
    found.codec, found.compression = (schema.pop(part, b"").decode() or None for part in (1, 2))
    assert (found.codec is not None, found.compression is not None) == (features & 2 > 0, features & 4 > 0)
    # Where recovery cut the log back: for whoever ships the store.
    schema.pop(4, b"")
    # Where the last dictionary is.
    assert not schema or (found.compression and list(schema) == [3])
    changes: list[tuple[int, int, int, bytes]] = []
    for segment, flags, length, last in entries:
        if not flags & NEXT:
            known = length if flags & (ENDED | RELOCATED) else None
            changes += _segment(path / f"seg-{segment:08x}.log", store, known, last, found)
    wide = found.key == UUID
    # A record counts at its sequence's place, wherever it stands.
    for _, kind, key, value in sorted(changes, key=lambda change: change[0]):
        if kind in {PUT, BATCH_PUT}:
            found.items[key] = value
        elif kind in {TOMBSTONE, BATCH_TOMBSTONE}:
            found.items.pop(key, None)
        else:
            last_key = _wide(value) if wide else struct.unpack("<q", value)[0]
            for covered in [it for it in found.items if key <= it <= last_key]:
                del found.items[covered]
    # Keys without a sign are stored with their highest bit flipped.
    flipped = {UINT64: 1 << 63, UUID: 1 << 127}.get(found.key, 0)
    found.items = {key + flipped: value for key, value in found.items.items()}
    return found


def _parts(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The parts behind the images of a manifest."""
    while data:
        part, size = struct.unpack_from("<II", data)
        yield part, data[8 : 8 + size]
        data = data[8 + size :]


def _decompressed(value: bytes, segment: bytes) -> bytes:
    """What a compressed value is, by the dictionary whose record stands in the same segment."""
    (place,) = struct.unpack_from("<I", value)
    dictionary = b""
    if place:
        (size,) = struct.unpack_from("<I", segment, 8 * place + 4)
        assert segment[8 * place + 8] == DICTIONARY
        dictionary = segment[8 * place + RECORD_HEADER : 8 * place + RECORD_HEADER + size]
    known = zstandard.ZstdCompressionDict(dictionary) if dictionary else None
    frame = FRAME_MAGIC + value[4:]
    told = zstandard.get_frame_parameters(frame)
    assert (told.dict_id, told.has_checksum) == (0, False)
    found = zstandard.ZstdDecompressor(dict_data=known).decompress(frame)
    assert len(found) == told.content_size
    return found


def _wide(halves: bytes) -> int:
    """A key of 128 bits, its low half first."""
    return int.from_bytes(halves, "little", signed=True)


def _segment(
    file: Path, store: bytes, length: int | None, last: int, found: Found
) -> Iterator[tuple[int, int, int, bytes]]:
    data = file.read_bytes()
    begins = _begins(data, b"ALEXSEG\0")
    assert (begins[0], begins[2]) == (store, found.key)
    assert crc32c(data[:188]) == struct.unpack_from("<I", data, 188)[0]
    (origin,) = struct.unpack_from("<I", data, 64)
    found.origins[origin] += 1
    seed = crc32c(data[72:80])
    at, waiting, committed = SEGMENT_HEADER, [], True
    while at < (len(data) if length is None else length) and any(data[at : at + RECORD_HEADER]):
        crc, size, kind_and_seq, key = struct.unpack_from("<IIQq", data, at)
        kind, seq = kind_and_seq & 255, kind_and_seq >> 8
        begin = at + RECORD_HEADER
        compressed = bool(kind & COMPRESSED)
        kind &= ~COMPRESSED
        if kind > WIDE:
            assert found.key == UUID
            kind -= WIDE
            key = _wide(data[begin : begin + 8] + data[at + 16 : at + 24])
            begin += 8
        end = begin + (size + 7 & ~7)
        mixed = seed ^ at // 8 * 0x9E3779B1 & 0xFFFFFFFF
        assert crc32c(data[at + 4 : end], mixed) == crc, f"{file.name} at {at}"
        value = data[begin : begin + size]
        found.kinds[kind | (COMPRESSED if compressed else 0)] += 1
        if compressed:
            assert begins[1] & 4
            assert kind in {PUT, BATCH_PUT}
            value = _decompressed(value, data)
        found.last = max(found.last, seq)
        if kind == BEGIN:
            committed, begun = False, at
            count, room = struct.unpack("<QQ", value)
        elif kind == COMMIT:
            assert (len(waiting), end - begun) == (count, room)
            assert struct.unpack("<Q", value) == (count,)
            yield from waiting
            waiting, committed = [], True
        elif kind in {BATCH_PUT, BATCH_TOMBSTONE, BATCH_RANGE}:
            waiting.append((seq, kind, key, value))
        elif kind in {PUT, TOMBSTONE, RANGE}:
            yield seq, kind, key, value
        at = end
    assert committed
    assert length is None or (at == length and (origin == RELOCATION or found.last >= last))
