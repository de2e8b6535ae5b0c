"""`alexpy.ray`: sharded stores built and read by Ray, by processes that are killed."""

from __future__ import annotations

import contextlib
import doctest
import functools
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import alexpy
from alexpy import ShardedStore, _build

pytest.importorskip("ray.data", reason="Ray is not installed (pip install 'alexpy[ray]')")
pd = pytest.importorskip("pandas")
pa = pytest.importorskip("pyarrow")

import ray  # noqa: E402 - after the imports that may skip

import alexpy.ray  # noqa: E402
from alexpy.ray import Datasink, Datasource, Lookup, _lookup, _write, read, write  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
ROWS = 5_000

pytestmark = [
    # A cluster of processes is started for them.
    pytest.mark.slow,
    # Ray starts processes in most of them, which takes long on a busy machine.
    pytest.mark.timeout(300),
    # What Ray and its dependencies say of each other, and of its sockets when it stops.
    pytest.mark.filterwarnings(
        "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::ResourceWarning"
    ),
]


@pytest.fixture(scope="module", autouse=True)
def _cluster() -> Iterator[None]:
    """Two workers, which find this file; nothing is reported to anybody, and nothing left in /tmp."""
    # The path of a socket is short.
    folder = tempfile.mkdtemp(prefix="ray-")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), *sys.path]))
        ray.init(
            num_cpus=2,
            object_store_memory=200 << 20,
            include_dashboard=False,
            log_to_driver=False,
            logging_level="ERROR",
            _temp_dir=folder,
        )
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        context.print_on_execution_start = False
        try:
            yield
        finally:
            ray.shutdown()
            shutil.rmtree(folder, ignore_errors=True)


def numbers(seed: int = 1) -> Any:
    """Rows of two numbers under keys in random order."""
    random = np.random.default_rng(seed)
    keys = random.choice(10**9, ROWS, replace=False)
    return pa.table({"id": keys, "x": keys * 0.5, "y": (keys % 1000).astype(np.int32)})


