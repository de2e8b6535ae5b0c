"""The scripts of examples/migrate: all is copied and compared, and nothing is left of what was refused.

Each source is made by the library that the script is for. Those that are not there are skipped, with the
reason: pip install lmdb plyvel rocksdict diskcache.
"""

from __future__ import annotations

import dbm.dumb
import os
import random
import shelve
import sqlite3
import struct
import subprocess
import sys
import uuid
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import alexpy

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

ROOT = Path(__file__).parents[1]
SCRIPTS = ROOT / "examples" / "migrate"
# Each starts programs.
pytestmark = pytest.mark.slow
LIBRARIES = ("sqlite3", "lmdb", "plyvel", "rocksdict", "shelve", "diskcache")
random_ = random.Random(7)
# More than a batch, in no order, some values larger than the others, one empty, both ends of the keys.
ITEMS = {
    key: random_.randbytes(random_.choice([0, 3, 100, 5_000]))
    for key in [0, 2**62, *(random_.getrandbits(63) for _ in range(12_000))]
}
SIGNED = {-(2**63): b"least", -1: b"", 0: b"zero", 2**63 - 1: b"most"}


def library(name: str) -> Any:
    return pytest.importorskip(name, reason=f"{name} is not installed: pip install {name}")


def copy(name: str, source: Path, dest: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    package = str(Path(alexpy.__file__).parents[1])
    return subprocess.run(
        [sys.executable, SCRIPTS / f"from_{name}.py", source, dest, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": package},
        timeout=60,
    )


def copied(name: str, source: Path, dest: Path, *arguments: str) -> str:
    done = copy(name, source, dest, *arguments)
    assert (done.returncode, done.stderr) == (0, ""), done
    assert not dest.with_name(f"{dest.name}.unfinished").exists()
    return done.stdout


def refused(name: str, source: Path, dest: Path, *arguments: str) -> str:
    """Assert one line of error and that nothing is left; return the line."""
    there = entries(dest.parent)
    done = copy(name, source, dest, *arguments)
    assert (done.returncode, done.stdout) == (1, ""), done
    assert done.stderr.startswith(f"from_{name}.py: "), done
    assert done.stderr.count("\n") == 1, done
    assert entries(dest.parent) == there
    return done.stderr


def entries(folder: Path) -> list[str]:
    """What is in a folder, but for the lock file that readers of LMDB make beside a file."""
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith("-lock"))


def holds(dest: Path, items: Mapping[Any, Any]) -> None:
    with alexpy.open(dest, read_only=True) as store:
        assert dict(store.items()) == dict(items)
        assert store.verify().ok


def make_sqlite3(path: Path, items: Mapping[Any, Any], encode: Callable[[int], Any] = int) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE IF NOT EXISTS item (key PRIMARY KEY, value)")
        connection.executemany("INSERT INTO item VALUES (?, ?)", [(encode(k), v) for k, v in items.items()])


def make_lmdb(path: Path, items: Mapping[Any, Any], encode: Callable[[int], bytes], **options: Any) -> None:
    lmdb = library("lmdb")
    with lmdb.open(str(path), map_size=1 << 28, max_dbs=2) as environment:
        database = environment.open_db(b"item", **options) if options else environment.open_db()
        with environment.begin(database, write=True) as transaction:
            for key, value in items.items():
                assert transaction.put(encode(key), value)


def make_plyvel(path: Path, items: Mapping[Any, Any], encode: Callable[[int], bytes]) -> None:
    with closing(library("plyvel").DB(str(path), create_if_missing=True)) as database:
        for key, value in items.items():
            database.put(encode(key), value)


def make_rocksdict(
    path: Path, items: Mapping[Any, Any], encode: Callable[[int], Any], **options: Any
) -> None:
    rocksdict = library("rocksdict")
    with closing(rocksdict.Rdict(str(path), rocksdict.Options(**options))) as database:
        for key, value in items.items():
            database[encode(key)] = value


def make_shelve(path: Path, items: Mapping[Any, Any], encode: Callable[[int], str]) -> None:
    with shelve.Shelf(dbm.dumb.open(str(path), "c")) as shelf:
        shelf.update({encode(key): value for key, value in items.items()})


def make_diskcache(path: Path, items: Mapping[Any, Any], encode: Callable[[int], Any]) -> None:
    with closing(library("diskcache").Cache(str(path), eviction_policy="none")) as cache, cache.transact():
        for key, value in items.items():
            cache[encode(key)] = value


MAKE: dict[str, Callable[..., None]] = {
    "sqlite3": make_sqlite3,
    "lmdb": make_lmdb,
    "plyvel": make_plyvel,
    "rocksdict": make_rocksdict,
    "shelve": make_shelve,
    "diskcache": make_diskcache,
}
QUERY = "SELECT key, value FROM item"


def way(name: str) -> tuple[Callable[[int], Any], tuple[str, ...]]:
    """How keys are put into a source of this library, and the arguments of the script."""
    if name == "sqlite3":
        return int, (QUERY,)
    if name in {"lmdb", "plyvel"}:
        return struct.Struct(">Q").pack, ("--keys", ">Q", "--kind", "int64")
    return (str if name == "shelve" else int), ()


@pytest.mark.parametrize("name", LIBRARIES)
def test_every_item_is_copied_compared_and_reported(tmp_path: Path, name: str) -> None:
    source, dest = tmp_path / "source", tmp_path / "store"
    encode, arguments = way(name)
    # A shelf of dbm.dumb writes its whole list of keys after each of them.
    items = dict(list(ITEMS.items())[:300]) if name == "shelve" else ITEMS
    MAKE[name](source, items, encode)
    told = copied(name, source, dest, *arguments)
    assert told == (
        f"{dest}: {len(items):,} items of {source} copied and compared, all equal "
        "(keys: int64, values: bytes)\n"
    )
    holds(dest, items)


@pytest.mark.parametrize("name", LIBRARIES)
def test_an_empty_source_becomes_an_empty_store(tmp_path: Path, name: str) -> None:
    encode, arguments = way(name)
    MAKE[name](tmp_path / "source", {}, encode)
    assert ": 0 items of " in copied(name, tmp_path / "source", tmp_path / "store", *arguments)
    holds(tmp_path / "store", {})


@pytest.mark.parametrize("name", LIBRARIES)
def test_a_store_that_is_there_is_never_touched(tmp_path: Path, name: str) -> None:
    encode, arguments = way(name)
    MAKE[name](tmp_path / "source", SIGNED if name not in {"lmdb", "plyvel"} else ITEMS, encode)
    dest = tmp_path / "store"
    with alexpy.open(dest) as store:
        store[5] = b"mine"
    assert "is already there; nothing was changed" in refused(name, tmp_path / "source", dest, *arguments)
    holds(dest, {5: b"mine"})
    dest.rename(tmp_path / "other.unfinished")
    told = refused(name, tmp_path / "source", tmp_path / "other", *arguments)
    assert "other.unfinished is already there: another copy is under way, or was cut off" in told


@pytest.mark.parametrize("name", LIBRARIES)
def test_a_source_that_is_not_there_or_of_another_kind_is_refused_and_not_made(
    tmp_path: Path, name: str
) -> None:
    if name not in {"sqlite3", "shelve"}:
        library(name)
    _, arguments = way(name)
    assert "does not exist" in refused(name, tmp_path / "missing", tmp_path / "store", *arguments)
    other = tmp_path / "other"
    other.write_bytes(b"neither of them" * 500)
    refused(name, other, tmp_path / "store", *arguments)
    assert other.read_bytes() == b"neither of them" * 500


@pytest.mark.parametrize(
    ("name", "key", "told"),
    [
        (
            "sqlite3",
            "seven",
            "the key 'seven' cannot be taken over as --keys int, kind int64: it is a str, not an int",
        ),
        ("sqlite3", 7.5, "the key 7.5 cannot be taken over"),
        ("sqlite3", None, "the key None cannot be taken over"),
        ("lmdb", b"seven", "the key b'seven' cannot be taken over as --keys >Q, kind int64: unpack requires"),
        ("lmdb", bytes([255] * 8), "it is outside -9223372036854775808 to 9223372036854775807"),
        ("plyvel", b"7", "the key b'7' cannot be taken over"),
        ("rocksdict", "7", "it is a str, not an int"),
        ("rocksdict", True, "the key True cannot be taken over"),
        ("rocksdict", 2**63, "it is outside"),
        ("shelve", "seven", "the key 'seven' cannot be taken over as --keys text"),
        ("shelve", "007", "it is not the text of an integer as str() writes it"),
        ("diskcache", (1, 2), "the key (1, 2) cannot be taken over"),
        ("diskcache", 7.5, "it is a float, not an int"),
    ],
)
def test_a_key_that_is_no_integer_stops_the_copy_by_name_and_leaves_nothing(
    tmp_path: Path, name: str, key: Any, told: str
) -> None:
    encode, arguments = way(name)
    MAKE[name](tmp_path / "source", {1: b"one", 2: b"two"}, encode)
    MAKE[name](tmp_path / "source", {key: b"bad"}, lambda bad: bad)
    error = refused(name, tmp_path / "source", tmp_path / "store", *arguments)
    assert told in error
    assert error.endswith("nothing was kept\n")


@pytest.mark.parametrize(
    ("keys", "kind", "items"),
    [
        ("<Q", "uint64", {2**64 - 1: b"last", 5: b"five", 0: b""}),
        (">Q", "uint64", {2**64 - 1: b"last", 5: b"five", 0: b""}),
        ("<q", "int64", SIGNED),
        ("<I", "int64", {2**32 - 1: b"last", 0: b""}),
    ],
)
def test_packed_integers_of_every_width_and_order_are_read(
    tmp_path: Path, keys: str, kind: str, items: dict[int, bytes]
) -> None:
    source, dest = tmp_path / "source", tmp_path / "store"
    make_lmdb(source, items, struct.Struct(keys).pack, integerkey=keys in {"<Q", "<I"})
    assert f"(keys: {kind}, " in copied("lmdb", source, dest, "--keys", keys, "--database", "item")
    holds(dest, items)


def test_a_database_of_lmdb_that_is_missing_or_has_many_values_a_key_is_refused(tmp_path: Path) -> None:
    source = tmp_path / "source"
    make_lmdb(source, {1: b"x", 2: b"y"}, struct.Struct(">Q").pack, dupsort=True)
    arguments = ("--keys", ">Q", "--database")
    assert "has no database 'none'" in refused("lmdb", source, tmp_path / "store", *arguments, "none")
    assert "(dupsort)" in refused("lmdb", source, tmp_path / "store", *arguments, "item")


def test_a_prefix_of_leveldb_is_left_out_of_the_keys_and_other_keys_are_left_alone(tmp_path: Path) -> None:
    pack = struct.Struct(">Q").pack
    make_plyvel(tmp_path / "source", {5: b"five", 6: b"six"}, lambda key: b"item-" + pack(key))
    make_plyvel(tmp_path / "source", {7: b"another"}, lambda key: b"user-%d" % key)
    copied("plyvel", tmp_path / "source", tmp_path / "store", "--keys", ">Q", "--prefix", "item-")
    holds(tmp_path / "store", {5: b"five", 6: b"six"})


def test_rocksdb_in_raw_mode_and_its_column_families_are_read(tmp_path: Path) -> None:
    rocksdict = library("rocksdict")
    source = tmp_path / "source"
    make_rocksdict(source, {5: b"five"}, struct.Struct(">q").pack, raw_mode=True)
    with closing(rocksdict.Rdict(str(source))) as database:
        family = database.create_column_family("other", rocksdict.Options(raw_mode=True))
        family[struct.pack(">q", -6)] = b"six"
    copied("rocksdict", source, tmp_path / "first", "--keys", ">q")
    holds(tmp_path / "first", {5: b"five"})
    copied("rocksdict", source, tmp_path / "second", "--keys", ">q", "--column-family", "other")
    holds(tmp_path / "second", {-6: b"six"})
    told = refused("rocksdict", source, tmp_path / "third", "--keys", ">q", "--column-family", "none")
    assert "no column family 'none'" in told


def test_what_expires_in_a_cache_is_taken_only_if_asked_and_a_fanout_cache_is_read_whole(
    tmp_path: Path,
) -> None:
    diskcache = library("diskcache")
    with closing(diskcache.FanoutCache(str(tmp_path / "source"), shards=3)) as cache:
        for key in range(20):
            cache.set(key, b"%d" % key, expire=3600 if key == 13 else None)
        cache.set(99, b"gone", expire=-1)
    told = refused("diskcache", tmp_path / "source", tmp_path / "store")
    assert "the key 13 has an expiry time" in told
    copied("diskcache", tmp_path / "source", tmp_path / "store", "--keep-expiring")
    holds(tmp_path / "store", {key: b"%d" % key for key in range(20)})


def test_rows_become_objects_and_dates_become_moments(tmp_path: Path) -> None:
    source = tmp_path / "app.db"
    with closing(sqlite3.connect(source)) as connection, connection:
        connection.execute("CREATE TABLE reading (at INTEGER, celsius REAL, place TEXT)")
        connection.executemany(
            "INSERT INTO reading VALUES (?, ?, ?)", [(0, 21.5, "Köln"), (1_000, None, "Ulm")]
        )
    query = "SELECT at, celsius, place FROM reading"
    arguments = ("--values", "json", "--kind", "datetime64[ms]")
    copied("sqlite3", source, tmp_path / "store", query, *arguments)
    holds(
        tmp_path / "store",
        {
            np.datetime64("1970-01-01T00:00:00", "ms"): {"celsius": 21.5, "place": "Köln"},
            np.datetime64("1970-01-01T00:00:01", "ms"): {"celsius": None, "place": "Ulm"},
        },
    )
    assert "the query must have two columns" in refused("sqlite3", source, tmp_path / "other", query)
    assert "no such column: key" in refused(
        "sqlite3", source, tmp_path / "other", "SELECT key, missing FROM reading"
    )


def test_uuids_are_read_as_text_and_as_bytes_and_text_stays_text(tmp_path: Path) -> None:
    items = {uuid.UUID(int=random_.getrandbits(128)): f"nämlich {at}" for at in range(50)}
    make_sqlite3(tmp_path / "text.db", items, str)
    make_sqlite3(tmp_path / "bytes.db", items, lambda key: uuid.UUID(str(key)).bytes)
    for name in ("text", "bytes"):
        arguments = (QUERY, "--keys", "uuid", "--values", "text")
        copied("sqlite3", tmp_path / f"{name}.db", tmp_path / name, *arguments)
        holds(tmp_path / name, items)


@pytest.mark.parametrize(
    ("values", "value", "told"),
    [
        ("bytes", "text", "the value of key '1' is a str, not bytes; see --values"),
        ("text", 5, "the value of key '1' is a int, not text"),
        ("text", b"\xff", "the value of key '1' is no text"),
        ("json", b"{", "the value of key '1' is no json"),
        ("json", None, "None is no value"),
        ("json", {1, 2}, "JSON has no set"),
        ("json", float("nan"), "not JSON compliant"),
        ("json", (1, 2), "key 1 has (1, 2) in the source and [1, 2] in the copy"),
        ("json", {1: "one"}, "this codec changes the value"),
    ],
)
def test_a_value_that_the_store_would_not_give_back_as_it_was_stops_the_copy(
    tmp_path: Path, values: str, value: Any, told: str
) -> None:
    make_shelve(tmp_path / "source", {1: value}, str)
    assert told in refused("shelve", tmp_path / "source", tmp_path / "store", "--values", values)


def test_two_keys_that_are_the_same_number_are_not_made_one(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "app.db")) as connection, connection:
        connection.execute("CREATE TABLE item (key, value)")
        connection.executemany("INSERT INTO item VALUES (?, ?)", [(1, b"a"), (2, b"b"), (1, b"c")])
    told = refused("sqlite3", tmp_path / "app.db", tmp_path / "store", QUERY)
    assert "3 items have only 2 different keys" in told


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--keys", "5s"), "--keys '5s' is neither int, text, uuid nor the struct format of one integer"),
        (("--keys", "<QQ"), "is neither int"),
        (("--keys", "d"), "is neither int"),
        (("--kind", "bytes"), "--kind: key must be one of"),
    ],
)
def test_options_that_mean_nothing_are_refused(tmp_path: Path, arguments: tuple[str, ...], told: str) -> None:
    make_sqlite3(tmp_path / "app.db", {1: b"one"})
    assert told in refused("sqlite3", tmp_path / "app.db", tmp_path / "store", QUERY, *arguments)


