"""Checkpoints: on demand, in the background, at closing; damage in an image changes no answer."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np
import pytest

import alexpy
from alexpy.errors import ClosedError, ReadOnlyError

if TYPE_CHECKING:
    from pathlib import Path

    from command_line import CommandLine

COUNT = 20_000


def _fill(store: alexpy.Store) -> dict[int, bytes]:
    keys = np.random.default_rng(1).integers(-(2**63), 2**63 - 1, COUNT)
    values = [int(key).to_bytes(8, "little", signed=True) for key in keys]
    store.put_many(keys, values)
    store.delete_many(keys[:100])
    return dict(zip(keys[100:].tolist(), values[100:], strict=True))


def _images(path: Path) -> list[Path]:
    return sorted(path.glob("img-*.idx"))


def test_a_checkpoint_leaves_nothing_to_replay_and_changes_nothing(store_path: Path) -> None:
    with alexpy.open(store_path) as store:
        expected = _fill(store)
        before = store.stats()
        assert before.tail_bytes > COUNT * 32
        store.checkpoint()
        assert store.stats().tail_bytes == 0
        assert len(_images(store_path)) == 1
        store.checkpoint()
        assert len(_images(store_path)) == 1, "nothing was written since"
        assert dict(store) == expected
    with alexpy.open(store_path) as store:
        after = store.stats()
        assert (after.keys, after.live_bytes, after.tail_bytes < 4096) == (
            before.keys,
            before.live_bytes,
            True,
        )
        assert dict(store) == expected
        store[1] = b"changed"
        assert store.verify().ok
    with alexpy.open(store_path, read_only=True) as store:
        assert dict(store) == expected | {1: b"changed"}
        with pytest.raises(ReadOnlyError):
            store.checkpoint()
    with pytest.raises(ClosedError):
        store.checkpoint()


def test_the_background_thread_writes_images_and_keeps_two(store_path: Path) -> None:
    with alexpy.open(store_path, checkpoint_tail_bytes=100_000) as store:
        for first in range(0, 20_000, 1000):
            store.put_many(np.arange(first, first + 1000), np.zeros((1000, 50), np.uint8))
        deadline = time.monotonic() + 60
        while store.stats().tail_bytes > 900_000 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert store.stats().tail_bytes <= 900_000
        assert 1 <= len(_images(store_path)) <= 3
        assert len(store) == 20_000
    assert 1 <= len(_images(store_path)) <= 2
    with alexpy.open(store_path) as store:
        assert list(store) == list(range(20_000))


@pytest.mark.parametrize("read_mode", ["mmap", "pread"])
@pytest.mark.slow
def test_an_image_damaged_in_any_block_changes_no_answer(store_path: Path, read_mode: str) -> None:
    with alexpy.open(store_path) as store:
        expected = _fill(store)
        store.checkpoint()
    image = _images(store_path)[-1]
    whole = image.read_bytes()
    for at in [9, 4095, *range(4096 + 700, len(whole), 65_536 // 2)]:
        data = bytearray(whole)
        data[at] ^= 16
        image.write_bytes(data)
        # Nobody but a reader: the damaged file stays.
        with alexpy.open(store_path, read_only=True, read_mode=read_mode) as store:
            assert store.get_many(list(expected)) == list(expected.values())
            assert not store.verify().ok
        image.write_bytes(data)
        with alexpy.open(store_path, read_mode=read_mode) as store:
            assert dict(store) == expected
            store.checkpoint()
            assert store.verify().ok
        assert image not in _images(store_path) or image.read_bytes() != bytes(data)
        for other in _images(store_path):
            if other != image:
                image = other
        whole = image.read_bytes()


def test_a_store_without_its_images_opens_as_well(store_path: Path) -> None:
    with alexpy.open(store_path) as store:
        expected = _fill(store)
        store.checkpoint()
    for image in _images(store_path):
        image.unlink()
    with alexpy.open(store_path) as store:
        assert dict(store) == expected


def test_the_command_writes_an_image(store_path: Path, run: CommandLine, tmp_path: Path) -> None:
    with alexpy.open(store_path) as store:
        store[1] = b"one"
    assert _images(store_path) == []
    told = run("checkpoint", store_path).succeeds().out
    assert told == f"the next opening of {store_path} reads 0 B of log (before: 64 B)\n".encode()
    assert len(_images(store_path)) == 1
    run("checkpoint", tmp_path / "nothing").fails(3, "no store")
    assert not (tmp_path / "nothing").exists()