def dataset(table: Any, blocks: int = 5) -> Any:
    size = -(-len(table) // blocks)
    return ray.data.from_arrow([table.slice(start, size) for start in range(0, len(table), size)])


def check(path: Path, table: Any) -> None:
    with ShardedStore.open(path) as store:
        assert len(store) == len(table)
        rows = store.get_many(table["id"].to_numpy())
        assert (rows["x"] == table["x"].to_numpy()).all()
        assert (rows["y"] == table["y"].to_numpy()).all()
    assert not list(path.glob("build-*/build-*")), "tries are gone"


def arrow(data: Any, key: str = "key") -> Any:
    """Return all rows of a Dataset as one table, sorted."""
    tables = [block for block in ray.get(data.to_arrow_refs()) if len(block)]
    return pa.concat_tables(tables).sort_by(key)


# ---- write and read ----


@pytest.mark.parametrize("shards", [1, 4])
def test_rows_become_shards_of_about_equal_size_and_come_back(tmp_path: Path, shards: int) -> None:
    table = numbers()
    assert write(dataset(table), tmp_path / "s", key="id", shards=shards) == 1
    check(tmp_path / "s", table)
    with ShardedStore.open(tmp_path / "s") as store:
        sizes = [len(shard) for shard in store.shards]
        assert len(sizes) == shards
        assert max(sizes) - min(sizes) < ROWS / 10
    again = read(tmp_path / "s")
    assert again.count() == ROWS
    found, expected = arrow(again), table.sort_by("id")
    assert found.schema == pa.schema([("key", pa.int64()), ("x", pa.float64()), ("y", pa.int32())])
    assert found.rename_columns(["id", "x", "y"]).equals(expected)


@pytest.mark.parametrize("strategy", ["default", "sort_shuffle_pull_based", "hash_shuffle"])
def test_a_store_has_as_many_shards_as_were_asked_for_however_small_the_blocks_of_ray_are(
    tmp_path: Path, strategy: str
) -> None:
    context = ray.data.DataContext.get_current()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(context, "target_max_block_size", 5_000)
        if strategy != "default":
            patch.setattr(context, "shuffle_strategy", type(context.shuffle_strategy)(strategy))
        write(dataset(numbers()), tmp_path / "s", key="id", shards=3)
    check(tmp_path / "s", numbers())
    with ShardedStore.open(tmp_path / "s") as store:
        assert len(store.shards) == 3


@pytest.mark.parametrize("blocks", [1, 7, 20])
def test_several_tasks_read_a_shard_and_their_rows_are_known_before(tmp_path: Path, blocks: int) -> None:
    write(dataset(numbers()), tmp_path / "s", key="id", shards=3)
    source = Datasource(tmp_path / "s")
    tasks = source.get_read_tasks(blocks)
    assert max(3, blocks - 3) <= len(tasks) <= max(3, blocks + 3)
    found = [(task.metadata.num_rows, pa.concat_tables(task())) for task in tasks]
    assert all(rows == len(table) for rows, table in found)
    assert sum(rows for rows, _ in found) == ROWS
    whole = sum(table.nbytes for _, table in found)
    assert whole <= sum(task.metadata.size_bytes for task in tasks) <= 4 * whole
    keys = np.concatenate([table["key"].to_numpy() for _, table in found])
    assert (keys == np.sort(numbers()["id"].to_numpy())).all(), "no range is read twice"
    limited = source.get_read_tasks(blocks, per_task_row_limit=10)
    assert [task.metadata.num_rows for task in limited] == [10] * len(tasks)
    assert [sum(map(len, task())) for task in limited] == [10] * len(tasks)


def test_datasets_that_are_read_are_cut_short_and_projected_by_ray(tmp_path: Path) -> None:
    write(dataset(numbers()), tmp_path / "s", key="id", shards=3)
    data = read(tmp_path / "s", key="id", blocks=8)
    assert data.materialize().num_blocks() in range(6, 11)
    assert data.limit(10).count() == 10
    assert data.select_columns(["y"]).sum("y") == int(numbers()["y"].to_numpy().sum())
    assert data.columns() == ["id", "x", "y"]


def test_bytes_text_numbers_and_moments_are_values_and_moments_and_uint64_keys(tmp_path: Path) -> None:
    count = 300
    columns: dict[str, Any] = {
        "bytes": pa.array([b"%d\0" % number for number in range(count)]),
        "text": pa.array([f"<{number}>" for number in range(count)]),
        "one": pa.array(np.where(np.arange(count) == 7, np.nan, np.arange(count) * 0.5)),
        "when": pa.array(np.arange(count).astype("M8[ms]")),
        "flag": pa.array(np.arange(count) % 3 == 0),
    }
    keys: dict[str, Any] = {
        "int64": np.arange(count) - 100,
        "uint64": np.arange(count, dtype=np.uint64) + np.uint64(2**63 - 100),
        "datetime64[us]": np.arange(count).astype("M8[us]") - np.timedelta64(100, "us"),
    }
    pairs = [
        ("int64", "bytes"),
        ("uint64", "text"),
        ("datetime64[us]", "one"),
        ("int64", "when"),
        ("uint64", "flag"),
    ]
    for kind, name in pairs:
        table = pa.table({"id": keys[kind], name: columns[name]})
        mixed = table.take(np.random.default_rng(1).permutation(count))
        write(dataset(mixed, 3), tmp_path / name, key="id", shards=2)
        with ShardedStore.open(tmp_path / name) as store:
            assert store.key_kind == kind
            assert len(store.shards) == 2
            assert store.keys_array().tolist() == keys[kind].tolist()
            values = list(store.values())
            assert str(values) == str(list(columns[name].to_numpy(zero_copy_only=False)))
        again = arrow(read(tmp_path / name))
        assert again["key"].to_numpy().tolist() == keys[kind].tolist()
        assert str(again["value"].to_pylist()) == str(columns[name].to_pylist())


def test_tables_of_pandas_are_written_and_their_nan_stays_a_number(tmp_path: Path) -> None:
    frame = pd.DataFrame({"id": range(10), "x": [np.nan, *range(9)], "y": range(10)})
    write(ray.data.from_pandas([frame[:5], frame[5:]]), tmp_path / "s", key="id", shards=2)
    with ShardedStore.open(tmp_path / "s") as store:
        assert np.array_equal(store.get_many(range(10))["x"], frame["x"], equal_nan=True)
    words = pd.DataFrame({"id": range(3), "x": pd.array(["a", "b", "c"], dtype="str")})
    write(ray.data.from_pandas(words), tmp_path / "t", key="id")
    with ShardedStore.open(tmp_path / "t") as store:
        assert list(store.values()) == ["a", "b", "c"]
    objects = pd.DataFrame({"id": range(2), "x": pd.Series([b"a", b"b\0"], dtype=object)})
    write(ray.data.from_pandas(objects), tmp_path / "b", key="id")
    with ShardedStore.open(tmp_path / "b") as store:
        assert list(store.values()) == [b"a", b"b\0"]


def test_a_second_write_is_the_next_epoch_and_a_reader_keeps_the_one_it_was_made_for(tmp_path: Path) -> None:
    first, second = numbers(1), numbers(2)
    assert write(dataset(first), tmp_path / "s", key="id", shards=2) == 1
    lazy, source = read(tmp_path / "s"), Datasource(tmp_path / "s")
    assert write(dataset(second), tmp_path / "s", key="id", shards=3) == 2
    check(tmp_path / "s", second)
    for data in (lazy, ray.data.read_datasource(source)):
        assert (arrow(data)["key"].to_numpy() == np.sort(first["id"].to_numpy())).all()
    assert (arrow(read(tmp_path / "s"))["key"].to_numpy() == np.sort(second["id"].to_numpy())).all()


def test_a_store_that_was_made_anew_or_written_to_is_read_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "s"
    keys = np.arange(10)
    for added in (0.0, 500.0):
        write(ray.data.from_arrow(pa.table({"id": keys, "x": keys + added})), path, key="id")
        assert arrow(read(path))["value"].to_pylist() == (keys + added).tolist()
        with ShardedStore.open(path) as store:
            (directory,) = (shard.path for shard in store.shards)
        with alexpy.open(directory) as shard:
            shard[1000] = 5.0
        assert arrow(read(path))["key"].to_pylist()[-1] == 1000
        shutil.rmtree(path)


@pytest.mark.parametrize("kind", ["arrow", "pandas"])
def test_rows_that_are_none_make_a_store_without_keys(tmp_path: Path, kind: str) -> None:
    empty = numbers().slice(0, 0)
    data = ray.data.from_arrow(empty) if kind == "arrow" else ray.data.from_pandas(empty.to_pandas())
    assert write(data, tmp_path / "s", key="id") == 1
    with ShardedStore.open(tmp_path / "s") as store:
        assert len(store) == 0
        assert store.codec is not None
        assert store.codec.dtype.names == ("x", "y")
    again = read(tmp_path / "s")
    assert again.count() == 0
    assert again.columns() == ["key", "x", "y"]
    with pytest.raises(ValueError, match="neither rows nor types"):
        write(ray.data.from_items([]), tmp_path / "none", key="id")
    assert not (tmp_path / "none").exists()


def test_a_field_may_be_called_key_or_shard_and_a_codec_of_another_kind_gets_objects(tmp_path: Path) -> None:
    table = pa.table({"id": [0, 1, 2], "key": np.ones(3), "shard": [5, 6, 7]})
    write(ray.data.from_arrow(table), tmp_path / "s", key="id", shards=2)
    with pytest.raises(ValueError, match=r"a column of the values is called 'key': .* another name by key="):
        read(tmp_path / "s")
    assert arrow(read(tmp_path / "s", key="id"), "id").equals(table)
    text = ray.data.from_items([{"id": 1, "x": "a"}])
    write(text, tmp_path / "j", key="id", codec=alexpy.codecs.json)
    with ShardedStore.open(tmp_path / "j") as store:
        assert store[1] == "a"


def test_shards_are_compressed_if_asked_and_another_compression_makes_nothing(tmp_path: Path) -> None:
    texts = [f'{{"number": {key}, "of": "a row"}}' for key in range(5000)]
    table = pa.table({"id": range(5000), "x": texts})
    write(ray.data.from_arrow(table), tmp_path / "written", key="id", shards=2, compression="zstd")
    sink = Datasink(tmp_path / "sunk", key="id", compression="zstd")
    ray.data.from_arrow(table).sort("id").write_datasink(sink)
    empty = Datasink(tmp_path / "empty", key="id", compression="zstd")
    ray.data.from_arrow(table.slice(0, 0)).write_datasink(empty)
    write(ray.data.from_arrow(table), tmp_path / "plain", key="id")
    for name, asked in [("written", "zstd"), ("sunk", "zstd"), ("empty", "zstd"), ("plain", None)]:
        with ShardedStore.open(tmp_path / name) as store:
            directories = [shard.path for shard in store.shards]
            if name != "empty":
                assert store.get_many([0, 4999]) == [texts[0], texts[4999]]
        for directory in directories:
            with alexpy.open(directory, read_only=True) as shard:
                assert shard.compression == asked
    for wrong, error in [("lz4", ValueError), (True, TypeError)]:
        with pytest.raises(error) as of_open:
            alexpy.open(tmp_path / "wrong", compression=wrong)
        for refused in (write, lambda _, *args, **options: Datasink(*args, **options)):
            with pytest.raises(error) as of_write:
                refused(ray.data.from_arrow(table), tmp_path / "wrong", key="id", compression=wrong)
            assert str(of_write.value) == str(of_open.value)
    assert not (tmp_path / "wrong").exists()


def test_uuid_keys_are_read_and_their_ranges_are_not_written(tmp_path: Path) -> None:
    paths = ShardedStore.create(tmp_path / "u", [2**64], key="uuid")
    for path, key in zip(paths, [5, 2**70], strict=True):
        with alexpy.open(path) as shard:
            shard[key] = b"%d" % key
    assert arrow(read(tmp_path / "u", blocks=4))["value"].to_pylist() == [b"5", b"%d" % 2**70]
    with pytest.raises(TypeError, match=r"fixed_size_binary.*; keys are integers or moments"):
        write(read(tmp_path / "u"), tmp_path / "v", key="key")


# ---- what is refused ----


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"x": [1.5]}, "the column 'x' is of type double in one part, and of type int64 in another"),
        ({"x": np.array([300], np.int16)}, "the column 'x' is of type int16 in one part, and of type int64"),
        ({"x": [1], "y": [1]}, "the column 'y' is of type int64 in one part, and missing in another"),
        ({}, "the column 'x' is of type int64 in one part, and missing in another"),
    ],
)
def test_blocks_that_differ_are_refused_and_no_value_is_changed_or_left_out(
    tmp_path: Path, other: Any, message: str
) -> None:
    parts = [pa.table({"id": [1, 2], "x": [1, 2]}), pa.table({"id": [3], **other})]
    with pytest.raises(TypeError, match=message):
        write(ray.data.from_arrow(parts), tmp_path / "s", key="id")
    assert not list(tmp_path.iterdir())


