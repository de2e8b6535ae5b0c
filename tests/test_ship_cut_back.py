"""Stores that recovery cut back below what they had shipped: they are fenced, however far they have gone on.

Cuts among all that can happen otherwise are in shipping.py.
"""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

import alexpy
from alexpy import FencedError, ship

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("obstore", reason="obstore is not installed: pip install 'alexpy[ship]'")


def contents(path: Path) -> dict[int, bytes]:
    with alexpy.open(path, read_only=True) as store:
        return dict(store)


def change(path: Path, offset: int) -> None:
    """Flip a bit of a file."""
    data = bytearray(path.read_bytes())
    data[offset] ^= 1
    path.write_bytes(data)


def ship_and_damage(path: Path, place: Path, harm: str) -> dict[int, bytes]:
    """Make and ship a store of a few segments, and damage it; return what it held."""
    with alexpy.open(path, segment_bytes=1 << 16) as store:
        for key in range(300):
            store[key] = b"x" * 500
        ship.push(store, place)
        held = dict(store)
    segment = sorted(path.glob("seg-*"))[1]
    if harm == "removed":
        segment.unlink()
    else:
        change(segment, segment.stat().st_size // 2)
    with pytest.raises(alexpy.CorruptionError):
        alexpy.open(path)
    return held


@pytest.mark.parametrize("harm", ["changed", "removed"])
@pytest.mark.parametrize("is_compacted", [False, True])
def test_a_store_that_was_cut_back_is_fenced_however_far_it_has_gone_on(
    store_path: Path, place: Path, tmp_path: Path, harm: str, *, is_compacted: bool
) -> None:
    before = ship_and_damage(store_path, place, harm)
    shipped = ship.shipments(place)[-1]
    with alexpy.open(store_path, recovery="point_in_time", segment_bytes=1 << 16) as store:
        assert 0 < len(store) < len(before)
        # What was not proven is written again, so that the sequence is higher than the one that was shipped.
        assert store.stats().last_seq > shipped.seq
        for key in range(500):
            store[key] = b"new"
        if is_compacted:
            # Of what recovery wrote nothing is left.
            store.compact()
        text = rf"sequence {shipped.seq}, .* cut back to sequence 1\d\d since then, .*fork=True"
        for _ in range(2):
            with pytest.raises(FencedError, match=text) as raised:
                ship.push(store, place)
            assert (raised.value.epoch, raised.value.seq) == (1, shipped.seq)
        assert ship.shipments(place) == [shipped]
        forked = ship.push(store, place, fork=True)
        assert (forked.epoch, forked.history) == (2, ())
        store[1] = b"newer"
        assert ship.push(store, place).epoch == 2
        now = dict(store)
    ship.restore(place, tmp_path / "old", at=shipped.seq, epoch=1)
    assert contents(tmp_path / "old") == before
    ship.restore(place, tmp_path / "new")
    assert contents(tmp_path / "new") == now


_KILLED = """
import os, signal, sys
import alexpy
from alexpy import ship
store = alexpy.open(sys.argv[1], durability="os")
for key in range(100):
    store[key] = b"%d" % os.getpid()
    if key == 50:
        ship.push(sys.argv[1], sys.argv[2])
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_store_that_was_killed_and_lost_nothing_goes_on_in_its_epoch(
    store_path: Path, place: Path, tmp_path: Path
) -> None:
    for turn in range(1, 6):
        # What was not proven on the device is written again by the next opening, under higher sequences.
        subprocess.run([sys.executable, "-c", _KILLED, store_path, place], check=False)
        ship.follow(place, tmp_path / "mirror")
        assert ship.shipments(place)[-1].generation == 2 * turn - 1
        with alexpy.open(store_path) as store:
            assert ship.push(store, place).epoch == 1
            ship.follow(place, tmp_path / "mirror")
            assert contents(tmp_path / "mirror") == dict(store)


def test_a_restored_store_that_was_cut_back_before_what_it_came_from_has_no_past(
    store: alexpy.Store, place: Path, tmp_path: Path
) -> None:
    for key in range(50):
        store[key] = b"x" * 100
    first = ship.push(store, place)
    store[1] = b"newer"
    ship.push(store, place)
    dest = tmp_path / "restored"
    ship.restore(place, dest, at=first.seq)
    change(max(dest.glob("seg-*")), -150)
    with alexpy.open(dest, recovery="point_in_time") as restored:
        restored[100] = b"new"
        with pytest.raises(FencedError):
            ship.push(restored, place)
        assert ship.push(restored, place, fork=True).history == ()


def test_a_mirror_loses_nothing_where_the_store_was_cut_back_and_went_on(
    store: alexpy.Store, store_path: Path, place: Path, dest: Path
) -> None:
    for key in range(100):
        store[key] = b"x" * 100
    ship.push(store, place)
    ship.follow(place, dest)
    before = contents(dest)
    store.close()
    change(min(store_path.glob("seg-*")), 5000)
    with alexpy.open(store_path, recovery="point_in_time") as other:
        for key in range(1000, 2000):
            other[key] = b"new"
        with pytest.raises(FencedError, match="cut back"):
            ship.push(other, place)
        ship.follow(place, dest)
        assert contents(dest) == before
        ship.push(other, place, fork=True)
        with pytest.raises(FencedError, match="begun without"):
            ship.follow(place, dest)
        assert contents(dest) == before
        ship.follow(place, dest.with_name("another"))
        assert contents(dest.with_name("another")) == dict(other)
