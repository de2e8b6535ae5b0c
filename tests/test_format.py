"""Stores that earlier builds wrote can be opened, read and written: `data/format-1` is frozen.

Made by rust/store/examples/format_fixture.rs with every kind of record and file: `closed` was closed, the
writer of `killed` died twice. `index.idx` was saved by `AlexIndex.save`: the squares below a million. A
later format gets a folder of its own beside this one.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest

import alexpy
import format_reader

DATA = Path(__file__).with_name("data") / "format-1"
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


def test_the_frozen_stores_are_as_they_were_made() -> None:
    found = hashlib.sha256()
    for file in sorted(file for file in DATA.rglob("*") if file.is_file()):
        found.update(file.relative_to(DATA).as_posix().encode() + b"\0" + file.read_bytes())
    assert found.hexdigest() == "25d7f9f5b3874d08fc76749f2d8d610855435c128af6b5b66d80158e0ea6fb50"


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