def test_a_database_in_use_is_copied_as_it_was_when_the_copy_began(tmp_path: Path) -> None:
    source = tmp_path / "app.db"
    make_sqlite3(source, SIGNED)
    with closing(sqlite3.connect(source)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("INSERT INTO item VALUES (5, x'00')")
        copied("sqlite3", source, tmp_path / "store", QUERY)
        connection.rollback()
    holds(tmp_path / "store", SIGNED)


def test_a_source_that_changes_between_the_passes_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import moving  # noqa: PLC0415 - found by the line above

    options = moving.arguments("", "int").parse_args([str(tmp_path), str(tmp_path / "store")])
    for second, told in [
        ({1: b"one", 2: b"two!"}, "key 2 has b'two!' in the source and b'two' in the copy"),
        ({1: b"one"}, "2 items were copied and 1 are there now"),
        ({1: b"one", 2: b"two", 3: b"three"}, "key 3 has b'three' in the source and None in the copy"),
    ]:
        passes = iter([{1: b"one", 2: b"two"}, second])
        with pytest.raises(moving.RefusedError, match=told.replace("!", ".")):
            moving.Move(options).all(lambda passes=passes: next(passes).items())
        assert list(tmp_path.iterdir()) == []


def test_batches_are_bounded_by_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import moving  # noqa: PLC0415 - found by the line above

    options = moving.arguments("", "int").parse_args([str(tmp_path), str(tmp_path / "store")])
    value = bytes(moving.BATCH_BYTES // 2)
    sizes = [len(values) for _, values in moving.Move(options).batches((key, value) for key in range(7))]
    assert sizes == [2, 2, 2, 1]
