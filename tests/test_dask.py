"""`alexpy.dask`: sharded stores built and read by Dask, by threads and by processes that are killed."""

from __future__ import annotations

import contextlib
import doctest
import functools
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import alexpy
from alexpy import ShardedStore, _build

dask = pytest.importorskip("dask", reason="Dask is not installed (pip install 'dask[dataframe]')")
pd = pytest.importorskip("pandas")
pa = pytest.importorskip("pyarrow")

import dask.array as da  # noqa: E402 - after the imports that may skip
import dask.dataframe as dd  # noqa: E402

import alexpy.dask  # noqa: E402
from alexpy.dask import lookup, read, write  # noqa: E402

ROWS = 5_000
BINARY = pd.ArrowDtype(pa.binary())

# What Dask and its dependencies say of each other.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


def numbers(seed: int = 1) -> Any:
    """Rows of two numbers under keys in random order."""
    random = np.random.default_rng(seed)
    keys = random.choice(10**9, ROWS, replace=False)
    return pd.DataFrame({"id": keys, "x": keys * 0.5, "y": (keys % 1000).astype(np.int32)})


def check(path: Path, frame: Any) -> None:
    with ShardedStore.open(path) as store:
        assert len(store) == len(frame)
        rows = store.get_many(frame["id"].to_numpy())
        assert (rows["x"] == frame["x"]).all()
        assert (rows["y"] == frame["y"]).all()


