"""The comparison flatters nobody: floors are floors, mixes are what they are called, losses are noticed."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from alexpy.compare.keys import SEED
from alexpy.compare.suites import durable, mixes

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow


def test_the_raw_disk_replaces_bytes_that_were_written_before_the_clock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    holes = []
    written = os.pwrite

    def pwrite(file: int, data: bytes, at: int) -> int:
        # A reserved block that nobody wrote is a hole, too.
        if data.strip(b"\0"):
            holes.append(os.lseek(file, at, os.SEEK_HOLE) < os.fstat(file).st_size)
        return written(file, data, at)

    monkeypatch.setattr(os, "pwrite", pwrite)
    for cell in ("sync_single", "sync_hundred"):
        durable._raw_commits(tmp_path / cell, 10, 12_800, written=True)
    assert holes == [False] * 20


def newest_of(chosen: str, newest: int, records: int = 20_000) -> float:
    """The share of reads of a mix as D that get one of the newest keys at that time."""
    mix = replace(mixes.MIXES["ycsb_d"], chosen=chosen)
    keys = list(range(records * 2))
    todo, _ = mixes.plan(mix, keys, keys, [b""] * len(keys), records, SEED)
    held, reads, new = records, 0, 0
    for kind, key, _ in todo:
        held += kind == mixes.INSERT
        reads += kind == mixes.GET
        new += kind == mixes.GET and key >= held - newest
    return new / reads


def test_the_mix_of_the_latest_reads_the_latest() -> None:
    # YCSB's own generator gives 0.48 and 0.77.
    assert newest_of("latest", 100) == pytest.approx(0.48, abs=0.03)
    assert newest_of("latest", 2_000) == pytest.approx(0.77, abs=0.03)
    assert newest_of("uniform", 2_000) < 0.15
