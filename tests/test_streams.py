"""The command line with standard streams that are closed or have no reader (`>&-`, `| head -1`)."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

import alexpy
from command_line import Ended, command

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def filled(store_path: Path) -> Path:
    """A store whose scan is longer than any pipe's buffer."""
    with alexpy.open(store_path) as store:
        store.put_many(range(20_000), [b"x" * 50] * 20_000)
    return store_path


def shell(*args: object, then: str = "", input: bytes = b"") -> Ended:  # noqa: A002
    """Run the command line in a shell, followed by `then`."""
    line = f"{shlex.join(command(*args))} {then}"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", line],
        input=input,
        capture_output=True,
        check=False,
        timeout=60,
    )
    return Ended(done.returncode, done.stdout, done.stderr.decode())


def test_a_scan_whose_reader_takes_one_line_ends_quietly(filled: Path) -> None:
    ended = shell("scan", filled, then="| head -1")
    assert ended == Ended(141, b"0\t" + b"x" * 50 + b"\n", "")


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_value_that_is_read_in_part_is_a_failure(
    filled: Path, unbuffered: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)
    with alexpy.open(filled) as store:
        store[1] = b"long" * 100_000
    ended = shell("get", filled, 1, then="| head -c 4")
    assert ended == Ended(141, b"long", "")


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_value_of_which_only_a_part_fits_is_a_failure(
    filled: Path, tmp_path: Path, unbuffered: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)
    with alexpy.open(filled) as store:
        store[1] = b"long" * 100_000
    limited = ["bash", "-c", f"ulimit -f 100; {shlex.join(command('get', filled, 1))} > {tmp_path / 'out'}"]
    done = subprocess.run(limited, capture_output=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (3, b"alexpy: cannot write the output: File too large\n")


@pytest.mark.parametrize(
    "arguments",
    [["scan"], ["get", 1], ["stats"], ["verify"]],
    ids=lambda arguments: str(arguments[0]),
)
def test_what_has_an_output_says_in_one_line_that_it_is_closed(filled: Path, arguments: list[object]) -> None:
    verb, *rest = arguments
    shell(verb, filled, *rest, then=">&-").fails(3, "cannot write the output", "standard output is closed")


def test_what_has_no_output_does_its_work_with_all_streams_closed(filled: Path) -> None:
    for streams in (">&-", "2>&-", "<&-", "<&- >&-", "<&- >&- 2>&-"):
        ended = shell("put", filled, 7, streams, then=streams)
        assert ended == Ended(0, b"", ""), streams
        with alexpy.open(filled, read_only=True) as store:
            assert store[7] == streams.encode()
            assert store.verify(), streams


def test_an_input_that_is_closed_is_one_line_and_changes_nothing(filled: Path, store_path: Path) -> None:
    shell("put", filled, 7, "-", then="<&-").fails(2, "cannot read standard input: it is closed")
    ended = shell("load", filled, "-", "--format", "csv", "--key", "id", then="<&-")
    ended.fails(2, "cannot read standard input: it is closed")
    with alexpy.open(store_path, read_only=True) as store:
        assert store[7] == b"x" * 50
        assert len(store) == 20_000


def test_an_error_with_standard_error_closed_still_has_its_exit_code(filled: Path, tmp_path: Path) -> None:
    assert shell("get", filled, -1, then="2>&-") == Ended(1, b"", "")
    assert shell("scan", tmp_path / "nothing", then="2>&-") == Ended(3, b"", "")
    assert shell("nonsense", then="2>&-") == Ended(2, b"", "")
    assert shell("scan", filled, then=">&- 2>&-") == Ended(3, b"", "")


@pytest.mark.parametrize("nowhere", [">/dev/full", "> >(true)"])
def test_an_error_that_nobody_can_read_still_has_its_exit_code(
    filled: Path, tmp_path: Path, nowhere: str
) -> None:
    # The pause lets the reader of standard error go first.
    with_none = f"2{nowhere}; code=$?; sleep 0.1; exit $code"
    assert shell("get", filled, -1, then=with_none).code == 1
    assert shell("scan", tmp_path / "nothing", then=with_none).code == 3
    assert shell("nonsense", then=with_none).code == 2


@pytest.mark.parametrize(
    ("arguments", "done"),
    [
        (["delete", "{s}", "--start", 5], "removed 19,995 keys from"),
        (["put", "{s}", 1, "v", "--json"], '{"key":1,"bytes":1,"replaced":true}'),
        (["checkpoint", "{s}"], "the next opening of"),
        (["compact", "{s}"], "removed 0 files"),
        (["backup", "{s}", "{s}-copy"], "holds all 20,000 keys"),
        (["repair", "{s}", "{s}-new"], "20,000 keys kept"),
    ],
    ids=lambda part: part[0] if isinstance(part, list) else "",
)
@pytest.mark.parametrize(("output", "why"), [(">&-", "closed"), (">/dev/full", "No space left on device")])
def test_what_cannot_print_what_it_has_done_says_it_as_an_error(
    filled: Path, arguments: list[object], done: str, output: str, why: str
) -> None:
    ended = shell(*(str(one).format(s=filled) for one in arguments), then=output)
    ended.fails(3, "cannot write the output", why, "; the work is done: ", done)


def test_a_load_that_cannot_report_its_batches_says_what_is_kept(store_path: Path) -> None:
    arguments = ("load", store_path, "-", "--format", "csv", "--key", "id", "--json", "--batch-rows", 2)
    ended = shell(*arguments, then=">/dev/full", input=b"id\n1\n2\n3\n4\n")
    ended.fails(3, "cannot write the output", "the 2 rows of the batches before are kept")
    with alexpy.open(store_path, read_only=True) as store:
        assert list(store) == [1, 2]


def test_ctrl_c_while_the_command_line_is_imported_is_silent(filled: Path, tmp_path: Path) -> None:
    (tmp_path / "click.py").write_text(
        "import os, signal, time\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(9)"
    )
    done = subprocess.run(
        # Whoever runs the tests may ignore Ctrl-C.
        ["env", "--default-signal=INT", *command("get", filled, 1)],
        env={**os.environ, "PYTHONPATH": f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}"},
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, b"", b"")


def test_a_load_with_standard_error_closed_loads(filled: Path) -> None:
    rows = b"id\n" + b"".join(b"%d\n" % key for key in range(100_000))
    ended = shell("load", filled, "-", "--format", "csv", "--key", "id", then="2>&-", input=rows)
    assert (ended.code, ended.err) == (0, "")
    assert b"100,000 rows read" in ended.out