@pytest.mark.parametrize("shards", [1, 4])
def test_a_frame_becomes_shards_and_comes_back_sorted_with_known_divisions(
    tmp_path: Path, shards: int
) -> None:
    frame = numbers()
    assert (
        write(dd.from_pandas(frame, npartitions=5, sort=False), tmp_path / "s", key="id", shards=shards) == 1
    )
    check(tmp_path / "s", frame)
    again = read(tmp_path / "s")
    assert again.known_divisions
    assert 1 <= again.npartitions <= shards
    assert again.divisions[0] == frame["id"].min()
    assert again.divisions[-1] == frame["id"].max()
    expected = frame.set_index("id").sort_index()
    found = again.compute()
    assert (found.index == expected.index).all()
    assert {str(dtype) for dtype in found.dtypes} == {"double[pyarrow]", "int32[pyarrow]"}
    for name in ("x", "y"):
        assert (found[name].to_numpy() == expected[name].to_numpy()).all()
    # Divisions that are right find a row in one partition.
    key = int(expected.index[ROWS // 2])
    assert again.loc[key].compute()["x"].tolist() == [key * 0.5]
    last = int(expected.index[-1])
    assert again.loc[last].compute()["x"].tolist() == [last * 0.5]


@pytest.mark.parametrize("partitions", [1, 7])
def test_any_number_of_partitions_holds_every_row_once(tmp_path: Path, partitions: int) -> None:
    frame = numbers()
    write([frame[:2_000], frame[2_000:]], tmp_path / "s", key="id", shards=3)
    again = read(tmp_path / "s", partitions=partitions)
    assert again.npartitions == partitions
    sizes = again.map_partitions(len).compute().tolist()
    assert sum(sizes) == ROWS
    assert max(sizes) - min(sizes) <= 1
    assert again.index.compute().is_monotonic_increasing


def test_delayed_parts_and_an_index_of_keys_do_as_well(tmp_path: Path) -> None:
    frame = numbers()
    parts = [dask.delayed(frame[start : start + 1_000]) for start in range(0, ROWS, 1_000)]
    write(parts, tmp_path / "delayed", key="id")
    check(tmp_path / "delayed", frame)
    indexed = dd.from_pandas(frame.set_index("id").sort_index(), npartitions=4)
    write(indexed, tmp_path / "indexed", key="id")
    check(tmp_path / "indexed", frame)


def test_bytes_text_numbers_and_moments_are_values_and_moments_and_uint64_keys(tmp_path: Path) -> None:
    count = 300
    columns: dict[str, Any] = {
        "bytes": pd.array([b"%d\0" % number for number in range(count)], dtype=BINARY),
        "text": pd.array([f"<{number}>" for number in range(count)], dtype="str"),
        "one": np.arange(count) * 0.5,
        "when": np.arange(count).astype("M8[ms]"),
    }
    keys: dict[str, Any] = {
        "int64": np.arange(count) - 100,
        "uint64": np.arange(count, dtype=np.uint64) + np.uint64(2**63 - 100),
        "datetime64[us]": np.arange(count).astype("M8[us]"),
    }
    pairs = [("int64", "bytes"), ("uint64", "text"), ("datetime64[us]", "one"), ("int64", "when")]
    for kind, name in pairs:
        key, column, path = keys[kind], columns[name], tmp_path / name
        frame = pd.DataFrame({"id": key, name: column}).sample(frac=1, random_state=1)
        write([frame[:200], frame[200:]], path, key="id", shards=2)
        with ShardedStore.open(path) as store:
            assert store.key_kind == kind
            assert (np.array(list(store.values())) == np.array(list(column))).all()
        again = read(path).compute()
        assert again.index.to_numpy().tolist() == np.sort(key).tolist()
        assert again["value"].tolist() == pd.Series(column).tolist()
        stored = again["value"].dtype
        assert isinstance(stored, pd.ArrowDtype) or stored.storage == "pyarrow", "no Python objects"


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [
        ("datetime64[us]", pd.ArrowDtype(pa.timestamp("us"))),
        ("uint64", pd.ArrowDtype(pa.uint64())),
        ("int64", pd.ArrowDtype(pa.int64())),
        ("uint64", pd.UInt64Dtype()),
        ("int64", np.dtype(">i8")),
    ],
    ids=str,
)
def test_keys_of_arrow_and_of_another_byte_order_are_sorted_as_the_integers_that_they_are(
    kind: str, dtype: Any, tmp_path: Path
) -> None:
    # As floats, many of them are one.
    first = 2**63 if kind == "uint64" else 2**60
    plain = (np.arange(500, dtype=np.uint64) + np.uint64(first)).astype(kind)
    keys = np.random.default_rng(1).permutation(plain)
    column = keys.astype(dtype) if isinstance(dtype, np.dtype) else pd.array(keys, dtype)
    whole = pd.DataFrame({"id": column, "x": np.arange(500).astype(">f8")})
    write([whole[:200], whole[200:]], tmp_path / "s", key="id", shards=4)
    with ShardedStore.open(tmp_path / "s") as store:
        assert store.key_kind == kind
        assert len(store.bounds) > 1
        assert (store.keys_array() == plain).all()
        assert (store.get_array(keys) == np.arange(500)).all()


def test_a_second_write_is_the_next_epoch_and_a_reader_keeps_the_one_it_was_made_for(tmp_path: Path) -> None:
    first, second = numbers(1), numbers(2)
    assert write([first], tmp_path / "s", key="id", shards=2) == 1
    lazy = read(tmp_path / "s")
    assert write([second], tmp_path / "s", key="id", shards=3) == 2
    check(tmp_path / "s", second)
    assert sorted(lazy.compute().index) == sorted(first["id"])
    assert sorted(read(tmp_path / "s").compute().index) == sorted(second["id"])


def test_arrays_of_keys_are_looked_up_in_their_chunks(tmp_path: Path) -> None:
    frame = numbers()
    write([frame], tmp_path / "s", key="id", shards=3)
    keys = frame["id"].to_numpy()
    found = lookup(tmp_path / "s", da.from_array(keys, chunks=700))
    assert found.chunks == da.from_array(keys, chunks=700).chunks
    assert (found.compute()["x"] == frame["x"]).all()
    column = dd.from_pandas(frame, npartitions=4, sort=False)["id"].to_dask_array(lengths=True)
    assert (lookup(tmp_path / "s", column).compute()["y"] == frame["y"]).all()
    vectors = pd.DataFrame(
        {"id": range(50), "v": pd.array([bytes([i] * 6) for i in range(50)], dtype=BINARY)}
    )
    write([vectors], tmp_path / "v", key="id", shards=2)
    rows = lookup(tmp_path / "v", da.from_array([3, 99, 49], chunks=2), np.uint8, (2, 3), fill=7)
    assert rows.shape == (3, 2, 3)
    assert rows.compute()[:, 1, 2].tolist() == [3, 7, 49]
    with pytest.raises(KeyError, match="99"):
        lookup(tmp_path / "v", da.from_array([3, 99], chunks=2), np.uint8, 6).compute()
    with pytest.raises(TypeError, match="dtype is None"):
        lookup(tmp_path / "v", da.from_array([3], chunks=1))


def test_keys_in_a_list_mean_what_they_mean_to_the_store(tmp_path: Path) -> None:
    (shard,) = ShardedStore.create(tmp_path / "s", [], key="uuid", codec=alexpy.codecs.numpy(np.int64))
    with alexpy.open(shard) as one:
        one.put_many([b"x" * 16, b"y" * 15 + b"\0"], np.array([1, 2]))
    assert lookup(tmp_path / "s", [b"x" * 16, b"y" * 15 + b"\0"]).compute().tolist() == [1, 2]
    with pytest.raises(ValueError, match=r"keys\[1\] has 15 bytes"):
        lookup(tmp_path / "s", [b"x" * 16, b"y" * 15])
    assert lookup(tmp_path / "s", []).compute().tolist() == []


def test_an_empty_frame_makes_a_store_without_keys(tmp_path: Path) -> None:
    write([numbers()[:0]], tmp_path / "s", key="id")
    with ShardedStore.open(tmp_path / "s") as store:
        assert len(store) == 0
    assert len(read(tmp_path / "s")) == 0


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"x": [1.5]}, "the column 'x' is of type float64 in one part, and of type int64 in another"),
        ({"x": np.array([300], np.int16)}, "the column 'x' is of type int16 in one part, and of type int64"),
        ({"x": [1], "y": [1]}, "the column 'y' is of type int64 in one part, and missing in another"),
        ({}, "the column 'x' is of type int64 in one part, and missing in another"),
    ],
)
def test_parts_that_differ_are_refused_and_no_value_is_changed_or_left_out(
    tmp_path: Path, other: Any, message: str
) -> None:
    parts = [pd.DataFrame({"id": [1, 2], "x": [1, 2]}), pd.DataFrame({"id": [3], **other})]
    with pytest.raises(TypeError, match=message):
        write(parts, tmp_path / "s", key="id")
    assert not list(tmp_path.iterdir())


