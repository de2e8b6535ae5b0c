"""The comparison flatters nobody: floors are floors, mixes are what they are called, losses are noticed."""

from __future__ import annotations

import json
import os
import re
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from alexpy.compare import run as run_module
from alexpy.compare.bench import Bench, WrongAnswer
from alexpy.compare.cells import BY_ID
from alexpy.compare.engines.alexpy_store import AlexpyStore
from alexpy.compare.keys import SEED
from alexpy.compare.machine import _read_ahead
from alexpy.compare.page import page
from alexpy.compare.plots import plots
from alexpy.compare.promise import Mode
from alexpy.compare.run import Plan, Run, RunFailed
from alexpy.compare.sizes import FULL
from alexpy.compare.suites import RAW, durable, growth, mixes
from alexpy.compare.text import markdown

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import alexpy
    from alexpy.compare.engine import Item
    from command_line import CommandLine

pytestmark = pytest.mark.slow

SMALL = replace(FULL.scaled(2000), repetitions=1)


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
        durable._raw_commits(tmp_path / cell, 10, 12_800, durable.write_zeros)
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


class Emptied(AlexpyStore):
    """Loses everything when it is opened."""

    def open(self, path: Path, mode: Mode) -> None:
        super().open(path, mode)
        self._store.clear()


class Mixed(AlexpyStore):
    """Gives each key the value of another one."""

    def _opened(self, store: alexpy.Store) -> None:
        super()._opened(store)
        self.get = lambda key: store.get(key + 1) or store.get(key - 1)


@pytest.mark.parametrize(
    "workload", [name for name in (*growth.WORKLOADS, *growth.MORE) if name != "cleared"]
)
def test_a_killed_writer_whose_store_is_empty_is_noticed(workload: str, tmp_path: Path) -> None:
    with closing(Emptied()) as store, pytest.raises(WrongAnswer, match=f"growth_{workload}_opening"):
        growth.measure(Bench(), store, Mode.KILL, SMALL, tmp_path / "store", ("alexpy", workload))


@pytest.mark.parametrize("workload", [*growth.WORKLOADS, *growth.MORE])
def test_a_killed_writer_is_right_and_other_values_are_noticed(workload: str, tmp_path: Path) -> None:
    growth.measure(Bench(), AlexpyStore(), Mode.KILL, SMALL, tmp_path / "right", ("alexpy", workload))
    if workload in {"wide", "cleared"}:
        return  # there is one wide value, and nothing may be left after a clear
    with closing(Mixed()) as store, pytest.raises(WrongAnswer, match=f"growth_{workload}_opening"):
        growth.measure(Bench(), store, Mode.KILL, SMALL, tmp_path / "store", ("alexpy", workload))


@pytest.mark.parametrize(
    ("cell", "counts", "ratio"),
    [
        ("growth_queue_puts", {"alexpy": 90, "lmdb": 0}, "no work done (lmdb)"),
        ("growth_queue_puts", {"alexpy": 90, "lmdb": 0, "rocksdict": 30}, "3.0x (rocksdict)"),
        ("growth_queue_puts", {"alexpy": 0, "lmdb": 90}, "no work done (lmdb)"),
        ("put_each", {"alexpy": 90, "lmdb": 0, "sqlite": 90}, "1.0x (sqlite)"),
        ("sync_hundred", {"alexpy": 90, "lmdb": 9, RAW: 0}, "10.0x (lmdb)"),
        ("squeezed_many", {"alexpy": 0, "lmdb": 0, RAW: 0}, "1.0x (lmdb)"),
    ],
)
def test_pages_come_of_a_run_in_which_an_engine_did_no_work(
    cell: str, counts: dict[str, int], ratio: str, tmp_path: Path
) -> None:
    entries = {
        engine: {"mode": BY_ID[cell].mode, "figures": [{"seconds": 1.0, "count": count}] * 3}
        for engine, count in counts.items()
    }
    machine = {"processor": "", "cpus": 2, "load_average": 0.0, "memory_bytes": 2**33, "system": "Linux"}
    machine |= {"file_system": "ext4", "python": "3", "numpy": "2", "commit": "0"}
    machine["alexpy"] = {"version": "0.1.0", "profile": "release", "simd": "scalar"}
    found = Run("alexpy compare", FULL, machine, "2026-11-22", cells={cell: entries})
    result = json.loads(found.as_json())
    (line,) = (line for line in markdown(result, [], "x").splitlines() if f"| {ratio} |" in line)
    assert "no work done" in line
    assert not re.search(r"inf|nan|\b0\.000", line)
    plots(result, tmp_path)
    page(result, [], "x")


