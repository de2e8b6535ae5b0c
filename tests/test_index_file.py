"""AlexIndex.save and AlexIndex.load: round trips, damage anywhere, files that come and go."""

from __future__ import annotations

import random
import shutil
import threading
from typing import TYPE_CHECKING

import numpy as np
import pytest

import alexpy
from alexpy import AlexIndex
from alexpy.errors import CorruptionError, FormatError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

PAGE = 4096
BLOCK = 65536
COUNT = 50_000


def _uniform() -> NDArray[np.int64]:
    return np.random.default_rng(1).integers(-(2**63), 2**63 - 1, COUNT)


def _lognormal() -> NDArray[np.int64]:
    return (np.exp(np.random.default_rng(2).normal(0, 2, COUNT)) * 1e9).astype(np.int64)


def _clustered() -> NDArray[np.int64]:
    rng = np.random.default_rng(3)
    return rng.integers(-(2**61), 2**61, 100)[rng.integers(0, 100, COUNT)] + rng.integers(0, 4096, COUNT)


def _timestamps() -> NDArray[np.int64]:
    return 1_700_000_000_000_000 + np.cumsum(
        1 + np.random.default_rng(4).exponential(1000, COUNT).astype(np.int64)
    )


def _extreme() -> NDArray[np.int64]:
    low, high = np.iinfo(np.int64).min, np.iinfo(np.int64).max
    step = np.arange(COUNT // 4)
    return np.concatenate([low + step, -1 - step, step, high - step])


@pytest.mark.parametrize(
    "keys",
    [
        _uniform,
        _lognormal,
        _clustered,
        _timestamps,
        _extreme,
        lambda: np.arange(COUNT),
        lambda: np.array([7]),
        lambda: np.array([], np.int64),
    ],
    ids=["uniform", "lognormal", "clustered", "timestamps", "extreme", "dense", "one", "none"],
)
def test_a_loaded_index_is_the_saved_one_and_can_be_changed(
    keys: Callable[[], NDArray[np.int64]], tmp_path: Path
) -> None:
    path = tmp_path / "index"
    index = AlexIndex(keys())
    index.delete_many(keys()[::5])
    index.save(path)
    loaded = AlexIndex.load(path)
    assert type(loaded) is AlexIndex
    assert loaded == index
    loaded.check()
    for changed in (index, loaded):
        changed.put_many(keys()[::3] // 2, np.arange(len(keys()[::3])))
        changed.delete_many(keys()[1::7])
    assert loaded == index
    loaded.check()
    assert AlexIndex.load(path) != loaded or len(keys()) < 2, "changes stay in memory"
    loaded.save(path)
    assert AlexIndex.load(str(path)) == loaded


def test_saving_replaces_the_file_as_a_whole_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "index"
    AlexIndex([1], [1]).save(path)
    before = AlexIndex.load(path)
    AlexIndex([2], [2]).save(path)
    assert dict(AlexIndex.load(path)) == {2: 2}
    assert dict(before) == {1: 1}, "the old file lives as long as it is mapped"
    before.save(path)
    assert dict(AlexIndex.load(path)) == {1: 1}
    path.unlink()
    assert dict(before) == {1: 1}
    with pytest.raises(FileNotFoundError) as missing:
        AlexIndex([1]).save(tmp_path / "no" / "index")
    assert missing.value.filename == str(tmp_path / "no" / "index")
    folder = tmp_path / "folder"
    folder.mkdir()
    with pytest.raises(IsADirectoryError):
        AlexIndex([1]).save(folder)
    assert sorted(tmp_path.iterdir()) == [folder]


def test_a_file_that_is_not_a_saved_index_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as missing:
        AlexIndex.load(tmp_path / "missing")
    assert missing.value.filename == str(tmp_path / "missing")
    with pytest.raises(IsADirectoryError):
        AlexIndex.load(tmp_path)
    text = tmp_path / "text"
    text.write_text("not an index, " * 1000)
    with pytest.raises(FormatError, match=r"text is not an image of an ALEX index"):
        AlexIndex.load(text)
    with pytest.raises(TypeError):
        AlexIndex.load(None)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of an index of several blocks."""
    path: Path = tmp_path_factory.mktemp("saved") / "index"
    AlexIndex(_uniform()).save(path)
    assert path.stat().st_size > 10 * BLOCK
    return path


def _damaged(saved: Path, folder: Path, at: int, bit: int = 0) -> Path:
    path = folder / "damaged"
    data = bytearray(saved.read_bytes())
    data[at] ^= 1 << bit
    path.write_bytes(data)
    return path


@pytest.mark.slow
def test_a_flipped_bit_in_any_header_byte_is_refused(saved: Path, tmp_path: Path) -> None:
    chance = random.Random(5)
    for at in range(PAGE):
        path = _damaged(saved, tmp_path, at, chance.randrange(8))
        with pytest.raises(FormatError if at < 8 else CorruptionError) as refused:
            AlexIndex.load(path)
        if at >= 8:
            assert refused.value.path == str(path)
            assert refused.value.offset in {40, PAGE - 4}


def test_a_flipped_bit_in_any_block_raises_at_its_first_use_and_ever_after(
    saved: Path, tmp_path: Path
) -> None:
    keys = np.sort(_uniform())
    oracle = AlexIndex.load(saved)
    size = saved.stat().st_size
    chance = random.Random(6)
    used = 0
    for block in range((size - PAGE) // BLOCK):
        at = PAGE + block * BLOCK + chance.randrange(BLOCK)
        path = _damaged(saved, tmp_path, at, chance.randrange(8))
        for call in (
            lambda index: index.check(),
            lambda index: index.get_many(keys),
            lambda index: list(index.items()),
            lambda index: index.scan_arrays(),
            lambda index: index.put_many(keys, keys),
            lambda index: [index.floor(int(key)) for key in keys[::100]],
            lambda index: index.delete_many(keys),
            lambda index: index.save(tmp_path / "copy"),
        ):
            index = AlexIndex.load(path)
            with pytest.raises(CorruptionError) as met:
                call(index)
            assert met.value.path == str(path)
            assert met.value.offset is not None
            assert (met.value.offset - PAGE) // BLOCK == block
            with pytest.raises(CorruptionError):
                index.get(1)
        assert not (tmp_path / "copy").exists(), "no copy is made of a damaged index"
        # Only good answers before that.
        index = AlexIndex.load(path)
        try:
            for key in keys[::10].tolist():
                assert index[key] == oracle[key]
                used += 1
        except CorruptionError:
            pass
    assert used > 0


def test_an_iterator_raises_where_the_damage_begins(saved: Path, tmp_path: Path) -> None:
    expected = AlexIndex.load(saved).scan()
    index = AlexIndex.load(_damaged(saved, tmp_path, PAGE + 5 * BLOCK + 77))
    good = []
    with pytest.raises(CorruptionError):
        good.extend(index.scan())
    assert good == [item for item, _ in zip(expected, good, strict=False)]
    # Also when a change made it copy what is left, and the index was emptied since.
    index = AlexIndex.load(_damaged(saved, tmp_path, PAGE + 5 * BLOCK + 77))
    items = index.scan()
    next(items)
    index.clear()
    assert len(index) == 0
    with pytest.raises(CorruptionError):
        list(items)


def test_a_file_cut_or_extended_anywhere_is_refused(saved: Path, tmp_path: Path) -> None:
    path = tmp_path / "cut"
    whole = saved.read_bytes()
    for length in [
        0,
        1,
        7,
        8,
        64,
        PAGE - 1,
        PAGE,
        PAGE + 1,
        BLOCK,
        len(whole) // 2,
        len(whole) - 8,
        len(whole) - 1,
    ]:
        path.write_bytes(whole[:length])
        # What is shorter than a header is no index at all.
        with pytest.raises(FormatError if length < PAGE else CorruptionError):
            AlexIndex.load(path)
    path.write_bytes(whole + b"\0")
    with pytest.raises(CorruptionError, match="expected a file of"):
        AlexIndex.load(path)


def test_a_newer_version_is_refused_with_advice(saved: Path, tmp_path: Path) -> None:
    path = tmp_path / "newer"
    for at in (10, 12):
        data = bytearray(saved.read_bytes())
        data[at] = 2
        data[PAGE - 4 : PAGE] = _crc32c(bytes(data[: PAGE - 4])).to_bytes(4, "little")
        path.write_bytes(data)
        with pytest.raises(FormatError, match="install a newer alexpy"):
            AlexIndex.load(path)


def _crc32c(data: bytes) -> int:
    crc = 0xFFFF_FFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F6_3B78 if crc & 1 else 0)
    return crc ^ 0xFFFF_FFFF


def test_threads_may_use_a_loaded_index_at_once(saved: Path) -> None:
    index = AlexIndex.load(saved)
    oracle = AlexIndex(_uniform())
    failures: list[BaseException] = []

    def read(seed: int) -> None:
        try:
            keys = np.random.default_rng(seed).permutation(_uniform())
            assert index.get_many(keys).tolist() == oracle.get_many(keys).tolist()
        except BaseException as failure:  # noqa: BLE001 - handed to the main thread
            failures.append(failure)

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_a_store_s_file_is_not_loaded_as_an_index(tmp_path: Path, saved: Path) -> None:
    copy = tmp_path / "store-like"
    shutil.copy(saved, copy)
    data = bytearray(copy.read_bytes())
    data[16:32] = bytes(range(16))
    data[PAGE - 4 : PAGE] = _crc32c(bytes(data[: PAGE - 4])).to_bytes(4, "little")
    copy.write_bytes(data)
    with pytest.raises(FormatError, match=r"alexpy\.open"):
        AlexIndex.load(copy)


def test_pickling_a_loaded_index_takes_its_data(saved: Path) -> None:
    import pickle  # noqa: PLC0415 - only here

    assert pickle.loads(pickle.dumps(AlexIndex.load(saved))) == alexpy.AlexIndex(_uniform())


@pytest.mark.parametrize("name", ["n" * 255, "é" * 127])
def test_a_file_may_have_the_longest_name_that_there_is(tmp_path: Path, name: str) -> None:
    AlexIndex({1: 2}).save(tmp_path / name)
    assert dict(AlexIndex.load(tmp_path / name)) == {1: 2}
    assert [file.name for file in tmp_path.iterdir()] == [name]
