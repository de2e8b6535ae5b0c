"""The command line: get, put, delete, scan and stats, and how every command ends."""

from __future__ import annotations

import base64
import json
import os
import random
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

import alexpy
from alexpy.cli import text
from command_line import CommandLine, command, run_process

if TYPE_CHECKING:
    from pathlib import Path

KEY_MIN, KEY_MAX = -(2**63), 2**63 - 1


@pytest.fixture
def filled(store_path: Path) -> Path:
    """A store with keys from -2 to 2 and both ends of int64."""
    with alexpy.open(store_path) as store:
        for key in (KEY_MIN, -2, -1, 0, 1, 2, KEY_MAX):
            store[key] = f"value {key}".encode()
    return store_path


def keys_of(path: Path) -> list[int]:
    with alexpy.open(path, read_only=True) as store:
        return list(store.keys())


# --- some keys --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [b"", b"text", b"two\nlines\n", bytes(range(256))])
def test_get_writes_the_value_byte_for_byte(run: CommandLine, store_path: Path, value: bytes) -> None:
    with alexpy.open(store_path) as store:
        store[-5] = value
    assert run("get", store_path, -5).succeeds().out == value


def test_get_of_an_absent_key_exits_1(run: CommandLine, filled: Path) -> None:
    run("get", filled, 3).fails(1, "no key 3", str(filled))


@pytest.mark.parametrize("key", [KEY_MIN, -2, 0, KEY_MAX])
def test_put_get_and_delete_take_every_key(run: CommandLine, store_path: Path, key: int) -> None:
    assert run("put", store_path, key, "hello wörld").succeeds().out == b""
    assert run("get", store_path, key).out == "hello wörld".encode()
    run("delete", store_path, key).succeeds()
    run("delete", store_path, key).fails(1, f"no key {key}")
    run("get", store_path, key).fails(1)


def test_put_takes_a_value_from_a_file_or_standard_input(
    run: CommandLine, store_path: Path, tmp_path: Path
) -> None:
    file = tmp_path / "value"
    file.write_bytes(b"\x00\xff\n")
    run("put", store_path, 1, "--file", file).succeeds()
    assert run("get", store_path, 1).out == b"\x00\xff\n"
    run_process("put", store_path, 2, "-", input=b"\xfe\n").succeeds()
    assert run("get", store_path, 2).out == b"\xfe\n"
    run("put", store_path, 3).fails(2, "VALUE or --file")
    run("put", store_path, 3, "value", "--file", file).fails(2, "VALUE or --file")
    run("put", store_path, 3, "--file", tmp_path / "none").fails(2, "none")


@pytest.mark.parametrize("key", ["x", "1.0", "", "1_0", " 1", "٣", KEY_MAX + 1, KEY_MIN - 1, "9" * 5000])
def test_an_argument_that_is_not_a_key_is_refused(run: CommandLine, filled: Path, key: object) -> None:
    run("get", filled, key).fails(2)
    run("put", filled, key, "v").fails(2)
    run("delete", filled, key).fails(2)


def test_get_of_several_keys_is_a_line_for_each_in_the_order_given(run: CommandLine, filled: Path) -> None:
    ended = run("get", filled, 2, -1, 2).succeeds()
    assert ended.out == b"2\tvalue 2\n-1\tvalue -1\n2\tvalue 2\n"
    ended = run("get", filled, 2, 7, -1, 8)
    ended.fails(1, "has no keys 7, 8")
    assert ended.out == b"2\tvalue 2\n-1\tvalue -1\n"


def test_get_as_json_has_a_line_for_each_key(run: CommandLine, filled: Path) -> None:
    with alexpy.open(filled) as store:
        store[5] = b"\xff"
    ended = run("get", filled, 1, 7, 5, "--json")
    ended.fails(1, "has no key 7")
    assert ended.json_lines() == [
        {"key": 1, "value": "value 1"},
        {"key": 7, "value": None},
        {"key": 5, "value_base64": "/w=="},
    ]


def test_many_absent_keys_are_counted_in_the_message(run: CommandLine, filled: Path) -> None:
    run("get", filled, *range(100, 200)).fails(1, "has no keys 100, 101, 102", "109 and 90 more")


def test_delete_of_several_keys_removes_them_and_names_the_absent_ones(
    run: CommandLine, filled: Path
) -> None:
    run("delete", filled, -1, 2, 2).succeeds()
    assert keys_of(filled) == [KEY_MIN, -2, 0, 1, KEY_MAX]
    run("delete", filled, 0, 5, 1, 6).fails(1, "has no keys 5, 6; removed 2 other keys")
    assert keys_of(filled) == [KEY_MIN, -2, KEY_MAX]
    ended = run("delete", filled, -2, 9, 9, "--json")
    ended.fails(1, "has no key 9; removed 1 other key")
    assert ended.json_lines() == [{"deleted": 1, "absent": [9]}]