BAD: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"key": [1], "x": [1]}, KeyError, "there is no column 'id'; there are 'key', 'x'"),
    ({"id": [1]}, TypeError, "there is no column beside 'id'"),
    ({"id": [0.5], "x": [1]}, TypeError, "the column 'id' is of type double; keys are integers or moments"),
    ({"id": [1, 2, 1], "x": [1, 2, 3]}, ValueError, "the key 1 comes more than once"),
    ({"id": [1], "x": [[1]]}, TypeError, "values are numbers, text or binary"),
    ({"id": [1, 2], "x": [b"a", None]}, ValueError, "the value of key 2 in the column 'x' is null"),
    ({"id": [1, None], "x": [1, 2]}, ValueError, "a key is null"),
    ({"id": [1], "x": [b"a"], "y": [1]}, TypeError, "'x' is of type .*binary.* a record of numbers only"),
    (
        {"id": pa.array([0], pa.timestamp("us", tz="Europe/Paris")), "x": [1]},
        TypeError,
        "Europe/Paris.*; keys are integers or moments",
    ),
]


@pytest.mark.parametrize(("columns", "error", "message"), BAD)
def test_what_cannot_be_written_is_named_and_leaves_nothing(
    tmp_path: Path, columns: Any, error: type[Exception], message: str
) -> None:
    data = ray.data.from_arrow(pa.table(columns))
    with pytest.raises(error, match=message) as refused:
        write(data, tmp_path / "s", key="id")
    assert type(refused.value) is error, "not one of Ray's"
    with pytest.raises(error, match=message):
        data.write_datasink(Datasink(tmp_path / "s", key="id"))
    assert not list(tmp_path.iterdir())
    ShardedStore.create(tmp_path / "s", [5])
    before = sorted((tmp_path / "s").iterdir())
    with pytest.raises(error, match=message):
        write(data, tmp_path / "s", key="id")
    assert sorted((tmp_path / "s").iterdir()) == before