def test_a_store_that_was_made_anew_or_written_to_is_read_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "s"
    frame = pd.DataFrame({"id": range(10), "x": np.arange(10.0)})
    keys = da.from_array([1, 1000], chunks=1)
    for added in (0.0, 500.0):
        write([frame.assign(x=frame["x"] + added)], path, key="id")
        assert read(path).compute()["value"].tolist() == (frame["x"] + added).tolist()
        assert lookup(path, keys, fill=-1).compute().tolist() == [1.0 + added, -1.0]
        with ShardedStore.open(path) as store:
            (directory,) = (shard.path for shard in store.shards)
        with alexpy.open(directory) as shard:
            shard[1000] = 5.0
        assert read(path).compute().index.max() == 1000
        assert lookup(path, keys, fill=-1).compute().tolist() == [1.0 + added, 5.0]
        shutil.rmtree(path)


def test_a_field_may_be_called_key_and_a_codec_of_another_kind_gets_objects(tmp_path: Path) -> None:
    frame = pd.DataFrame({"id": range(3), "key": np.ones(3), "y": np.arange(3)})
    write([frame], tmp_path / "s", key="id")
    assert list(read(tmp_path / "s").compute().columns) == ["key", "y"]
    text = pd.DataFrame({"id": [1], "x": pd.array(["a"], dtype="str")})
    write([text], tmp_path / "j", key="id", codec=alexpy.codecs.json)
    with ShardedStore.open(tmp_path / "j") as store:
        assert store[1] == "a"


def test_shards_are_compressed_if_asked_and_another_compression_makes_nothing(tmp_path: Path) -> None:
    text = pd.DataFrame(
        {"id": range(5000), "x": [f'{{"number": {key}, "of": "a row"}}' for key in range(5000)]}
    )
    parts = [text[:2000], text[2000:]]
    for asked in (None, "zstd"):
        write(parts, tmp_path / f"{asked}", key="id", compression=asked)
        with ShardedStore.open(tmp_path / f"{asked}") as store:
            directories = [shard.path for shard in store.shards]
            assert store.get_many([0, 4999]) == [text["x"][0], text["x"][4999]]
        assert len(directories) == 2
        for directory in directories:
            with alexpy.open(directory, read_only=True) as shard:
                assert shard.compression == asked
    for wrong, error in [("lz4", ValueError), (True, TypeError)]:
        with pytest.raises(error) as of_open:
            alexpy.open(tmp_path / "wrong", compression=wrong)
        with pytest.raises(error) as of_write:
            write(parts, tmp_path / "wrong", key="id", compression=wrong)
        assert str(of_write.value) == str(of_open.value)
    assert not (tmp_path / "wrong").exists()


