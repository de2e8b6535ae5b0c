"""The comparison flatters nobody: floors are floors, mixes are what they are called, losses are noticed."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from alexpy.compare.suites import durable

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
