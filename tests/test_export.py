"""`alexpy export`: a file holds exactly what the store holds, or it is not there; `load` reads it back."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import shlex
import signal
import stat
import subprocess
import sys
import threading
import time
import tracemalloc
from array import array
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

import alexpy
from alexpy.cli.batches import Batch
from alexpy.cli.export import TextWriter
from alexpy.cli.files import Sink
from alexpy.cli.inputs import Base64Rows
from alexpy.cli.meaning import Meaning
from alexpy.cli.parquet import ParquetReader, ParquetWriter
from alexpy.cli.rows import MAX_LINE_BYTES, Format, RowReader
from command_line import CommandLine, Ended, command

if TYPE_CHECKING:
    from pathlib import Path

KEY_MIN, KEY_MAX = -(2**63), 2**63 - 1
TEXTS = {KEY_MIN: b"low", -7: b"\ttab", 0: b"", 1: 'a "q", é\x00'.encode(), KEY_MAX: b"high"}
ANY_FILE = ["f.csv", "f.tsv", "f.jsonl", "f.parquet", "f.csv.gz", "f.jsonl.gz"]
TO_LOAD = ("--key", "key", "--value", "value")


@pytest.fixture
def texts(store_path: Path) -> Path:
    """A store of values that every format holds."""
    with alexpy.open(store_path) as store:
        store.update(TEXTS)
    return store_path


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """A store that takes a while to export, and is longer than the buffer of any pipe."""
    path = tmp_path / "large"
    with alexpy.open(path) as store:
        store.put_many(range(200_000), [b"%0100d" % key for key in range(200_000)])
    return path


def items(path: Path) -> dict[int, bytes]:
    with alexpy.open(path, read_only=True) as store:
        return dict(store.items())


def unfinished(folder: Path) -> list[str]:
    return [name for name in os.listdir(folder) if "unfinished" in name]  # noqa: PTH208


def shell(*args: object, then: str) -> Ended:
    line = f"{shlex.join(command(*args))} {then}"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", line], capture_output=True, check=False, timeout=60
    )
    return Ended(done.returncode, done.stdout, done.stderr.decode())


# --- what a file holds ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ANY_FILE)
def test_what_was_exported_loads_back_to_the_same_store(
    run: CommandLine, texts: Path, tmp_path: Path, name: str
) -> None:
    ended = run("export", texts, tmp_path / name).succeeds()
    assert ended.out.startswith(f"5 rows of {texts} written to {tmp_path / name}, ".encode())
    run("load", tmp_path / "new", tmp_path / name, *TO_LOAD).succeeds()
    assert items(tmp_path / "new") == TEXTS


@pytest.mark.parametrize("name", ["f.csv", "f.tsv", "f.jsonl", "f.jsonl.gz"])
def test_base64_keeps_bytes_in_a_file_of_text(
    run: CommandLine, store_path: Path, tmp_path: Path, name: str
) -> None:
    values = {1: bytes(range(256)), 2: b"", 3: b"line\nline", 4: b"\xff" * 5000}
    with alexpy.open(store_path) as store:
        store.update(values)
    run("export", store_path, tmp_path / name, "--base64").succeeds()
    to_load = ("--key", "key", "--value", "value_base64", "--base64")
    run("load", tmp_path / "new", tmp_path / name, *to_load).succeeds()
    assert items(tmp_path / "new") == values


def text_read_back(
    file_format: Format, values: dict[int, bytes], *, base64: bool = False
) -> dict[int, bytes]:
    file = io.BytesIO()
    writer = TextWriter(Sink("file", file), file_format, Meaning(), gzipped=False, base64=base64)
    writer.write(Batch(array("q", values), list(values.values())))
    writer.finish()
    file.seek(0)
    if base64:
        rows: Any = Base64Rows(RowReader(file, "file", file_format, "key", "value_base64"))
    else:
        rows = RowReader(file, "file", file_format, "key", "value")
    return {key: value for _, key, value in rows}


ANY_KEY = st.integers(KEY_MIN, KEY_MAX)
ANY_TEXT = st.text(st.characters(codec="utf-8") | st.sampled_from('\r\n\t",\0\x1c\u2028')).map(str.encode)


@given(st.dictionaries(ANY_KEY, ANY_TEXT), st.sampled_from(["csv", "jsonl"]))
def test_any_text_comes_back_from_csv_and_jsonl(values: dict[int, bytes], file_format: Format) -> None:
    assert text_read_back(file_format, values) == values


@given(st.dictionaries(ANY_KEY, ANY_TEXT.map(lambda text: text.replace(b"\n", b"\r"))))
def test_any_line_of_text_comes_back_from_tsv(values: dict[int, bytes]) -> None:
    assert text_read_back("tsv", values) == values


@given(st.dictionaries(ANY_KEY, st.binary()), st.sampled_from(["csv", "tsv", "jsonl"]))
def test_any_bytes_come_back_from_base64(values: dict[int, bytes], file_format: Format) -> None:
    assert text_read_back(file_format, values, base64=True) == values


@given(st.lists(st.dictionaries(ANY_KEY, st.binary(), min_size=1), max_size=3))
def test_any_bytes_come_back_from_parquet(batches: list[dict[int, bytes]]) -> None:
    file = io.BytesIO()
    writer = ParquetWriter(Sink("file", file))
    for values in batches:
        writer.write(Batch(array("q", values), list(values.values())))
    writer.finish()
    file.seek(0)
    rows = [(key, value) for _, key, value in ParquetReader(file, "file", "key", "value")]
    assert rows == [item for values in batches for item in values.items()]


def test_other_programs_read_the_files(run: CommandLine, texts: Path, tmp_path: Path) -> None:
    for name in ("f.csv", "f.jsonl", "f.parquet", "f.csv.gz"):
        run("export", texts, tmp_path / name).succeeds()
    expected = [(key, value.decode()) for key, value in TEXTS.items()]
    with (tmp_path / "f.csv").open(newline="") as file:
        assert [(int(row["key"]), row["value"]) for row in csv.DictReader(file)] == expected
    rows = [json.loads(line) for line in (tmp_path / "f.jsonl").read_text().splitlines()]
    assert [(row["key"], row["value"]) for row in rows] == expected
    table = pq.read_table(tmp_path / "f.parquet")
    assert table.schema.types == [pa.int64(), pa.binary()]
    assert table.to_pydict() == {"key": list(TEXTS), "value": list(TEXTS.values())}
    assert gzip.decompress((tmp_path / "f.csv.gz").read_bytes()) == (tmp_path / "f.csv").read_bytes()


@pytest.mark.parametrize(
    ("options", "keys"),
    [
        (["--start", 0], [0, 1, KEY_MAX]),
        (["--stop", 0], [KEY_MIN, -7]),
        (["--start=-7", "--stop=1"], [-7, 0]),
        (["--start", 5, "--stop", 5], []),
        (["--start", -(10**30), "--stop", 10**30], list(TEXTS)),
    ],
)
@pytest.mark.parametrize("name", ["f.csv", "f.jsonl", "f.parquet"])
def test_a_range_is_exported_in_key_order(
    run: CommandLine, texts: Path, tmp_path: Path, name: str, options: list[object], keys: list[int]
) -> None:
    (figures,) = run("export", texts, tmp_path / name, *options, "--json").succeeds().json_lines()
    assert list(figures) == ["rows", "bytes", "file", "seconds"]
    assert figures["rows"] == len(keys)
    assert figures["bytes"] == (tmp_path / name).stat().st_size
    run("load", tmp_path / "new", tmp_path / name, *TO_LOAD).succeeds()
    assert list(items(tmp_path / "new")) == keys


def test_a_store_in_use_is_exported_as_of_one_moment(run: CommandLine, texts: Path, tmp_path: Path) -> None:
    with alexpy.open(texts) as store:
        store[2] = b"meanwhile"
        run("export", texts, tmp_path / "f.parquet").succeeds()
        store[3] = b"later"
    run("load", tmp_path / "new", tmp_path / "f.parquet", *TO_LOAD).succeeds()
    assert items(tmp_path / "new") == {**TEXTS, 2: b"meanwhile"}


# --- what is refused ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["f.csv", "f.tsv", "f.jsonl"])
def test_a_value_that_is_not_text_is_refused_and_its_key_named(
    run: CommandLine, texts: Path, tmp_path: Path, name: str
) -> None:
    with alexpy.open(texts) as store:
        store[5] = b"caf\xe9"
    ended = run("export", texts, tmp_path / name)
    ended.fails(2, "key 5 is not text (UTF-8)", "--base64", "parquet", f"{name} was not written")
    assert not (tmp_path / name).exists()
    assert unfinished(tmp_path) == []


def test_a_value_of_more_than_one_line_is_refused_in_tsv(
    run: CommandLine, texts: Path, tmp_path: Path
) -> None:
    with alexpy.open(texts) as store:
        store[5] = b"two\nlines"
    run("export", texts, tmp_path / "f.tsv").fails(2, "key 5 has more than one line", "--base64")


@pytest.mark.parametrize("name", ["f.csv", "f.jsonl"])
def test_a_row_that_load_would_refuse_for_its_length_is_refused(
    run: CommandLine, texts: Path, tmp_path: Path, name: str
) -> None:
    frame = len(b'5,""\n') if name == "f.csv" else len(b'{"key":5,"value":""}\n')
    longest = MAX_LINE_BYTES - frame
    with alexpy.open(texts) as store:
        store[5] = b"x" * longest
    run("export", texts, tmp_path / name).succeeds()
    run("load", tmp_path / "new", tmp_path / name, *TO_LOAD).succeeds()
    assert items(tmp_path / "new")[5] == b"x" * longest
    with alexpy.open(texts) as store:
        store[5] = b"x" * (longest + 1)
    ended = run("export", texts, tmp_path / name, "--force")
    ended.fails(2, "key 5", f"{MAX_LINE_BYTES + 1:,} bytes", "parquet")
    run("export", texts, tmp_path / "f.parquet").succeeds()


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        (["f.txt"], ["the format of f.txt", "--format"]),
        (["-"], ["the format of standard output", "--format"]),
        (["f.parquet", "--base64"], ["--base64 is for text"]),
        (["-", "--format", "csv", "--json"], ["--json"]),
        (["f.csv", "--format", "xml"], ["--format"]),
        (["f.csv", "--start", "a"], ["--start"]),
    ],
)
def test_options_that_do_not_fit_are_refused(
    run: CommandLine, texts: Path, options: list[str], parts: list[str]
) -> None:
    run("export", texts, *options).fails(2, *parts)


def test_without_pyarrow_parquet_says_what_to_install(
    run: CommandLine, texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    run("export", texts, tmp_path / "f.parquet").fails(2, "pip install 'alexpy[arrow]'", "was not written")
    assert not (tmp_path / "f.parquet").exists()
    (tmp_path / "g.parquet").write_bytes(b"PAR1")
    run("load", tmp_path / "new", tmp_path / "g.parquet", *TO_LOAD).fails(2, "pip install 'alexpy[arrow]'")
    assert not (tmp_path / "new").exists()


def test_a_missing_store_makes_no_file(run: CommandLine, tmp_path: Path) -> None:
    run("export", tmp_path / "nothing", tmp_path / "f.csv").fails(3, "there is no store at")
    assert list(tmp_path.iterdir()) == []


def test_no_file_is_made_in_the_directory_of_the_store(run: CommandLine, texts: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(texts)
    before = {file.name: file.read_bytes() for file in texts.iterdir()}
    for file in (texts / "x.csv", tmp_path / "link" / "x.csv"):
        run("export", texts, file).fails(2, f"{file} lies inside the store {texts}")
    run("export", texts, texts / "MANIFEST-A", "--format", "csv", "--force").fails(2, "lies inside the store")
    run("export", tmp_path / "link", texts / "x.csv").fails(2, "lies inside the store")
    assert {file.name: file.read_bytes() for file in texts.iterdir()} == before


# --- the file is there as a whole or not at all ---------------------------------------------------------


def test_a_file_that_is_there_is_replaced_only_with_force(
    run: CommandLine, texts: Path, tmp_path: Path
) -> None:
    file = tmp_path / "f.csv"
    file.write_bytes(b"mine")
    run("export", texts, file).fails(2, "is there already", "left as it is", "--force")
    assert file.read_bytes() == b"mine"
    with alexpy.open(texts) as store:
        store[5] = b"\xff"
    run("export", texts, file, "--force").fails(2, "key 5")
    assert file.read_bytes() == b"mine"
    run("export", texts, file, "--force", "--stop", 5).succeeds()
    assert file.read_bytes().startswith(b'"key","value"\n')
    assert unfinished(tmp_path) == []


@pytest.mark.parametrize("name", ["n" * 251 + ".csv", "é" * 125 + "x.csv"])
def test_a_file_may_have_the_longest_name_that_there_is(
    run: CommandLine, texts: Path, tmp_path: Path, name: str
) -> None:
    run("export", texts, tmp_path / name).succeeds()
    assert (tmp_path / name).read_bytes().startswith(b'"key","value"\n')
    assert unfinished(tmp_path) == []
    run("export", texts, tmp_path / f"n{name}").fails(3, "cannot write", "File name too long")


def test_a_link_stays_and_what_it_leads_to_is_written(run: CommandLine, texts: Path, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    link = tmp_path / "f.csv"
    link.symlink_to("real/file")
    run("export", texts, link).succeeds()
    assert link.is_symlink()
    assert (tmp_path / "real" / "file").read_bytes().startswith(b'"key","value"\n')
    run("export", texts, link).fails(2, "--force")


def test_a_new_file_has_the_usual_permissions_and_a_replaced_one_keeps_its_own(
    run: CommandLine, texts: Path, tmp_path: Path
) -> None:
    file = tmp_path / "f.csv"
    before = os.umask(0o027)
    try:
        run("export", texts, file).succeeds()
        assert stat.S_IMODE(file.stat().st_mode) == 0o640
        file.chmod(0o604)
        run("export", texts, file, "--force").succeeds()
        assert stat.S_IMODE(file.stat().st_mode) == 0o604
    finally:
        os.umask(before)


def test_a_place_that_cannot_be_written_is_named(run: CommandLine, texts: Path, tmp_path: Path) -> None:
    run("export", texts, tmp_path / "no" / "f.csv").fails(3, "cannot write", "no/f.csv", "No such file")
    run("export", texts, tmp_path, "--format", "csv").fails(2, "is a directory")


@pytest.mark.parametrize("file_format", ["csv", "parquet"])
def test_a_full_device_is_one_line(run: CommandLine, large: Path, file_format: str) -> None:
    ended = run("export", large, "/dev/full", "--format", file_format)
    ended.fails(3, "cannot write /dev/full: No space left on device")
    shell("export", large, "-", "--format", file_format, then=">/dev/full").fails(
        3, "cannot write the output: No space left on device"
    )


@pytest.mark.parametrize("name", ["f.csv", "f.parquet"])
def test_a_file_of_which_only_a_part_fits_is_not_there(large: Path, tmp_path: Path, name: str) -> None:
    limited = f"ulimit -f 100; {shlex.join(command('export', large, tmp_path / name))}"
    done = subprocess.run(["bash", "-c", limited], capture_output=True, check=False, timeout=60)
    Ended(done.returncode, done.stdout, done.stderr.decode()).fails(
        3, f"cannot write {tmp_path / name}: File too large; {tmp_path / name} was not written"
    )
    assert not (tmp_path / name).exists()
    assert unfinished(tmp_path) == []


@pytest.mark.parametrize("name", ["f.csv", "f.csv.gz", "f.parquet"])
def test_a_damaged_store_leaves_no_file_and_is_one_line(tmp_path: Path, name: str) -> None:
    path = tmp_path / "s"
    with alexpy.open(path) as store:
        store.put_many(range(100_000), [b"value %06d" % key for key in range(100_000)])
        store.checkpoint()
    segment = path / "seg-00000001.log"
    content = segment.read_bytes()
    segment.write_bytes(content.replace(b"value 090000", b"value 09X000"))
    ended = shell("export", path, tmp_path / name, then="")
    ended.fails(3, "is damaged", "alexpy repair", f"{tmp_path / name} was not written")
    assert not (tmp_path / name).exists()
    assert unfinished(tmp_path) == []


@pytest.mark.parametrize("file_format", ["csv", "jsonl", "parquet"])
def test_a_reader_that_goes_away_is_quiet(large: Path, file_format: str) -> None:
    ended = shell("export", large, "-", "--format", file_format, then="| head -c 10 > /dev/null")
    assert ended == Ended(141, b"", "")


def test_a_closed_output_is_one_line(texts: Path, tmp_path: Path) -> None:
    shell("export", texts, "-", "--format", "csv", then=">&-").fails(3, "standard output is closed")
    ended = shell("export", texts, tmp_path / "f.csv", then=">&-")
    ended.fails(3, "standard output is closed; the work is done: 5 rows")
    assert (tmp_path / "f.csv").exists()


@pytest.mark.parametrize("then", ["/dev/stdout | cat", "/dev/fd/7 7>&1 | cat", ">(cat >&2)"])
def test_a_pipe_without_a_path_is_written(texts: Path, then: str) -> None:
    line = f"{shlex.join(command('export', texts, '--format', 'jsonl'))} {then}"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", line], capture_output=True, check=False, timeout=60
    )
    assert done.returncode == 0, done
    assert (done.stdout + done.stderr).count(b'"key":') == 5


def test_a_pipe_with_a_name_is_written_as_it_goes(run: CommandLine, texts: Path, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()))
    reader.start()
    run("export", texts, pipe, "--format", "jsonl").succeeds()
    reader.join()
    assert len(read[0].splitlines()) == 5
    assert stat.S_ISFIFO(pipe.stat().st_mode)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["f.csv", "f.parquet"])
def test_ctrl_c_leaves_no_file_and_says_so(large: Path, tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    ended_early = 0
    for moment in range(8):
        # Whoever runs the tests may ignore Ctrl-C.
        arguments = ["env", "--default-signal=INT", *command("export", large, file)]
        with subprocess.Popen(arguments, stderr=subprocess.PIPE) as export:
            assert export.stderr is not None
            while moment and not unfinished(tmp_path) and export.poll() is None:
                time.sleep(0.001)
            time.sleep(0.01 * moment)
            export.send_signal(signal.SIGINT)
            error = export.stderr.read().decode()
        if export.returncode == 0:
            file.unlink()
        elif export.returncode != -signal.SIGINT:
            # Before all is imported Ctrl-C ends the process by its signal.
            assert error.startswith("alexpy: interrupted"), error
            assert export.returncode == 130
            ended_early += 1
        assert not file.exists()
        assert unfinished(tmp_path) == []
    assert ended_early


# --- bounds and progress --------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("name", ["f.csv", "f.parquet"])
def test_memory_does_not_grow_with_the_store(
    run: CommandLine, store_path: Path, tmp_path: Path, name: str
) -> None:
    with alexpy.open(store_path) as store:
        for number in range(20):
            store.put_many(range(number * 10, number * 10 + 10), [b"x" * (1 << 20)] * 10)
    tracemalloc.start()
    try:
        run("export", store_path, tmp_path / name, "--json").succeeds()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 120 << 20, "200 MiB went through"


def test_progress_of_an_export_is_shown_to_a_person(large: Path, tmp_path: Path) -> None:
    ours, theirs = os.openpty()
    with subprocess.Popen(
        command("export", large, tmp_path / "f.jsonl"), stdout=subprocess.PIPE, stderr=theirs
    ) as export:
        os.close(theirs)
        seen = b""
        try:
            while part := os.read(ours, 65536):
                seen += part
        except OSError:
            # A terminal without a process: how its end is told.
            pass
        os.close(ours)
        assert export.stdout is not None
        told = export.stdout.read()
    assert b"exporting" in seen
    assert b"rows" in seen
    assert b"/200000" in seen
    assert told.startswith(b"200,000 rows of")