def test_what_would_lose_a_zone_a_null_or_another_store_is_refused(tmp_path: Path) -> None:
    zone = pd.ArrowDtype(pa.timestamp("us", tz="Europe/Paris"))
    moments = pd.array(pd.to_datetime(["2020-01-01"]), dtype=zone)
    with pytest.raises(TypeError, match="keys are integers or moments"):
        write([pd.DataFrame({"id": moments, "x": [1]})], tmp_path / "s", key="id")
    late = pd.to_datetime(["2020-01-01", None])
    with pytest.raises(ValueError, match="the value of key 2 in the column 'x' is null"):
        write([pd.DataFrame({"id": [1, 2], "x": late})], tmp_path / "s", key="id")
    with pytest.raises(ValueError, match="a key is null"):
        write(
            [pd.DataFrame({"id": pd.array([1, None], dtype="Int64"), "x": [1, 2]})], tmp_path / "s", key="id"
        )
    with pytest.raises(TypeError, match="columns need names that are text"):
        write([pd.DataFrame({"id": [1], 1: [1]})], tmp_path / "s", key="id")
    with pytest.raises(ValueError, match="shards must be 1 or more, not 0"):
        write([numbers()], tmp_path / "s", key="id", shards=0)
    assert not list(tmp_path.iterdir())
    alexpy.open(tmp_path / "plain").close()
    before = sorted((tmp_path / "plain").iterdir())
    with pytest.raises(alexpy.FormatError, match="is a store itself"):
        write([numbers()], tmp_path / "plain", key="id")
    assert sorted((tmp_path / "plain").iterdir()) == before


@pytest.mark.parametrize(
    ("frame", "error", "message"),
    [
        ({"key": [1], "x": [1]}, KeyError, "there is no column 'id'; there are 'key', 'x'"),
        ({"id": [1]}, TypeError, "there is no column beside 'id'"),
        (
            {"id": [0.5], "x": [1]},
            TypeError,
            "the column 'id' is of type float64; keys are integers or moments",
        ),
        ({"id": [1, 2, 1], "x": [1, 2, 3]}, ValueError, "the key 1 comes more than once"),
        ({"id": [1], "x": [[1]]}, TypeError, "values are numbers, text or binary"),
        (
            {"id": [1, 2], "x": pd.array([b"a", None], dtype=BINARY)},
            ValueError,
            "the value of key 2 in the column 'x' is null",
        ),
        (
            {"id": [1], "x": pd.array([b"a"], dtype=BINARY), "y": [1]},
            TypeError,
            "the column 'x' is of type binary.* several columns make a record of numbers only",
        ),
    ],
)
def test_what_cannot_be_written_is_named_and_leaves_nothing(
    tmp_path: Path, frame: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        write([pd.DataFrame(frame)], tmp_path / "s", key="id")
    assert not list(tmp_path.iterdir())
    good = numbers()
    write([good], tmp_path / "s", key="id")
    before = sorted((tmp_path / "s").iterdir())
    with pytest.raises(error, match=message):
        write([pd.DataFrame(frame)], tmp_path / "s", key="id")
    assert sorted((tmp_path / "s").iterdir()) == before
    check(tmp_path / "s", good)


def test_other_input_is_refused_with_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"give a list of them, or dask\.dataframe\.from_pandas"):
        write(numbers(), tmp_path / "s", key="id")
    with pytest.raises(ValueError, match="data has no parts"):
        write([], tmp_path / "s", key="id")
    with pytest.raises(FileNotFoundError):
        write([numbers()], tmp_path / "none" / "s", key="id")
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "none")
    ShardedStore.create(tmp_path / "u", [], key="uuid")
    with pytest.raises(TypeError, match="has UUIDs for keys, which Dask cannot order"):
        read(tmp_path / "u")


def test_ctrl_c_right_after_the_publication_leaves_the_new_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame, remove, calls = numbers(2), _build._remove, iter([KeyboardInterrupt()])

    def interrupted(directory: Path) -> None:
        for error in calls:
            raise error
        remove(directory)

    write([numbers()], tmp_path / "s", key="id")
    monkeypatch.setattr(_build, "_remove", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write([frame], tmp_path / "s", key="id")
    check(tmp_path / "s", frame)
    assert write([frame], tmp_path / "s", key="id") == 3


def test_of_two_builds_at_once_one_is_published_and_the_other_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "s"
    write([numbers(1)], path, key="id")
    before = len(list(path.iterdir()))

    others: list[str] = []

    def overtaken(phase: str) -> None:
        if phase == "closed" and not others:
            others.append(phase)
            write([numbers(3)], path, key="id")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            alexpy.dask, "_shard", functools.partial(with_phases, shard=alexpy.dask._shard, reached=overtaken)
        )
        with pytest.raises(alexpy.FencedError, match=r"epoch 2 of .* the newest is 2"):
            write([numbers(2)], path, key="id", shards=1)
    check(path, numbers(3))
    assert len(list(path.iterdir())) == before + 2