def test_other_input_is_refused_with_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"data is a Table; give a Dataset of Ray: ray\.data\.from_pandas"):
        write(numbers(), tmp_path / "s", key="id")
    mixed = pd.DataFrame({"id": [1, 2], "x": pd.Series([1, "a"], dtype=object)})
    with pytest.raises(TypeError, match="the column 'x' holds Python objects"):
        write(ray.data.from_pandas(mixed), tmp_path / "s", key="id")
    late = pd.DataFrame({"id": [1, 2], "x": pd.to_datetime(["2020-01-01", None])})
    with pytest.raises(ValueError, match="the value of key 2 in the column 'x' is null"):
        write(ray.data.from_pandas(late), tmp_path / "s", key="id")
    with pytest.raises(ValueError, match="shards must be 1 or more, not 0"):
        write(dataset(numbers()), tmp_path / "s", key="id", shards=0)
    with pytest.raises(FileNotFoundError):
        write(dataset(numbers()), tmp_path / "none" / "s", key="id")
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "none")
    with pytest.raises(alexpy.errors.CodecError, match="json cannot encode the value of key 1"):
        write(
            ray.data.from_items([{"id": 1, "x": b"a"}]),
            tmp_path / "s",
            key="id",
            codec=alexpy.codecs.json,
        )
    assert not list(tmp_path.iterdir())
    alexpy.open(tmp_path / "plain").close()
    before = sorted((tmp_path / "plain").iterdir())
    with pytest.raises(alexpy.FormatError, match="is a store itself"):
        write(dataset(numbers()), tmp_path / "plain", key="id")
    assert sorted((tmp_path / "plain").iterdir()) == before


