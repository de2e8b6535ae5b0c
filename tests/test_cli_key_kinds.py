"""The command line and stores of every kind of key: keys are taken and shown as people write them."""

from __future__ import annotations

import json
import subprocess
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import alexpy
from command_line import command, run_process

if TYPE_CHECKING:
    from pathlib import Path

    from command_line import CommandLine

UNITS = {"s": ("", 1), "ms": (".123", 10**3), "us": (".123456", 10**6), "ns": (".123456789", 10**9)}


@dataclass(frozen=True)
class Kind:
    """Four keys of a kind in their order, as texts that are shown, and in other words for the third."""

    name: str
    texts: tuple[str, str, str, str]
    keys: tuple[Any, ...]
    other_words: tuple[str, ...]
    nonsense: tuple[str, ...]

    def told(self) -> list[Any]:
        """The keys as JSON has them."""
        return [int(text) for text in self.texts] if self.name.endswith("int64") else list(self.texts)


def moments(unit: str) -> Kind:
    digits, count = UNITS[unit]
    zeros = "." + "0" * (len(digits) - 1) if digits else ""
    texts = (
        f"1969-12-31T23:59:59{zeros}",
        f"1970-01-01T00:00:00{zeros}",
        f"2026-11-29T12:00:00{digits}",
        f"2262-04-11T23:47:16{zeros}",
    )
    other = (
        texts[2] + "Z",
        f"2026-11-29 12:00:00{digits}",
        f"2026-11-29T13:30:00{digits}+01:30",
        f"2026-11-29T07:00:00{digits}-0500",
        f"2026-11-30T01:00:00{digits}+13",
        f"{texts[2]}000" if digits else f"{texts[2]}.000",
    )
    nonsense = ("x", "NaT", "2026-13-01", "2026-02-30", "2026-11-29T24:00", "12", "2026-11-29Z", "")
    finer = f"2026-11-29T12:00:00{digits}1" if digits else "2026-11-29T12:00:00.5"
    far = "99999999999999-01-01" if unit == "s" else "292277026597-01-01"
    keys = tuple(np.datetime64(text, unit) for text in texts)
    assert int(keys[0].astype(np.int64)) == -count
    return Kind(f"datetime64[{unit}]", texts, keys, other, (*nonsense, finer, far))


UUIDS = (
    "00000000-0000-0000-0000-000000000000",
    "00000000-0000-0000-0000-0000000000ff",
    "550e8400-e29b-41d4-a716-446655440000",
    "ffffffff-ffff-ffff-ffff-ffffffffffff",
)
KINDS = [
    Kind(
        "int64",
        (str(-(2**63)), "-1", "7", str(2**63 - 1)),
        (-(2**63), -1, 7, 2**63 - 1),
        ("007",),
        ("x", "1.5", "", str(2**63), str(-(2**63) - 1), "1_0"),
    ),
    Kind(
        "uint64",
        ("0", "7", str(2**63), str(2**64 - 1)),
        (0, 7, 2**63, 2**64 - 1),
        (f"0{2**63}",),
        ("x", "-1", str(2**64), "1.5", ""),
    ),
    *map(moments, UNITS),
    Kind(
        "uuid",
        UUIDS,
        tuple(map(uuid.UUID, UUIDS)),
        (UUIDS[2].upper(), UUIDS[2].replace("-", ""), str(uuid.UUID(UUIDS[2]).int)),
        ("x", "-1", str(2**128), UUIDS[2][:-1], UUIDS[2].replace("-", "", 1), ""),
    ),
]
VALUES = ["one", "two", "three", "four"]
VALUES_AS_BYTES = [value.encode() for value in VALUES]


@pytest.fixture(params=KINDS, ids=lambda kind: kind.name)
def kind(request: pytest.FixtureRequest) -> Kind:
    assert isinstance(request.param, Kind)
    return request.param


@pytest.fixture
def stored(kind: Kind, store_path: Path) -> Path:
    with open_kind(store_path, kind) as store:
        store.put_many(list(kind.keys), VALUES_AS_BYTES)
    return store_path


def open_kind(path: Path, kind: Kind) -> alexpy.Store[Any, bytes]:
    name: Any = kind.name
    opened: alexpy.Store[Any, bytes] = alexpy.open(path, key=name)
    return opened


def contents(path: Path) -> tuple[str, list[tuple[Any, Any]]]:
    with alexpy.open(path, read_only=True) as store:
        return store.key_kind, list(store.items())


