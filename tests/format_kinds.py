"""Writes the frozen stores of `data/format-1-kinds`: closed and killed, for each kind of keys and each codec.

And a place to which a store was shipped, and a sharded store. Run once for each format, never over what a
release has left behind: `python tests/format_kinds.py FOLDER`. Beside each store lies what it holds: keys as
the integers that its users know, values in hexadecimal. With `--compressed` it writes those of
`data/format-1-compressed`.
"""

from __future__ import annotations

import json
import shutil
import struct
import sys
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import alexpy
from alexpy import codecs, ship

if TYPE_CHECKING:
    from collections.abc import Callable

UNITS = ("s", "ms", "us", "ns")
TOP = 1 << 64
# The ends of each kind, and what is around zero.
EDGES: dict[str, list[int]] = {
    "int64": [-(1 << 63), -1, 0, 1, (1 << 63) - 1],
    "uint64": [0, 1, (1 << 63) - 1, 1 << 63, TOP - 1],
    "uuid": [0, 1, TOP - 1, TOP, TOP + 1, (1 << 127) - 1, 1 << 127, (1 << 128) - 1],
    # The least integer is no moment.
    **{f"datetime64[{unit}]": [1 - (1 << 63), -1, 0, 1, (1 << 63) - 1] for unit in UNITS},
}
RECORD = np.dtype([("a", "<i4"), ("b", "<f8")])
CODECS: dict[str, tuple[Any, Callable[[int], Any]]] = {
    "text": (codecs.text, lambda i: f"Wert {i} \u2713"),
    "json": (codecs.json, lambda i: {"i": i, "l": [None, True, "x" * (i % 9)]}),
    "numpy": (codecs.numpy("<f8", (3,)), lambda i: np.arange(3) + i / 4),
    "records": (codecs.numpy(RECORD), lambda i: np.array((i, i / 2), RECORD)),
    "struct": (codecs.struct("<ih"), lambda i: (i, -i)),
}


def key_of(kind: str, number: int) -> Any:
    """The key that users know by a number."""
    if kind.startswith("datetime64"):
        return np.int64(number).view(f"M8[{kind[11:-1]}]")
    return uuid.UUID(int=number) if kind == "uuid" else number


def number_of(kind: str, key: Any) -> int:
    """The number of a key."""
    if kind.startswith("datetime64"):
        return int(key.view(np.int64))
    return key.int if kind == "uuid" else int(key)


def fill(store: alexpy.Store[Any, Any], value: Callable[[int], Any]) -> None:
    """Every call that makes a kind of record, an image, relocated records, and a tail behind the image."""
    kind = store.key_kind
    step = 1 << 70 if kind == "uuid" else 1_234_567_890_123
    for number in EDGES[kind]:
        store[key_of(kind, number)] = value(number % 97)
    for turn in range(3):
        numbers = [step * i + 5 for i in range(30)]
        store.put_many([key_of(kind, one) for one in numbers], [value(i + turn) for i in range(30)])
        del store[key_of(kind, numbers[3 + turn])]
        store.delete_range(key_of(kind, numbers[10]), key_of(kind, numbers[12 + turn]))
        with store.batch() as batch:
            batch[key_of(kind, 7)] = value(7 + turn)
            del batch[key_of(kind, numbers[20])]
            batch.delete_range(key_of(kind, numbers[25]), key_of(kind, numbers[27]))
        store.flush()
        if turn == 1:
            store.compact()
            store.checkpoint()
    store[key_of(kind, 8)] = value(8)


def items(store: alexpy.Store[Any, Any]) -> dict[str, str]:
    """What a store holds, without its codec."""
    found = {}
    for key in store:
        view = store.get_view(key)
        assert view is not None
        found[str(number_of(store.key_kind, key))] = bytes(view).hex()
    return found


def make(
    folder: Path, name: str, kind: str, codec: Any, value: Callable[[int], Any], compression: Any = None
) -> None:
    """Make a store, closed and as a killed process leaves it, and list what each holds."""
    options: dict[str, Any] = {"key": kind, "segment_bytes": 8192, "background": False, "durability": "os"}
    if codec is not None:
        options["codec"] = codec
    if compression is not None:
        options["compression"] = compression
    with alexpy.open(folder / name, **options) as store:
        fill(store, value)
        listing(folder, name, store)
    (folder / name / "LOCK").unlink()
    with alexpy.open(folder / "living", **options) as store:
        fill(store, value)
        store.put_many([key_of(kind, 90), key_of(kind, 91)], [value(1), value(2)])
        shutil.copytree(folder / "living", folder / f"{name}-killed", ignore=lambda *_: ["LOCK"])
        listing(folder, f"{name}-killed", store)
    shutil.rmtree(folder / "living")


def listing(folder: Path, name: str, store: alexpy.Store[Any, Any]) -> None:
    """Note what a store holds."""
    found = {"key": store.key_kind, "codec": store.codec_name, "items": items(store)}
    (folder / f"{name}.json").write_text(json.dumps(found, indent=0) + "\n")


def make_shipped(folder: Path) -> None:
    """Ship a store twice."""
    with alexpy.open(folder / "store", segment_bytes=8192, background=False) as store:
        seen = {}
        for turn in range(2):
            store.put_many(range(50 + turn), [b"%d of %d" % (i, turn) for i in range(50 + turn)])
            shipment = ship.push(store, folder / "place")
            seen[str(shipment.seq)] = items(store)
    shutil.rmtree(folder / "store")
    (folder / "place.json").write_text(json.dumps(seen, indent=0) + "\n")


def make_shards(folder: Path) -> None:
    """Make a sharded store of two epochs."""
    path = folder / "shards"
    for epoch, bound in enumerate((100, 200), 1):
        names = (f"low-{epoch}", f"high-{epoch}")
        for name, keys in zip(names, (range(bound), range(bound, 300)), strict=True):
            with alexpy.open(path / name, segment_bytes=8192, background=False, parents=True) as store:
                store.put_many(keys[::10], [b"%d" % (key * epoch) for key in keys[::10]])
            (path / name / "LOCK").unlink()
        alexpy.ShardedStore.publish(path, [(names[0], None, bound), (names[1], bound, None)], epoch=epoch)


def row(number: int) -> dict[str, Any]:
    """A value that has much in common with the others, and some that hardly shrink."""
    names = ("departure", "arrival", "carrier", "flight", "origin", "destination", "minutes late", "gate")
    return {name: (number * 7919 + place * 104_729) % 9973 for place, name in enumerate(names)}


def main_compressed(folder: Path) -> None:
    """Make those of compressed values."""
    folder.mkdir()
    make(folder, "zstd", "int64", None, lambda i: json.dumps(row(i)).encode() * (i % 4), "zstd")
    make(folder, "zstd-uuid-json", "uuid", codecs.json, row, "zstd")


def main(folder: Path) -> None:
    """Make all of them."""
    folder.mkdir()
    for kind in EDGES:
        if kind != "int64":
            make(
                folder,
                kind.replace("[", "-").rstrip("]"),
                kind,
                None,
                lambda i: struct.pack("<q", i) * (i % 5),
            )
    for name, (codec, value) in CODECS.items():
        make(folder, f"codec-{name}", "int64", codec, value)
    make(folder, "uuid-text", "uuid", *CODECS["text"])
    make_shipped(folder)
    make_shards(folder)


if __name__ == "__main__":
    *asked, where = sys.argv[1:]
    (main_compressed if asked == ["--compressed"] else main)(Path(where))