def test_a_range_with_one_wrong_value_is_noticed_by_the_mixes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Forgetful(AlexpyStore):
        def ranges(self, starts: list[int], length: int) -> Iterator[list[Item]]:
            for items in super().ranges(starts, length):
                yield [(items[0][0], b"another"), *items[1:]]

    monkeypatch.setattr(mixes, "MIXES", {"ycsb_e": mixes.MIXES["ycsb_e"]})
    mixes.run(Bench(), AlexpyStore(), Mode.KILL, SMALL, tmp_path)
    with closing(Forgetful()) as store, pytest.raises(WrongAnswer, match="ycsb_e"):
        mixes.run(Bench(), store, Mode.KILL, SMALL, tmp_path)


def test_an_engine_that_fails_is_named_with_what_it_said_last() -> None:
    with pytest.raises(RunFailed, match=r"^nobody in suite table: KeyError: 'nobody'$"):
        run_module.run(Plan({"table": ("nobody",)}, {}), SMALL, command="", minutes=1)


def test_an_engine_that_hangs_fails_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_module, "_WORKER_SECONDS", 0.01)
    with pytest.raises(RunFailed, match=r"^dict in suite table had not ended after 0\.01 s$"):
        run_module.run(Plan({"table": ("dict",)}, {}), SMALL, command="", minutes=1)


@pytest.mark.parametrize(
    ("failure", "code", "said"),
    [
        (RunFailed("sqlite is ill"), 4, "sqlite is ill; what was measured before is in "),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_what_was_measured_before_a_failure_is_kept(
    failure: BaseException,
    code: int,
    said: str,
    run: CommandLine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    work = run_module._work

    def failing(suite: str, engine: str, *more: Any) -> dict[str, Any]:
        if engine == "sqlite":
            raise failure
        return work(suite, engine, *more)

    words = ("compare", "--keys", 2000, "--repetitions", 1, "--suite", "small", "--output", tmp_path)
    words = (*words, "--engine", "alexpy", "--engine", "sqlite")
    with monkeypatch.context() as patched:
        patched.setattr(run_module, "_work", failing)
        ended = run(*words)
    assert ended.code == code
    assert said in ended.err
    left = tmp_path / "compare-unfinished.json"
    assert set(json.loads(left.read_text())["cells"]["load_small"]) == {"alexpy"}
    assert not (tmp_path / "compare.json").exists()
    assert run("compare", "report", left, "--markdown", tmp_path / "p.md").code == 0
    assert run(*words).code == 0
    assert not left.exists()


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    machine: dict[str, Any] = {"processor": "", "cpus": 2, "load_average": 0.0, "memory_bytes": 2**33}
    machine |= {"system": "Linux", "file_system": "ext4", "python": "3", "numpy": "2", "commit": "0"}
    machine["alexpy"] = {"version": "0.1.0", "profile": "release", "simd": "scalar"}
    (tmp_path / "raw.json").write_text(Run("alexpy compare", FULL, machine, "2026-11-22").as_json())
    return tmp_path / "raw.json"


@pytest.mark.parametrize("part", ["sizes", "machine", "started", "command", "cells", "memory", "checked"])
def test_raw_figures_without_a_part_are_not_those_of_a_run(part: str, raw: Path, run: CommandLine) -> None:
    page_made = raw.parent / "p.md"
    assert run("compare", "report", raw, "--markdown", page_made).code == 0
    page_made.unlink()
    found = json.loads(raw.read_text())
    del found[part]
    raw.write_text(json.dumps(found))
    run("compare", "report", raw, "--markdown", page_made).fails(2, "is not the compare.json of a run")
    assert list(raw.parent.iterdir()) == [raw]


def test_a_report_of_nothing_or_to_nowhere_is_refused(raw: Path, run: CommandLine) -> None:
    run("compare", "report", raw).fails(2, "--html, --markdown or --plots")
    for kind in ("--html", "--markdown"):
        run("compare", "report", raw, kind, raw.parent / "no" / "p").fails(
            2, "does not exist; make that first"
        )
    assert list(raw.parent.iterdir()) == [raw]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--quick --keys 10", "--quick and --keys"),
        ("--scale --suite small", "--scale is a suite of its own"),
        ("--minutes nan", "nan is no number of minutes"),
    ],
)
def test_options_that_contradict_each_other_are_refused(words: str, said: str, run: CommandLine) -> None:
    run("compare", *words.split()).fails(2, said)


@pytest.mark.parametrize("place", ["vda", "vda/vda1"])
def test_the_read_ahead_of_a_partition_is_that_of_its_disk(tmp_path: Path, place: str) -> None:
    (tmp_path / "block" / place).mkdir(parents=True)
    (tmp_path / "block/vda/queue").mkdir()
    (tmp_path / "block/vda/queue/read_ahead_kb").write_text("128\n")
    devices = tmp_path / "dev"
    devices.mkdir()
    assert _read_ahead(tmp_path, devices) is None
    number = tmp_path.stat().st_dev
    (devices / f"{os.major(number)}:{os.minor(number)}").symlink_to(tmp_path / "block" / place)
    assert _read_ahead(tmp_path, devices) == 128
