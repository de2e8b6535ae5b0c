"""What went wrong, read as if at three in the morning: what, to what, and what to do that loses nothing."""

from __future__ import annotations

import errno
import os
import re
import subprocess
from typing import TYPE_CHECKING

import pytest

import alexpy
from alexpy.cli.messages import told
from alexpy.cli.text import one_line
from command_line import CommandLine, Ended, command

if TYPE_CHECKING:
    from pathlib import Path

# Words of Python that say nothing to who types commands.
PYTHON = re.compile(
    r"Error\b|Errno|Traceback|Exception|\bNone\b|\bTrue\b|read_only|create=|parents=|mode=|alexpy\.\w+\(|Path\("
)


@pytest.fixture
def filled(store_path: Path) -> Path:
    with alexpy.open(store_path) as store:
        store.put_many(range(100), [b"%d" % key * 100 for key in range(100)])
    return store_path


def damage(path: Path) -> None:
    """Change a byte in the middle of the log."""
    segment = path / "seg-00000001.log"
    content = bytearray(segment.read_bytes())
    content[content.index(b"55555555")] ^= 0xFF
    segment.write_bytes(content)


@pytest.mark.parametrize("verb", ["get", "delete"])
def test_a_missing_store_is_named_with_what_makes_one(run: CommandLine, store_path: Path, verb: str) -> None:
    run(verb, store_path, 1).fails(3, f"there is no store at {store_path}; check the path", "`alexpy load`")


@pytest.mark.parametrize(
    "arguments",
    [
        ["scan"],
        ["stats"],
        ["verify"],
        ["changes"],
        ["checkpoint"],
        ["compact"],
        ["delete", "--all"],
        ["backup", "{new}"],
        ["repair", "{new}"],
        ["export", "{new}.csv"],
    ],
)
def test_no_command_but_put_and_load_makes_a_store(
    run: CommandLine, store_path: Path, tmp_path: Path, arguments: list[str]
) -> None:
    verb, *rest = (one.format(new=tmp_path / "new") for one in arguments)
    run(verb, store_path, *rest).fails(3, f"there is no store at {store_path}")
    assert list(tmp_path.iterdir()) == []


def test_a_store_in_a_directory_that_is_not_there_names_the_directory(
    run: CommandLine, tmp_path: Path
) -> None:
    store = tmp_path / "no" / "store"
    run("put", store, 1, "v").fails(3, f"there is no directory {tmp_path / 'no'}", "make that first")
    (tmp_path / "f.csv").write_bytes(b"id\n1\n")
    run("load", store, tmp_path / "f.csv", "--key", "id").fails(3, f"there is no directory {tmp_path / 'no'}")


def test_an_empty_path_is_bad_input(run: CommandLine) -> None:
    run("get", "", 1).fails(2, "the path of a store is empty")


@pytest.mark.parametrize(
    "arguments",
    [
        ["put", "{s}", "1", "v"],
        ["compact", "{s}"],
        ["checkpoint", "{s}"],
        ["delete", "{s}", "1"],
        ["repair", "{s}", "{s}-new"],
    ],
)
def test_a_store_in_use_names_the_process_and_what_works_meanwhile(
    run: CommandLine, filled: Path, arguments: list[str]
) -> None:
    with alexpy.open(filled):
        ended = run(*(one.format(s=filled) for one in arguments))
    ended.fails(3, "already open for writing by process", str(os.getpid()), "run this again", "scan")
    assert not PYTHON.search(ended.err), ended


def test_damage_names_the_place_and_the_command_that_keeps_what_can_be_read(
    run: CommandLine, filled: Path
) -> None:
    damage(filled)
    for ended in (run("scan", filled), run("verify", filled)):
        assert ended.code == 3
        assert f"alexpy repair {filled} NEW --mode salvage" in ended.err
        assert not PYTHON.search(ended.err + ended.out.decode()), ended
    place = run("verify", filled).out.decode().splitlines()[0]
    assert re.search(r"\.log is damaged at offset \d+: expected .*, found .*; `alexpy repair", place)


def test_a_whole_store_verifies_with_ok(run: CommandLine, filled: Path) -> None:
    assert run("verify", filled).succeeds().out.startswith(b"ok: ")


def test_history_that_is_gone_says_how_to_go_on(run: CommandLine, filled: Path) -> None:
    with alexpy.open(filled, segment_bytes=64 << 10, background=False) as store:
        for number in range(200):
            store[number % 5] = b"%d" % number * 500
        store.checkpoint()
        store.checkpoint()
        store.compact()
    ended = run("changes", filled)
    ended.fails(3, "costs the store nothing", "`alexpy export`", "`alexpy changes --since`")