@pytest.mark.parametrize(
    ("options", "left"),
    [
        (["--start", -1, "--stop", 2], [KEY_MIN, -2, 2, KEY_MAX]),
        (["--start=1"], [KEY_MIN, -2, -1, 0]),
        (["--stop", 1], [1, 2, KEY_MAX]),
        (["--start", -(10**30), "--stop", 10**30], []),
        (["--start", 2, "--stop", -2], [KEY_MIN, -2, -1, 0, 1, 2, KEY_MAX]),
        (["--all"], []),
    ],
)
def test_delete_of_a_range_says_how_many_keys_it_removed(
    run: CommandLine, filled: Path, options: list[object], left: list[int]
) -> None:
    removed = 7 - len(left)
    noun = "key" if removed == 1 else "keys"
    assert (
        run("delete", filled, *options).succeeds().out == f"removed {removed} {noun} from {filled}\n".encode()
    )
    assert keys_of(filled) == left
    again = run("delete", filled, *options, "--json").succeeds().json_lines()
    assert again == [{"deleted": 0, "absent": []}]


@pytest.mark.parametrize(
    "arguments", [[], [1, "--start", 0], [1, "--all"], ["--stop", 5, "--all"], ["--start", "x"], ["--json"]]
)
def test_delete_needs_keys_or_a_bound_or_all(run: CommandLine, filled: Path, arguments: list[object]) -> None:
    run("delete", filled, *arguments).fails(2, "delete --help")
    assert len(keys_of(filled)) == 7


def test_put_as_json_says_whether_a_value_was_replaced(run: CommandLine, store_path: Path) -> None:
    assert run("put", store_path, 1, "ab", "--json").json_lines() == [
        {"key": 1, "bytes": 2, "replaced": False}
    ]
    assert run("put", store_path, 1, "", "--json").json_lines() == [{"key": 1, "bytes": 0, "replaced": True}]


def test_a_mistyped_option_is_not_stored_as_a_value(run: CommandLine, store_path: Path) -> None:
    run("put", store_path, 1, "--jsno").fails(2, 'no option "--jsno"', "standard input")
    run("put", store_path, 1, "-5").succeeds()
    assert run("get", store_path, 1).out == b"-5"


def test_a_value_without_end_is_refused_before_it_fills_the_memory(
    run: CommandLine, store_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("alexpy.cli.items._LONGEST_VALUE", 5 << 20)
    run("put", store_path, 1, "--file", "/dev/zero").fails(2, "at most 5,242,880 bytes", "nothing was stored")
    assert not store_path.exists()


def test_put_is_safe_on_the_device_when_it_returns(run: CommandLine, store_path: Path) -> None:
    run("put", store_path, 1, "v").succeeds()
    with alexpy.open(store_path) as store:
        stats = store.stats()
        assert stats.durable_seq == stats.last_seq


# --- scan -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "keys"),
    [
        ([], [KEY_MIN, -2, -1, 0, 1, 2, KEY_MAX]),
        (["--start", -1, "--stop", 2], [-1, 0, 1]),
        (["--start=-1", "--stop=2", "--reverse"], [1, 0, -1]),
        (["--limit", 2], [KEY_MIN, -2]),
        (["--limit", 2, "--reverse"], [KEY_MAX, 2]),
        (["--limit", 0], []),
        (["--start", 5, "--stop", 5], []),
        (["--start", 2, "--stop", -2], []),
        (["--start", -(10**30), "--stop", 10**30], [KEY_MIN, -2, -1, 0, 1, 2, KEY_MAX]),
    ],
)
def test_scan_shows_the_range_in_order(
    run: CommandLine, filled: Path, options: list[object], keys: list[int]
) -> None:
    lines = run("scan", filled, *options).succeeds().out.decode().splitlines()
    assert lines == [f"{key}\tvalue {key}" for key in keys]
    found = run("scan", filled, *options, "--json").succeeds().json_lines()
    assert found == [{"key": key, "value": f"value {key}"} for key in keys]


@pytest.mark.parametrize("options", [["--limit", -1], ["--start", "a"], ["--stop", "1.5"], ["--nothing"]])
def test_scan_refuses_bounds_that_are_none(run: CommandLine, filled: Path, options: list[object]) -> None:
    run("scan", filled, *options).fails(2, "scan --help")