def with_phases(frame: Any, build: Any, plan: Any, *, shard: Any, reached: Any) -> str:
    """Build a shard, and tell what has been reached."""

    @contextlib.contextmanager
    def told(*arguments: Any, **options: Any) -> Any:
        with alexpy.open(*arguments, **options) as store:
            reached("made")
            yield store
            reached("written")

    reached("read")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(alexpy._store, "open", told)
        name: str = shard(frame, build, plan)
    reached("closed")
    return name


def killed_once(phase: str, *, at: str, flag: str) -> None:
    """End the process by SIGKILL the first time that a phase is reached."""
    if phase == at:
        try:
            os.close(os.open(flag, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return
        os.kill(os.getpid(), signal.SIGKILL)


CLUSTER = """
import functools, logging, sys
sys.path.insert(0, {tests!r})
import alexpy.dask, test_dask, dask
from distributed import Client, LocalCluster
if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    dask.config.set({{"distributed.scheduler.allowed-failures": 10, "temporary-directory": {folder!r}}})
    with LocalCluster(n_workers={workers}, threads_per_worker=1, dashboard_address=None, processes=True,
                      silence_logs=logging.CRITICAL) as cluster, Client(cluster):
        for phase in {phases!r}:
            killed = functools.partial(test_dask.killed_once, at=phase, flag={folder!r} + "/killed-" + phase)
            shard = alexpy.dask._shard
            alexpy.dask._shard = functools.partial(test_dask.with_phases, shard=shard, reached=killed)
            frame = test_dask.numbers(1)
            parts = [frame[start : start + 1000] for start in range(0, len(frame), 1000)]
            alexpy.dask.write(parts, {folder!r} + "/" + phase, key="id", shards=4)
            alexpy.dask._shard = shard
            read = alexpy.dask.read({folder!r} + "/" + phase)
            print(phase, len(read), int(read["y"].sum().compute()))
"""


@pytest.mark.slow
@pytest.mark.parametrize("workers", [2, 4])
def test_a_build_whose_workers_are_killed_in_each_phase_ends_right(tmp_path: Path, workers: int) -> None:
    pytest.importorskip("distributed", reason="distributed is not installed (pip install distributed)")
    phases = ["read", "made", "written", "closed"]
    program = tmp_path / "program.py"
    program.write_text(
        CLUSTER.format(tests=str(Path(__file__).parent), folder=str(tmp_path), workers=workers, phases=phases)
    )
    done = subprocess.run([sys.executable, program], capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stderr
    expected = f"{ROWS} {int(numbers(1)['y'].sum())}"
    assert done.stdout.splitlines() == [f"{phase} {expected}" for phase in phases]
    for phase in phases:
        assert (tmp_path / f"killed-{phase}").exists(), "a worker was killed"
        check(tmp_path / phase, numbers(1))
        with ShardedStore.open(tmp_path / phase) as store:
            shards = {shard.path.name for shard in store.shards}
        names = {file.name for file in (tmp_path / phase).iterdir()}
        assert names == {*shards, "SHARDS-00000001.json"}, "tries that were killed are gone"


@pytest.mark.parametrize("name", ["lookup", "read", "write"])
def test_the_example_of_a_docstring_runs(name: str, tmp_path: Path) -> None:
    names = {"np": np, "pd": pd, "da": da, "alexpy": alexpy, "path": tmp_path / "s"}
    member = getattr(alexpy.dask, name)
    (test,) = doctest.DocTestFinder(recurse=False).find(member, name, globs=names | vars(alexpy.dask))
    outcome = doctest.DocTestRunner().run(test)
    assert outcome.attempted > 0
    assert outcome.failed == 0


def test_without_dask_the_import_says_what_to_install() -> None:
    program = "import sys; sys.modules['dask'] = None; import alexpy.dask"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.rstrip().endswith("alexpy.dask needs Dask: pip install 'alexpy[dask]'")