@pytest.mark.parametrize(
    "arguments",
    [
        ["get", "{s}", "x"],
        ["get", "{s}", "1000"],
        ["get", "{none}", "1"],
        ["put", "{s}", "1"],
        ["put", "{s}", "1", "--file", "{none}"],
        ["put", "{s}", "1", "--file", "{s}"],
        ["delete", "{s}"],
        ["scan", "{s}", "--start"],
        ["scan", "{s}", "--limit", "-1"],
        ["scan", "{s}", "--bad"],
        ["scan"],
        ["fetch"],
        ["load", "{s}", "{none}", "--key", "id"],
        ["load", "{s}", "{none}.csv", "--key", "id"],
        ["load", "{s}", "{s}", "--key", "id", "--format", "csv"],
        ["export", "{s}", "{none}/f.csv"],
        ["export", "{s}", "{s}"],
        ["backup", "{s}", "{s}"],
        ["backup", "{s}", "{none}/x/y"],
        ["backup", "{s}", "/proc/x"],
        ["repair", "{s}", "{s}"],
        ["repair", "/proc", "{none}"],
        ["stats", "/proc"],
        ["stats", "/dev/null"],
        ["compare", "--suite", "nope"],
        ["compare", "--engine", "nope", "--suite", "small"],
        ["compare", "--output", "/proc/x", "--suite", "small"],
        ["compare", "report", "{none}"],
        ["bench", "profile", "--keys", "0"],
        ["bench", "profile", "--output", "{none}/x"],
        ["completion", "tcsh"],
        ["changes", "{s}", "--since", "-1"],
        ["changes", "{s}", "--since", str(2**64)],
        ["compare", "--engine", "nope"],
    ],
    ids=" ".join,
)
def test_no_error_speaks_python(run: CommandLine, filled: Path, tmp_path: Path, arguments: list[str]) -> None:
    ended = run(*(one.format(s=filled, none=tmp_path / "none") for one in arguments))
    ended.fails(ended.code)
    assert ended.code in {1, 2, 3}
    assert not PYTHON.search(ended.err), ended.err
    with alexpy.open(filled, read_only=True) as store:
        assert store.verify()
        assert len(store) == 100


def test_a_sharded_store_is_told_with_a_store_of_it(run: CommandLine, tmp_path: Path) -> None:
    shards = alexpy.ShardedStore.create(tmp_path / "s", [5])
    for command_line in (["stats", tmp_path / "s"], ["put", tmp_path / "s", 1, "x", "--key-kind", "uuid"]):
        ended = run(*command_line)
        ended.fails(3, "is a sharded store of 2 stores", str(shards[0]))
        assert not PYTHON.search(ended.err), ended.err
    run("put", shards[0], 1, "x").succeeds()


def test_what_the_native_half_refuses_when_it_is_loaded_is_one_line() -> None:
    done = subprocess.run(
        command("stats", "none"),
        capture_output=True,
        check=False,
        timeout=60,
        env={**os.environ, "ALEXPY_SIMD": "avx3"},
    )
    Ended(done.returncode, done.stdout, done.stderr.decode()).fails(2, "ALEXPY_SIMD=avx3")


def test_a_file_that_cannot_be_read_and_a_wait_that_is_no_number_are_named(
    run: CommandLine, filled: Path, tmp_path: Path
) -> None:
    # Opening it works, and reading its beginning does not.
    run("load", filled, "/proc/self/mem", "--key", "id", "--format", "csv").fails(
        2, "cannot read /proc/self/mem: Input/output error; nothing was written"
    )
    run("ship", "follow", tmp_path / "place", tmp_path / "mirror", "--interval", "nan").fails(2, "--interval")
    assert not (tmp_path / "mirror").exists()


def test_usage_says_where_the_help_is(run: CommandLine, filled: Path) -> None:
    run("scan", filled, "--start").fails(2, "--start", "; see alexpy scan --help")
    run("scan", filled, "--bad").fails(2, "--bad", "; see alexpy scan --help")
    run("scan").fails(2, "STORE", "; see alexpy scan --help")
    run("fetch").fails(2, "fetch", "; see alexpy --help")
    run("compare", "report").fails(2, "RAW", "; see alexpy compare report --help")


def test_a_full_disk_says_that_what_was_committed_is_kept() -> None:
    full = OSError(errno.ENOSPC, "cannot write: No space left on device", "/s/1.seg")
    assert told(full) == (
        "/s/1.seg: cannot write: No space left on device; "
        "what was committed before is kept: make room and run this again"
    )


def test_a_name_that_is_no_text_works_and_is_shown_byte_by_byte(tmp_path: Path) -> None:
    file = tmp_path / "f.csv"
    file.write_bytes(b"id\n1\n")
    store = os.fsencode(tmp_path) + b"/\xff\x1b[31m"

    def run(*arguments: object) -> Ended:
        words = [one if isinstance(one, bytes) else str(one).encode() for one in command(*arguments)]
        done = subprocess.run(
            [word if word != b"STORE" else store for word in words],
            capture_output=True,
            check=False,
            timeout=60,
        )
        return Ended(done.returncode, done.stdout, done.stderr.decode())

    run("get", "STORE", 1).fails(3, r"\xff\x1b[31m")
    assert run("load", "STORE", file, "--key", "id").succeeds().out.startswith(b"1 row read from ")
    assert run("verify", "STORE", "--json").succeeds().json_lines()[0]["ok"] is True
    assert os.path.exists(store)  # noqa: PTH110 - a path of bytes


@pytest.mark.parametrize(
    ("message", "line"),
    [
        ("plain é", "plain é"),
        ("a\nb\r\nc", "a b c"),
        ("\x1b[31m", r"\x1b[31m"),
        ("\udcff\x00", r"\xff\x00"),
        ("\u2028\u200b", r" \xe2\x80\x8b"),
    ],
)
def test_a_message_is_one_line_that_a_terminal_can_show(message: str, line: str) -> None:
    assert one_line(message) == line


def test_repair_of_what_is_damaged_keeps_the_old_store_and_says_so(
    run: CommandLine, filled: Path, tmp_path: Path
) -> None:
    damage(filled)
    before = {file.name: file.read_bytes() for file in filled.iterdir()}
    ended = run("repair", filled, tmp_path / "new", "--mode", "salvage")
    ended.fails(1, "1 record could not be kept")
    told_of = ended.out.decode()
    assert f"kept in {tmp_path / 'new'}, 1 record lost; {filled} was not changed" in told_of
    assert {file.name: file.read_bytes() for file in filled.iterdir()} == before