def test_scan_shows_what_is_not_a_line_of_text_as_bytes(run: CommandLine, store_path: Path) -> None:
    values = [b"caf\xc3\xa9", b"two\nlines", b"tab\tbed", b"\xff\x00", b"", b"\x1b[31mred"]
    with alexpy.open(store_path) as store:
        store.put_many(range(len(values)), values)
    lines = run("scan", store_path).out.decode().splitlines()
    assert lines == [
        "0\tcafé",
        r"1	b'two\nlines'",
        r"2	b'tab\tbed'",
        r"3	b'\xff\x00'",
        "4\t",
        r"5	b'\x1b[31mred'",
    ]
    found = run("scan", store_path, "--json").json_lines()
    assert [
        item.get("value", "").encode() or base64.b64decode(item.get("value_base64", "")) for item in found
    ] == values


# --- stats ----------------------------------------------------------------------------------------------


def test_stats_names_what_the_store_holds(run: CommandLine, filled: Path) -> None:
    (figures,) = run("stats", filled, "--json").succeeds().json_lines()
    assert figures["keys"] == 7
    assert {"live_bytes", "dead_bytes", "disk_bytes", "segments", "last_seq", "durable_seq"} <= set(figures)
    lines = run("stats", filled).succeeds().out.decode().splitlines()
    assert [line.split()[0] for line in lines] == list(figures)
    chosen = [["key_kind", "int64"], ["codec", "-"], ["compression", "-"], ["keys", "7"]]
    assert [line.split() for line in lines[:4]] == chosen


@pytest.mark.parametrize(
    ("count", "shown"),
    [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (1 << 20, "1.0 MiB"), (1 << 50, "1024.0 TiB")],
)
def test_byte_counts_are_readable(count: int, shown: str) -> None:
    assert text.byte_count(count) == shown


# --- stores that cannot be opened -----------------------------------------------------------------------

READERS = [("get", 1), ("scan",), ("stats",), ("delete", 1)]


@pytest.mark.parametrize("arguments", READERS)
def test_a_missing_store_is_not_made_by_reading(
    run: CommandLine, store_path: Path, arguments: tuple[object, ...]
) -> None:
    verb, *rest = arguments
    run(verb, store_path, *rest).fails(3, "no store", str(store_path))
    assert not store_path.exists()


@pytest.mark.parametrize("arguments", [*READERS, ("put", 1, "v")])
def test_a_file_or_a_foreign_directory_is_refused_untouched(
    run: CommandLine, tmp_path: Path, arguments: tuple[object, ...]
) -> None:
    verb, *rest = arguments
    file = tmp_path / "file"
    file.write_bytes(b"mine")
    run(verb, file, *rest).fails(3, "is a file", str(file))
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "letter.txt").write_bytes(b"mine")
    run(verb, folder, *rest).fails(3, str(folder))
    assert file.read_bytes() == b"mine"
    assert [entry.name for entry in folder.iterdir()] == ["letter.txt"]


def test_a_store_open_for_writing_refuses_writers(run: CommandLine, filled: Path) -> None:
    with alexpy.open(filled):
        run("put", filled, 1, "v").fails(3, "already open for writing")
        run("delete", filled, 1).fails(3, "already open for writing")


def test_a_store_locked_by_another_process_names_it(filled: Path) -> None:
    with alexpy.open(filled):
        run_process("put", filled, 1, "v").fails(3, "already open for writing", f"process {os.getpid()}")


# --- how commands end -----------------------------------------------------------------------------------


def test_without_a_command_the_help_is_shown(run: CommandLine) -> None:
    ended = run()
    assert ended.code == 0
    for word in ("load", "get", "put", "delete", "scan", "stats", "Exit codes"):
        assert word in ended.out.decode()


@pytest.mark.parametrize("verb", ["load", "get", "put", "delete", "scan", "stats"])
def test_every_command_has_help(run: CommandLine, verb: str) -> None:
    assert f"alexpy {verb}" in run(verb, "--help").succeeds().out.decode()


@pytest.mark.parametrize(
    "arguments", [["fetch"], ["--fast"], ["get"], ["get", "s"], ["put", "s", "1", "2", "3"]]
)
def test_bad_usage_is_one_line_and_exits_2(run: CommandLine, arguments: list[str]) -> None:
    run(*arguments).fails(2, "--help")


def test_version_is_that_of_the_package(run: CommandLine) -> None:
    assert run("--version").succeeds().out.decode().split() == ["alexpy", alexpy.__version__]


