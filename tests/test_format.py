"""Stores that earlier builds wrote can be opened, read and written: `data/format-1` is frozen.

Made by rust/store/examples/format_fixture.rs with every kind of record and file: `closed` was closed, the
writer of `killed` died twice. `index.idx` was saved by `AlexIndex.save`: the squares below a million. A
later format gets a folder of its own beside this one. `data/format-1-kinds` was made by format_kinds.py: the
same format with every other kind of keys, and with codecs; a shipped store, and a sharded one.
`data/format-1-compressed` was made by it, too: stores of compressed values.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import alexpy
import format_kinds
import format_reader
from alexpy import ship

DATA = Path(__file__).with_name("data") / "format-1"
KINDS = Path(__file__).with_name("data") / "format-1-kinds"
COMPRESSED = Path(__file__).with_name("data") / "format-1-compressed"
STORES = ["closed", "killed"]


def expected(name: str) -> dict[int, bytes]:
    listing = json.loads((DATA / f"{name}.json").read_text())
    return {int(key): bytes.fromhex(value) for key, value in listing.items()}


@pytest.fixture(params=STORES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def old_store(name: str, tmp_path: Path) -> Path:
    """A copy of a frozen store."""
    return Path(shutil.copytree(DATA / name, tmp_path / name))


@pytest.mark.parametrize(
    ("folder", "told"),
    [
        (DATA, "25d7f9f5b3874d08fc76749f2d8d610855435c128af6b5b66d80158e0ea6fb50"),
        (KINDS, "ca741ca63446d19792b1a3b088e9bb1dc89a92ea8184ae95cf95054fc00eebff"),
        (COMPRESSED, "f77fd0f5a9d053b32c6fb638fd2c7bd538c981cc353b206afd2046f8b7aca997"),
    ],
    ids=["plain", "kinds", "compressed"],
)
def test_the_frozen_stores_are_as_they_were_made(folder: Path, told: str) -> None:
    found = hashlib.sha256()
    for file in sorted(file for file in folder.rglob("*") if file.is_file()):
        found.update(file.relative_to(folder).as_posix().encode() + b"\0" + file.read_bytes())
    assert found.hexdigest() == told


def test_a_reader_written_from_the_document_finds_every_item(name: str) -> None:
    found = format_reader.read(DATA / name)
    assert found.items == expected(name)
    assert found.clean == (name == "closed")
    assert found.images == 2
    assert set(found.kinds) == set(range(1, 11)), "every kind of record is in it"
    assert set(found.origins) == ({0, 2} if name == "closed" else {0, 1, 2})


@pytest.mark.parametrize("read_mode", ["mmap", "pread"])
def test_a_frozen_store_opens_read_only_and_stays_as_it_is(
    name: str, old_store: Path, read_mode: str
) -> None:
    before = {file.name: file.read_bytes() for file in old_store.iterdir()}
    items = expected(name)
    with alexpy.open(old_store, read_only=True, read_mode=read_mode) as store:
        assert list(store.items()) == sorted(items.items())
        assert store.get_many(list(items)) == list(items.values())
        assert store.verify().ok
    assert {file.name: file.read_bytes() for file in old_store.iterdir()} == before


@pytest.mark.parametrize("images", [2, 1, 0])
def test_a_frozen_store_opens_for_writing_from_any_of_its_images(
    name: str, old_store: Path, images: int
) -> None:
    # The newest image goes first.
    for image in sorted(old_store.glob("img-*.idx"), reverse=True)[: 2 - images]:
        image.unlink()
    items = expected(name)
    with alexpy.open(old_store, create=False) as store:
        assert dict(store) == items
        assert len(store) == len(items)
        store.put_many([5, 6, 7], [b"new"] * 3)
        store.delete_range(1000, 1030)
        items = {key: value for key, value in items.items() if not 1000 <= key < 1030}
        items |= dict.fromkeys((5, 6, 7), b"new")
    with alexpy.open(old_store) as store:
        assert dict(store) == items
        store.compact()
        store.checkpoint()
        assert dict(store) == items
        assert store.verify().ok
    with alexpy.open(old_store) as store:
        assert dict(store) == items


def test_a_frozen_store_is_verified_repaired_and_backed_up(
    name: str, old_store: Path, tmp_path: Path
) -> None:
    items = expected(name)
    report = alexpy.repair(old_store, tmp_path / "repaired", mode="salvage")
    assert (report.lost, report.damaged) == (0, ())
    with alexpy.open(old_store, read_only=True) as store:
        store.backup(tmp_path / "copy")
    for made in ("repaired", "copy"):
        with alexpy.open(tmp_path / made, create=False) as store:
            assert dict(store) == items
            assert store.verify().ok


def test_a_frozen_index_loads(tmp_path: Path) -> None:
    copy = Path(shutil.copy(DATA / "index.idx", tmp_path))
    index = alexpy.AlexIndex.load(copy)
    index.check()
    assert list(index.items()) == [(key * key, -key) for key in range(1000)]
    index[-1] = 7
    index.check()
    assert copy.read_bytes() == (DATA / "index.idx").read_bytes(), "changes stay in memory"


# --- other keys, codecs, places and shards --------------------------------------------------------------

# docs/format.md numbers the kinds of keys.
NUMBERS = ["int64", "uint64", *(f"datetime64[{unit}]" for unit in ("s", "ms", "us", "ns")), "uuid"]
OF_KINDS = sorted(file.stem for file in KINDS.glob("*.json") if file.stem != "place")
ZSTD = sorted(file.stem for file in COMPRESSED.glob("*.json"))


@pytest.fixture(params=OF_KINDS + ZSTD)
def of_a_kind(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, dict[str, Any]]:
    """A copy of a frozen store, and what it holds."""
    folder = COMPRESSED if request.param in ZSTD else KINDS
    copy = Path(shutil.copytree(folder / request.param, tmp_path / request.param))
    return copy, json.loads((folder / f"{request.param}.json").read_text())


def known_codec(name: str | None) -> Any:
    by_name = {codec.name: codec for codec, _ in format_kinds.CODECS.values()}
    return None if name is None else by_name[name]


def test_the_frozen_stores_have_each_kind_of_keys_and_each_codec() -> None:
    listings = [json.loads((KINDS / f"{name}.json").read_text()) for name in OF_KINDS]
    assert {one["key"] for one in listings} == set(NUMBERS)
    assert {one["codec"] for one in listings} == {
        None,
        *(codec.name for codec, _ in format_kinds.CODECS.values()),
    }


def test_the_reader_from_the_document_finds_other_keys_and_values(
    of_a_kind: tuple[Path, dict[str, Any]],
) -> None:
    path, told = of_a_kind
    found = format_reader.read(path)
    assert {str(key): value.hex() for key, value in found.items.items()} == told["items"]
    assert (NUMBERS[found.key], found.codec) == (told["key"], told["codec"])
    assert found.clean == (not path.name.endswith("-killed"))
    assert found.images >= 1
    zstd = path.name.startswith("zstd")
    assert found.compression == ("zstd" if zstd else None)
    # Among those of a compressed store are dictionaries, and puts of either kind that are compressed.
    assert set(found.kinds) >= {3, 4, 5, 7, 8, 9, 10} | ({11, 33, 38} if zstd else {1, 6})


@pytest.mark.parametrize("read_mode", ["mmap", "pread"])
def test_a_frozen_store_of_any_kind_opens_read_only_verifies_and_stays_as_it_is(
    of_a_kind: tuple[Path, dict[str, Any]], read_mode: Any
) -> None:
    path, told = of_a_kind
    before = {file.name: file.read_bytes() for file in path.iterdir()}
    with alexpy.open(path, read_only=True, read_mode=read_mode, codec=known_codec(told["codec"])) as store:
        assert (store.key_kind, store.codec_name) == (told["key"], told["codec"])
        assert format_kinds.items(store) == told["items"]
        assert list(store) == sorted(store)
        assert store.verify().ok
        assert store.get_many(list(store)) is not None
    assert {file.name: file.read_bytes() for file in path.iterdir()} == before


@pytest.mark.parametrize("image", [True, False])
def test_a_frozen_store_of_any_kind_is_written_compacted_and_repaired(
    of_a_kind: tuple[Path, dict[str, Any]], image: bool, tmp_path: Path
) -> None:
    path, told = of_a_kind
    codec, kind = known_codec(told["codec"]), told["key"]
    if not image:
        for file in path.glob("img-*.idx"):
            file.unlink()
    alexpy.repair(path, tmp_path / "repaired", mode="salvage")
    with alexpy.open(tmp_path / "repaired", read_only=True) as store:
        assert format_kinds.items(store) == told["items"]
    of_codec = {made.name: value for made, value in format_kinds.CODECS.values()}
    compression = "zstd" if path.name.startswith("zstd") else None
    value = of_codec[told["codec"]](5) if codec else b"five"
    with alexpy.open(path, create=False, key=kind, codec=codec) as store:
        store[format_kinds.key_of(kind, 95)] = value
        del store[format_kinds.key_of(kind, 8)]
        store.compact()
        store.checkpoint()
    with alexpy.open(path, create=False) as store:
        assert store.compression == compression
        found = format_kinds.items(store)
        assert found.pop("95")
        assert found == {key: value for key, value in told["items"].items() if key != "8"}
        assert store.verify().ok


def test_what_was_shipped_comes_back_and_is_followed(tmp_path: Path) -> None:
    pytest.importorskip("obstore", reason="obstore is not installed: pip install 'alexpy[ship]'")
    place = Path(shutil.copytree(KINDS / "place", tmp_path / "place"))
    told = json.loads((KINDS / "place.json").read_text())
    assert [str(one.seq) for one in ship.shipments(place)] == list(told)
    for seq, items in told.items():
        ship.restore(place, tmp_path / seq, at=int(seq))
        with alexpy.open(tmp_path / seq) as store:
            assert format_kinds.items(store) == items
            assert store.verify().ok
    ship.follow(place, tmp_path / "mirror")
    with alexpy.open(tmp_path / "mirror", read_only=True) as store:
        assert format_kinds.items(store) == list(told.values())[-1]
    assert ship.push(tmp_path / list(told)[-1], place).generation == 2


def test_frozen_shards_are_read_and_published_anew(tmp_path: Path) -> None:
    path = Path(shutil.copytree(KINDS / "shards", tmp_path / "shards"))
    with alexpy.ShardedStore.open(path) as store:
        assert (store.epoch, store.bounds) == (2, [(None, 200), (200, None)])
        assert dict(store) == {key: b"%d" % (2 * key) for key in range(0, 300, 10)}
    alexpy.ShardedStore.publish(path, [("low-1", None, 100), ("high-1", 100, None)], epoch=3)
    with alexpy.ShardedStore.open(path) as store:
        assert dict(store) == {key: b"%d" % key for key in range(0, 300, 10)}