def test_keys_are_shown_as_they_are_taken(run: CommandLine, kind: Kind, stored: Path) -> None:
    lines = [f"{text}\t{value}" for text, value in zip(kind.texts, VALUES, strict=True)]
    assert run("scan", stored).succeeds().out.decode().splitlines() == lines
    assert run("scan", stored, "--reverse", "--limit", 1).out.decode().splitlines() == lines[-1:]
    assert run("get", stored, *kind.texts).succeeds().out.decode().splitlines() == lines
    for text, value in zip(kind.texts, VALUES, strict=True):
        assert run("get", stored, text).succeeds().out.decode() == value
    told = [{"key": key, "value": value} for key, value in zip(kind.told(), VALUES, strict=True)]
    assert run("scan", stored, "--json").json_lines() == told
    assert run("get", stored, *kind.texts, "--json").json_lines() == told


def test_a_key_can_be_given_in_other_words(run: CommandLine, kind: Kind, stored: Path) -> None:
    for text in kind.other_words:
        assert run("get", stored, text).succeeds().out == b"three"
        assert run("put", stored, text, "three", "--json").json_lines()[0]["replaced"] is True


def test_ranges_begin_and_end_at_keys(run: CommandLine, kind: Kind, stored: Path) -> None:
    ends = ("--start", kind.texts[1], "--stop", kind.texts[3])
    shown = run("scan", stored, *ends).succeeds().out.decode().splitlines()
    assert shown == [f"{kind.texts[1]}\ttwo", f"{kind.texts[2]}\tthree"]
    assert run("delete", stored, *ends, "--json").json_lines() == [{"deleted": 2, "absent": []}]
    assert [key for key, _ in contents(stored)[1]] == [kind.keys[0], kind.keys[3]]
    run("get", stored, *kind.texts).fails(1, f"has no keys {kind.texts[1]}, {kind.texts[2]}")
    assert run("get", stored, kind.texts[1], "--json").json_lines() == [
        {"key": kind.told()[1], "value": None}
    ]
    changes = run("changes", stored, "--json").json_lines()
    assert [change.get("key") for change in changes[:4]] == kind.told()
    removed, last = changes[4], run("changes", stored).out.decode().splitlines()[4].split("\t")
    assert removed["deleted"] is True
    if kind.name.endswith("int64"):
        assert [removed["start"], removed["stop"]] == [kind.told()[1], kind.told()[3]]
    else:
        assert removed["first"] == kind.told()[1]
        assert removed["last"] < kind.told()[3]
    assert last[1:3] == ["delete", kind.texts[1]]


@pytest.mark.parametrize("bound", [str(-(10**40)), str(10**40)])
def test_where_keys_are_numbers_a_bound_is_any_integer(
    run: CommandLine, kind: Kind, stored: Path, bound: str
) -> None:
    scanned = run("scan", stored, "--start", bound)
    if kind.name.startswith("datetime64"):
        scanned.fails(2, "--start must be a date or time in ISO 8601", bound[:40])
    else:
        assert len(scanned.succeeds().out.splitlines()) == (4 if bound[0] == "-" else 0)