def test_a_bad_environment_is_one_line_and_exits_2(
    run: CommandLine, filled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALEXPY_DURABLITY", "sync")
    run("get", filled, 1).fails(2, "ALEXPY_DURABLITY")


def test_a_file_name_with_a_line_break_stays_one_line(run: CommandLine, tmp_path: Path) -> None:
    run("get", tmp_path / "a\nb", 1).fails(3)


def test_a_defect_is_one_line_that_asks_for_a_report(
    run: CommandLine, filled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise LookupError("the dog ate it")

    monkeypatch.setattr("alexpy.cli.opening.open_raw", broken)
    ended = run("get", filled, 1)
    ended.fails(5, "the dog ate it; that is a defect of alexpy: please report it")
    assert "LookupError" not in ended.err


def test_memory_that_is_short_is_no_defect(
    run: CommandLine, filled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def short(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr("alexpy.cli.opening.open_raw", short)
    run("get", filled, 1).fails(3, "there is not enough memory")


@pytest.mark.slow
def test_the_installed_script_and_the_module_are_one(filled: Path) -> None:
    module = run_process("get", filled, 1).succeeds()
    script = subprocess.run(
        [os.path.join(os.path.dirname(sys.executable), "alexpy"), "get", filled, "1"],  # noqa: PTH118, PTH120
        capture_output=True,
        check=False,
    )
    assert (script.returncode, script.stdout, script.stderr) == (0, module.out, b"")


def test_importing_alexpy_imports_no_part_of_the_command_line() -> None:
    program = "import alexpy, sys; print([m for m in ('click', 'rich', 'alexpy.cli') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert done.stdout == b"[]\n"


def test_output_does_not_depend_on_the_locale(store_path: Path) -> None:
    with alexpy.open(store_path) as store:
        store[1] = "é".encode()
    ended = run_process("scan", store_path, LC_ALL="C", PYTHONUTF8="0", PYTHONIOENCODING="ascii")
    assert ended.succeeds().out == "1\té\n".encode()


def test_a_closed_pipe_is_quiet(store_path: Path) -> None:
    with alexpy.open(store_path) as store:
        store.put_many(range(100_000), [b"x" * 50] * 100_000)
    with subprocess.Popen(
        command("scan", store_path), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as scan:
        assert scan.stdout is not None
        assert scan.stderr is not None
        assert scan.stdout.readline() == b"0\t" + b"x" * 50 + b"\n"
        scan.stdout.close()
        assert scan.stderr.read() == b""
    assert scan.returncode == 141


def test_a_full_output_device_is_reported_in_one_line(filled: Path) -> None:
    with open("/dev/full", "wb") as full:  # noqa: PTH123
        done = subprocess.run(command("scan", filled), stdout=full, stderr=subprocess.PIPE, check=False)
    assert done.returncode == 3
    assert done.stderr == b"alexpy: cannot write the output: No space left on device\n"


def test_ctrl_c_ends_a_load_with_130_and_keeps_what_is_committed(store_path: Path) -> None:
    arguments = command(
        "load", store_path, "-", "--format", "csv", "--key", "id", "--json", "--batch-rows", 10
    )
    with subprocess.Popen(
        arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as load:
        assert load.stdin is not None
        assert load.stdout is not None
        assert load.stderr is not None
        load.stdin.write(b"id\n" + b"".join(b"%d\n" % key for key in range(15)))
        load.stdin.flush()
        assert json.loads(load.stdout.readline()) == {"committed": 10}
        time.sleep(0.05)
        load.send_signal(signal.SIGINT)
        error = load.stderr.read().decode()
        summary = json.loads(load.stdout.readlines()[-1])
    assert load.returncode == 130
    assert (
        error == "alexpy: interrupted; the 10 rows of the batches before are kept (10 keys new, 0 replaced)\n"
    )
    assert summary["rows"] == 10
    with alexpy.open(store_path, read_only=True) as store:
        assert list(store.keys()) == list(range(10))


@pytest.mark.slow
def test_ctrl_c_at_any_moment_reports_exactly_what_is_kept(tmp_path: Path) -> None:
    chance = random.Random()
    file = tmp_path / "f.csv"
    file.write_bytes(b"id\n" + b"".join(b"%d\n" % key for key in range(300_000)))
    for number in range(6):
        store_path = tmp_path / f"store-{number}"
        arguments = command("load", store_path, file, "--key", "id", "--json", "--batch-rows", 500)
        with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as load:
            assert load.stdout is not None
            assert load.stderr is not None
            load.stdout.readline()
            time.sleep(chance.uniform(0, 0.1))
            load.send_signal(signal.SIGINT)
            summary = json.loads(load.stdout.readlines()[-1])
            error = load.stderr.read()
        assert (load.returncode, error.count(b"\n")) == (130, 1), error
        assert (summary["error"], summary["keys_replaced"]) == ("interrupted", 0)
        with alexpy.open(store_path, read_only=True) as store:
            assert list(store.keys()) == list(range(summary["rows"]))


def test_progress_is_plain_lines_if_no_person_watches(tmp_path: Path, store_path: Path) -> None:
    file = tmp_path / "f.csv"
    file.write_bytes(b"id\n1\n")
    ended = run_process("load", store_path, file, "--key", "id").succeeds()
    assert b"\x1b" not in ended.out