# ---- the sink ----


def test_a_sink_builds_a_shard_of_each_range_that_it_gets(tmp_path: Path) -> None:
    table = numbers()
    sink = Datasink(tmp_path / "s", key="id")
    for epoch in (1, 2):
        dataset(table).sort("id", boundaries=[250_000_000, 500_000_000]).write_datasink(sink)
        assert sink.epoch == epoch
    check(tmp_path / "s", table)
    with ShardedStore.open(tmp_path / "s") as store:
        assert len(store.shards) == 3
    none = Datasink(tmp_path / "empty", key="id")
    ray.data.from_arrow(table.slice(0, 0)).write_datasink(none)
    with ShardedStore.open(tmp_path / "empty") as store:
        assert store.codec is not None
        assert store.codec.dtype.names == ("x", "y")


def test_a_sink_refuses_ranges_that_overlap_and_keys_that_two_of_them_have(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"the keys of two tasks overlap, .*: sort the dataset by key"):
        dataset(numbers()).write_datasink(Datasink(tmp_path / "s", key="id"))
    parts = [pa.table({"id": [1, 2], "x": [1, 2]}), pa.table({"id": [2, 3], "x": [1, 2]})]
    with pytest.raises(ValueError, match="the key 2 comes more than once"):
        ray.data.from_arrow(parts).write_datasink(Datasink(tmp_path / "s", key="id"))
    other = [parts[0], pa.table({"id": [3], "x": [0.5]})]
    with pytest.raises(TypeError, match="the column 'x' is of type"):
        ray.data.from_arrow(other).write_datasink(Datasink(tmp_path / "s", key="id"))
    assert not list(tmp_path.iterdir())


# ---- builders that race, and workers that are killed ----


def test_of_two_builds_at_once_one_is_published_and_the_other_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "s"
    write(dataset(numbers(1)), path, key="id")
    before = len(list(path.iterdir()))
    check_rows = _write._check_rows

    def overtaken(rows: int, built: Any) -> None:
        # The shards are built, and not published yet.
        monkeypatch.setattr(_write, "_check_rows", check_rows)
        check_rows(rows, built)
        write(dataset(numbers(3)), path, key="id", shards=1)

    monkeypatch.setattr(_write, "_check_rows", overtaken)
    with pytest.raises(alexpy.FencedError, match=r"epoch 2 of .* the newest is 2"):
        write(dataset(numbers(2)), path, key="id", shards=1)
    check(path, numbers(3))
    assert len(list(path.iterdir())) == before + 2


class Overtaken(Datasink):
    """A sink beside which another one publishes."""

    def on_write_complete(self, write_result: Any) -> None:
        write(dataset(numbers(3)), self._path, key="id", shards=1)
        super().on_write_complete(write_result)


def test_a_sink_that_was_overtaken_is_fenced_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(alexpy.FencedError, match=r"epoch 1 of .* the newest is 1"):
        dataset(numbers(2)).sort("id").write_datasink(Overtaken(tmp_path / "s", key="id"))
    check(tmp_path / "s", numbers(3))
    assert len(list((tmp_path / "s").iterdir())) == 2