def test_keys_are_deleted_one_by_one_and_seen_in_the_changes(
    run: CommandLine, kind: Kind, stored: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Half of this store is dead in the end, and compaction would free what the changes are read from.
    monkeypatch.setenv("ALEXPY_COMPACT_DEAD_RATIO", "0.99")
    since = run("stats", stored, "--json").json_lines()[0]["last_seq"]
    assert run("delete", stored, kind.texts[0], kind.texts[2]).succeeds().out == b""
    run("delete", stored, kind.texts[0]).fails(1, f"has no key {kind.texts[0]}")
    gone = run("delete", stored, kind.texts[0], kind.texts[1], "--json")
    assert gone.json_lines() == [{"deleted": 1, "absent": [kind.told()[0]]}]
    changes = run("changes", stored, "--since", since, "--json").json_lines()
    assert [change["key"] for change in changes] == [kind.told()[at] for at in (0, 2, 1)]


def test_what_is_no_key_is_refused_in_a_line_and_nothing_is_changed(
    run: CommandLine, kind: Kind, stored: Path, tmp_path: Path
) -> None:
    before = contents(stored)
    for text in kind.nonsense:
        named = text or "''"
        for told in (
            run("get", stored, text),
            run("put", stored, text, "x"),
            run("delete", stored, text),
            run("delete", stored, kind.texts[0], text),
        ):
            told.fails(2, "the key ", named)
        run("put", tmp_path / "new", text, "x", "--key-kind", kind.name).fails(2, "the key ", named)
        assert not (tmp_path / "new").exists()
    assert contents(stored) == before


@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl", "parquet", "csv.gz"])
def test_what_is_exported_loads_back(
    run: CommandLine, kind: Kind, stored: Path, tmp_path: Path, suffix: str
) -> None:
    file, copy = tmp_path / f"all.{suffix}", tmp_path / "copy"
    assert run("export", stored, file).code == 0
    load = ("load", copy, file, "--key", "key", "--value", "value")
    assert run(*load, "--key-kind", kind.name).code == 0
    assert contents(copy) == contents(stored)
    # Needed for a new store only; another one is refused.
    assert run(*load).code == 0
    other = "uuid" if kind.name != "uuid" else "uint64"
    run(*load, "--key-kind", other).fails(3, kind.name, other)
    assert contents(copy) == contents(stored)
    ends = ("--start", kind.texts[1], "--stop", kind.texts[3], "--force")
    assert run("export", stored, file, *ends, "--json").json_lines()[0]["rows"] == 2


def test_parquet_has_keys_of_their_type(run: CommandLine, kind: Kind, stored: Path, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    assert run("export", stored, tmp_path / "all.parquet").code == 0
    held = str(parquet.read_schema(tmp_path / "all.parquet").field("key").type)
    names = {"uuid": "fixed_size_binary[16]", "int64": "int64", "uint64": "uint64"}
    # Parquet has no seconds; it keeps them as milliseconds.
    unit = kind.name.partition("[")[2].rstrip("]")
    assert held == names.get(kind.name, f"timestamp[{'ms' if unit == 's' else unit}]")


@pytest.mark.parametrize("unit", UNITS)
def test_moments_as_far_as_the_unit_reaches_come_back(run: CommandLine, tmp_path: Path, unit: str) -> None:
    kind = Kind(f"datetime64[{unit}]", ("",) * 4, (), (), ())
    numbers = np.array([1 - 2**63, -(2**62), -1, 0, 2**62, 2**63 - 1])
    with open_kind(tmp_path / "far", kind) as store:
        store.put_many(numbers.view(kind.name), [b"x"] * len(numbers))
    for suffix in ("csv", "jsonl", "parquet"):
        file, copy = tmp_path / f"far.{suffix}", tmp_path / f"copy-{suffix}"
        exported = run("export", tmp_path / "far", file)
        if (unit, suffix) == ("s", "parquet"):
            exported.fails(2, "is too far from 1970 for the milliseconds of parquet; --format csv, ")
            continue
        assert exported.code == 0
        assert run("load", copy, file, "--key", "key", "--value", "value", "--key-kind", kind.name).code == 0
        assert contents(copy) == contents(tmp_path / "far")


def test_parquet_of_others_is_read_by_its_types(run: CommandLine, tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    when = np.array(["2026-11-29T12:00:00"], "M8[us]")
    made = uuid.UUID(UUIDS[2])
    cases = [
        ("datetime64[ms]", pa.array(when, pa.timestamp("ns", "Europe/Vienna")), when[0]),
        ("datetime64[s]", pa.array(["2026-11-29T12:00Z"]), when[0]),
        ("datetime64[us]", pa.array(when.astype("M8[D]")), when[0].astype("M8[D]")),
        ("datetime64[us]", pa.array(["2026-11-29"]).dictionary_encode(), when[0].astype("M8[D]")),
        ("uuid", pa.array([UUIDS[2]]), made),
        ("uuid", pa.array([made.bytes]), made),
        ("uuid", pa.array([5]), uuid.UUID(int=5)),
        ("uint64", pa.array([5]), 5),
    ]
    if hasattr(pa, "uuid"):
        cases.append(
            ("uuid", pa.ExtensionArray.from_storage(pa.uuid(), pa.array([made.bytes], pa.binary(16))), made)
        )
    for number, (name, column, key) in enumerate(cases):
        parquet.write_table(pa.table({"id": column, "v": ["x"]}), tmp_path / "t.parquet")
        load = ("load", tmp_path / f"s{number}", tmp_path / "t.parquet", "--key", "id", "--value", "v")
        done = run(*load, "--key-kind", name)
        assert done.code == 0, done
        assert contents(tmp_path / f"s{number}") == (name, [(key, b"x")])
    for name, column, words in [
        ("datetime64[ms]", pa.array([1]), "holds int64; keys are timestamps, dates, or text in ISO 8601"),
        ("uuid", pa.array([1.5]), "holds double; keys are UUIDs: 16 bytes, text, or integers"),
        ("uuid", pa.array([b"abc"]), "row 1: the key in column 'id' must have 16 bytes, not 3"),
        ("uint64", pa.array(["1"]), "holds string; keys are integers"),
        ("uint64", pa.array([-1]), "row 1: the key in column 'id' is outside uint64"),
        ("datetime64[s]", pa.array([1], pa.timestamp("ms")), "a whole number of s"),
        ("datetime64[ns]", pa.array([2**50], pa.timestamp("ms")), "is outside datetime64[ns]: "),
        ("datetime64[s]", pa.array([None], pa.timestamp("s")), "must be a key, not null"),
    ]:
        parquet.write_table(pa.table({"id": column, "v": ["x"]}), tmp_path / "t.parquet")
        load = ("load", tmp_path / "bad", tmp_path / "t.parquet", "--key", "id", "--value", "v")
        run(*load, "--key-kind", name).fails(2, words)
        assert not (tmp_path / "bad").exists()


def test_a_bad_key_in_a_file_is_named_with_its_line(run: CommandLine, kind: Kind, tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    for text in filter(None, kind.nonsense):
        path.write_text(f'id,v\n{kind.texts[0]},x\n"{text}",x\n')
        load = ("load", tmp_path / "new", path, "--key", "id", "--key-kind", kind.name)
        run(*load).fails(2, "rows.csv, line 3: the key in column 'id' ", text)
        assert not (tmp_path / "new").exists()
    path = tmp_path / "rows.jsonl"
    for value in (1.5, True, None, [1], {"a": 1}):
        path.write_text(json.dumps({"id": value}))
        load = ("load", tmp_path / "new", path, "--key", "id", "--key-kind", kind.name)
        wanted = "integer" if kind.name.endswith("int64") else "string"
        run(*load).fails(2, f"must be a JSON {wanted}, not {json.dumps(value)}")
        assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("codec", "text", "value"),
    [("text", "ä", "ä"), ("json", "[1]", [1]), ("struct('<id')", "[1,0.5]", (1, 0.5))],
    ids=["text", "json", "struct"],
)
def test_a_store_is_made_with_a_codec(
    run: CommandLine, tmp_path: Path, codec: str, text: str, value: object
) -> None:
    path, store = tmp_path / "rows.csv", tmp_path / "new"
    path.write_text(f'id,v\n{UUIDS[2]},"{text}"\n')
    load = ("load", store, path, "--key", "id", "--value", "v", "--key-kind", "uuid", "--codec")
    assert run(*load, codec).code == 0
    assert contents(store) == ("uuid", [(uuid.UUID(UUIDS[2]), value)])
    run(*load, "text" if codec != "text" else "json").fails(3, codec)
    run(*load, "nonsense").fails(2, "'nonsense' is no codec; give text, json, ")
    if codec != "text":
        path.write_text(f"id,v\n{UUIDS[2]},word\n")
        run("load", tmp_path / "no", *load[2:], codec).fails(2, "the value of key ", "nothing was written")
        assert not (tmp_path / "no").exists()


def test_put_makes_a_store_of_a_kind(run: CommandLine, kind: Kind, tmp_path: Path) -> None:
    path = tmp_path / "new"
    made = run("put", path, kind.texts[2], "x", "--key-kind", kind.name, "--json")
    assert made.json_lines() == [{"key": kind.told()[2], "bytes": 1, "replaced": False}]
    assert contents(path) == (kind.name, [(kind.keys[2], b"x")])
    other = "uuid" if kind.name != "uuid" else "uint64"
    run("put", path, kind.texts[2], "y", "--key-kind", other).fails(3, kind.name, other)
    for verb in ("verify", "compact", "checkpoint", "stats"):
        assert run(verb, path).code == 0
    assert run("backup", path, tmp_path / "copy").code == 0
    assert contents(tmp_path / "copy") == contents(path)
    assert run("repair", path, tmp_path / "repaired").code == 0
    assert contents(tmp_path / "repaired") == contents(path)


def test_changes_are_followed(kind: Kind, stored: Path) -> None:
    follow = command("changes", stored, "--follow", "--since", 0, "--json")
    with subprocess.Popen(follow, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        seen = [json.loads(process.stdout.readline())["key"] for _ in VALUES]
        assert seen == kind.told()
        assert run_process("put", stored, kind.texts[1], "new").code == 0
        assert json.loads(process.stdout.readline())["key"] == kind.told()[1]
        process.terminate()


def test_years_before_our_era_are_taken_as_they_are_shown(run: CommandLine, store_path: Path) -> None:
    years = ["-4712-01-01", "-044-03-15", "-001-12-31", "0000-01-01"]
    assert [str(np.datetime64(year)) for year in years] == years
    for year in years:
        assert run("put", store_path, "--key-kind", "datetime64[s]", "--", year, "x").code == 0, year
    shown = [line.partition("\t")[0] for line in run("scan", store_path).out.decode().splitlines()]
    assert shown == [f"{year}T00:00:00" for year in years]
    for year in shown:
        assert run("get", store_path, "--", year).code == 0, year