@pytest.mark.parametrize("call", ["publish", "_remove"])
def test_a_sink_that_is_told_of_failure_after_its_publication_keeps_the_shards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    sink, error = Datasink(tmp_path / "s", key="id"), KeyboardInterrupt()
    sink.on_write_start()
    table = pa.table({"id": [1, 2], "x": [10, 20]})
    result = ray.data.datasource.WriteResult(2, table.nbytes, [sink.write([table], None)])
    owner: Any = _build if call == "_remove" else ShardedStore
    does = getattr(owner, call)

    def interrupted(*arguments: Any, **options: Any) -> None:
        does(*arguments, **options)
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(owner, call, interrupted)
        with pytest.raises(KeyboardInterrupt):
            sink.on_write_complete(result)
    sink.on_write_failed(error)
    with ShardedStore.open(tmp_path / "s") as store:
        assert store.get_many([1, 2]).tolist() == [10, 20]
    assert sorted(path.is_dir() for path in (tmp_path / "s").iterdir()) == [False, True]


def killed_once(phase: str, *, at: str, flag: str) -> None:
    """End the process by SIGKILL the first time that a phase is reached."""
    if phase == at:
        try:
            os.close(os.open(flag, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return
        os.kill(os.getpid(), signal.SIGKILL)


def with_phases(*arguments: Any, task: Any, reached: Any, **options: Any) -> Any:
    """Run a task that builds a shard, and tell what has been reached."""

    @contextlib.contextmanager
    def told(*parts: Any, **fields: Any) -> Any:
        with alexpy.open(*parts, **fields) as shard:
            reached("made")
            yield shard
            reached("written")

    reached("read")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(alexpy._store, "open", told)
        done = task(*arguments, **options)
    reached("closed")
    return done


def looked_at(*arguments: Any, task: Any, reached: Any, phase: str) -> Any:
    """Run a task before the build."""
    reached(phase)
    return task(*arguments)


def check_killed(path: Path, flag: Path) -> None:
    assert flag.exists(), "a worker was killed"
    check(path, numbers(1))
    with ShardedStore.open(path) as store:
        shards = {shard.path.name for shard in store.shards}
    assert {file.name for file in path.iterdir()} == {*shards, "SHARDS-00000001.json"}


@pytest.mark.parametrize("phase", ["seen", "placed", "read", "made", "written", "closed"])
def test_a_build_whose_worker_is_killed_in_any_phase_ends_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, phase: str
) -> None:
    reached = functools.partial(killed_once, at=phase, flag=str(tmp_path / "killed"))
    for name in ("seen", "placed"):
        task = getattr(_write, f"_{name}")
        monkeypatch.setattr(
            _write, f"_{name}", functools.partial(looked_at, task=task, reached=reached, phase=name)
        )
    monkeypatch.setattr(_write, "_shard", functools.partial(with_phases, task=_write._shard, reached=reached))
    assert write(dataset(numbers(1)), tmp_path / "s", key="id", shards=4) == 1
    check_killed(tmp_path / "s", tmp_path / "killed")


class Killed(Datasink):
    """A sink one of whose tasks is killed."""

    def __init__(self, path: Path, flag: Path, at: str) -> None:
        super().__init__(path, key="id")
        self._reached = functools.partial(killed_once, at=at, flag=str(flag))

    def write(self, blocks: Any, ctx: Any) -> Any:
        return with_phases(blocks, ctx, task=super().write, reached=self._reached)


@pytest.mark.parametrize("phase", ["made", "closed"])
def test_a_sink_whose_worker_is_killed_in_any_phase_ends_right(tmp_path: Path, phase: str) -> None:
    dataset(numbers(1)).sort("id").write_datasink(Killed(tmp_path / "s", tmp_path / "killed", phase))
    check_killed(tmp_path / "s", tmp_path / "killed")


def test_a_read_whose_worker_is_killed_gives_all_rows(tmp_path: Path) -> None:
    write(dataset(numbers()), tmp_path / "s", key="id", shards=3)
    reached = functools.partial(killed_once, at="read", flag=str(tmp_path / "killed"))

    class Source(Datasource):
        def _task(self, *arguments: Any) -> Any:
            task = super()._task(*arguments)
            return type(task)(
                functools.partial(looked_at, task=task.read_fn, reached=reached, phase="read"),
                task.metadata,
                schema=task.schema,
            )

    found = arrow(ray.data.read_datasource(Source(tmp_path / "s"), override_num_blocks=6))
    assert (found["key"].to_numpy() == np.sort(numbers()["id"].to_numpy())).all()
    assert (tmp_path / "killed").exists()


# ---- lookups ----


def test_actors_look_keys_up_in_their_order_and_divide_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = numbers()
    keys = table["id"].to_numpy()
    write(dataset(table), tmp_path / "s", key="id", shards=3)
    monkeypatch.setattr(_lookup, "_MANY", 1_000)
    with Lookup(tmp_path / "s", actors=3) as pool:
        rows = pool.get_array(keys)
        assert (rows["x"] == table["x"].to_numpy()).all()
        assert pool.get_array(keys[:3].tolist())["y"].tolist() == table["y"].to_pylist()[:3]
        assert pool.get_array(np.empty(0, np.int64)).shape == (0,)
        parts = ray.get([pool.submit(keys[start : start + 500]) for start in range(0, ROWS, 500)])
        assert (np.concatenate(parts) == rows).all()
        data = dataset(table).map_batches(lambda batch: {"x": pool.get_array(batch["id"])["x"]})
        assert data.sum("x") == pytest.approx(table["x"].to_numpy().sum())
        with pytest.raises(ValueError, match="keys must be one-dimensional"):
            pool.get_array(np.array([[1, 2]]))
        with pytest.raises(TypeError, match="float"):
            pool.get_array([0.5])
    with pytest.raises(alexpy.ClosedError, match="are closed"):
        pool.get_array([1])


def answer(call: Any, keys: Any) -> Any:
    """What a call gives for keys, or how it fails."""
    try:
        return call(keys() if callable(keys) else keys).tolist()
    except (TypeError, ValueError, OverflowError) as error:
        return type(error)


def masked() -> Any:
    return np.ma.masked_array([1, 2], [False, True])  # type: ignore[no-untyped-call]


LOOKED_UP: dict[str, list[Any]] = {
    "int64": [
        [],
        [1, 2],
        {1},
        lambda: iter([2, 1]),
        masked,
        [2**63],
        [True],
        [np.True_],
        [[1, 2]],
        "12",
        np.array([1], ">u2"),
    ],
    "uint64": [[], [2, 1], lambda: iter([2]), masked, [-1], [1.0], np.array([1, 2], np.int8)],
    "datetime64[us]": [
        [],
        [np.datetime64(1, "us"), np.datetime64("9000-01-01", "D")],
        [np.datetime64(1, "ns")],
        np.array([0, 1], "M8[s]"),
    ],
    "uuid": [[], [b"x" * 16, b"y" * 15], [b"x" * 15 + b"\0"], [1, 2], np.array([b"x" * 16]), [b"x" * 16, 2]],
}


@pytest.mark.parametrize("kind", LOOKED_UP)
def test_keys_that_are_looked_up_mean_what_they_mean_to_the_store(tmp_path: Path, kind: str) -> None:
    directory, *_ = ShardedStore.create(tmp_path / "s", [], key=kind, codec=alexpy.codecs.numpy(np.int64))
    with alexpy.open(directory) as shard:
        moments = np.array([1, 10**6], "M8[us]")
        shard.put_many(moments if kind == "datetime64[us]" else [1, 2], np.array([10, 20]))
        if kind == "uuid":
            shard[b"x" * 16], shard[b"y" * 15 + b"\0"] = 30, 40
    with Lookup(tmp_path / "s", fill=-1, actors=1) as pool, ShardedStore.open(tmp_path / "s") as store:
        for keys in LOOKED_UP[kind]:
            told = answer(functools.partial(store.get_array, fill=-1), keys)
            assert answer(pool.get_array, keys) == told, keys
            assert answer(lambda keys: ray.get(pool.submit(keys)), keys) == told, keys


def test_keys_that_are_absent_are_named_or_filled(tmp_path: Path) -> None:
    vectors = [{"id": number, "v": bytes([number] * 6)} for number in range(50)]
    write(ray.data.from_items(vectors), tmp_path / "v", key="id", shards=2)
    with Lookup(tmp_path / "v", np.uint8, (2, 3), fill=7) as pool:
        rows = pool.get_array([3, 99, 49])
        assert rows.shape == (3, 2, 3)
        assert rows[:, 1, 2].tolist() == [3, 7, 49]
    with Lookup(tmp_path / "v", np.uint8, 6) as pool:
        with pytest.raises(KeyError, match="99") as missing:
            pool.get_array([3, 99])
        assert type(missing.value) is KeyError
    with pytest.raises(TypeError, match="dtype is None"):
        Lookup(tmp_path / "v")
    with pytest.raises(ValueError, match="actors must be 1 or more, not 0"):
        Lookup(tmp_path / "v", np.uint8, 6, actors=0)
    with pytest.raises(FileNotFoundError):
        Lookup(tmp_path / "none")


def one_number(path: Path, value: float) -> int:
    return write(ray.data.from_arrow(pa.table({"id": [1, 2], "x": [value, value]})), path, key="id")


def test_actors_show_one_epoch_until_they_are_refreshed_also_those_that_were_killed(tmp_path: Path) -> None:
    path = tmp_path / "s"
    one_number(path, 1.0)
    with Lookup(path, fill=-1) as pool:
        each = [pool.get_array([1, 5]).tolist() for _ in range(4)]
        assert each == [[1.0, -1.0]] * 4
        one_number(path, 2.0)
        for actor in pool._actors:
            ray.kill(actor, no_restart=False)
        assert [pool.get_array([1]).tolist() for _ in range(4)] == [[1.0]] * 4
        assert pool.epoch == 1
        assert pool.refresh() == pool.epoch == 2
        assert [pool.get_array([1]).tolist() for _ in range(4)] == [[2.0]] * 4
        ray.kill(pool._actors[0], no_restart=False)
        assert [pool.get_array([1]).tolist() for _ in range(4)] == [[2.0]] * 4
        with ShardedStore.open(path) as store:
            directory = store.shards[0].path
        with alexpy.open(directory) as shard:
            shard[1] = 3.0
        pool.refresh()
        assert [pool.get_array([1]).tolist() for _ in range(4)] == [[3.0]] * 4


class KilledReader(_lookup._Reader):
    """An actor that is killed in its first call."""

    def rows(self, keys: Any, epoch: int) -> Any:
        killed_once("rows", at="rows", flag=f"{self._path}-killed")
        return super().rows(keys, epoch)


def test_a_call_during_which_its_actor_is_killed_is_called_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one_number(tmp_path / "s", 1.0)
    monkeypatch.setattr(_lookup, "_Reader", KilledReader)
    with Lookup(tmp_path / "s", actors=1) as pool:
        assert pool.get_array([2, 1]).tolist() == [1.0, 1.0]
    assert (tmp_path / "s-killed").exists()


class DyingReader(_lookup._Reader):
    """An actor that a key kills."""

    def rows(self, keys: Any, epoch: int) -> Any:
        if 2 in keys:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().rows(keys, epoch)


def test_a_call_that_ends_its_actor_each_time_raises_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one_number(tmp_path / "s", 1.0)
    monkeypatch.setattr(_lookup, "_Reader", DyingReader)
    with Lookup(tmp_path / "s", actors=1, max_task_retries=1) as pool:
        with pytest.raises(ray.exceptions.RayActorError):
            pool.get_array([2])
        assert pool.get_array([1]).tolist() == [1.0]


# ---- what documents say ----


def test_the_example_of_the_document_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    section = (ROOT / "docs/distributed.md").read_text().split("\n## Ray\n", 1)[1]
    program = re.search(r"```python\n(.*?)```", section, re.DOTALL)
    assert program is not None
    names: dict[str, Any] = {}
    exec(compile(program[1], "docs/distributed.md", "exec"), names)
    assert names["events"].count() == 1000
    assert names["rows"]["x"].tolist() == [3.5, 0.0]
    with ShardedStore.open("events") as store:
        assert len(store.shards) == 8


EXAMPLES = {
    test.name: test
    for name in alexpy.ray.__all__
    for test in doctest.DocTestFinder().find(getattr(alexpy.ray, name), name, globs={})
    if test.examples
}


def test_all_that_a_user_calls_has_an_example() -> None:
    assert EXAMPLES.keys() == {
        *alexpy.ray.__all__,
        *(f"Lookup.{call}" for call in ("get_array", "refresh", "submit")),
    }


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_example_of_a_docstring_runs(name: str, tmp_path: Path) -> None:
    path = tmp_path / "s"
    if name.startswith(("Datasource", "Lookup")):
        table = pa.table({"id": range(1000), "x": np.arange(1000) / 2, "y": np.arange(1000)})
        write(ray.data.from_arrow(table), path, key="id", shards=2)
    names = {"np": np, "pa": pa, "ray": ray, "alexpy": alexpy, "path": path}
    test = EXAMPLES[name]
    test.globs = names | {other: getattr(alexpy.ray, other) for other in alexpy.ray.__all__}
    assert doctest.DocTestRunner().run(test).failed == 0


def test_without_ray_the_import_says_what_to_install() -> None:
    program = "import sys; sys.modules['ray'] = None; import alexpy.ray"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.rstrip().endswith("alexpy.ray needs Ray: pip install 'alexpy[ray]'")
