"""`alexpy.repair` and `alexpy repair`: a damaged store's values in a new one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import alexpy

if TYPE_CHECKING:
    from command_line import CommandLine


@pytest.fixture
def damaged(store_path: Path) -> Path:
    """A store of 100 keys whose tenth record is damaged, in the second copy of what it was."""
    with alexpy.open(store_path) as store:
        for key in range(100):
            store[key] = b"value %03d" % key
    segment = store_path / "seg-00000001.log"
    data = bytearray(segment.read_bytes())
    data[data.index(b"value 010")] ^= 1
    segment.write_bytes(data)
    with pytest.raises(alexpy.CorruptionError):
        alexpy.open(store_path)
    return store_path


def test_salvage_keeps_all_but_what_was_hit(damaged: Path, tmp_path: Path) -> None:
    report = alexpy.repair(damaged, tmp_path / "new", mode="salvage")
    assert (report.kept, report.lost) == (99, 1)
    ((path, offset, length),) = report.damaged
    assert path == damaged / "seg-00000001.log"
    assert (offset, length) == (192 + 10 * 40, 40)
    with alexpy.open(tmp_path / "new", create=False) as store:
        assert dict(store) == {key: b"value %03d" % key for key in range(100) if key != 10}
        assert store.verify().ok


def test_point_in_time_keeps_what_came_before(damaged: Path, tmp_path: Path) -> None:
    report = alexpy.repair(damaged, tmp_path / "new")
    assert (report.kept, report.lost) == (10, 90)
    with alexpy.open(tmp_path / "new", create=False) as store:
        assert list(store) == list(range(10))


def test_a_repair_that_keeps_less_than_salvage_would_says_so(damaged: Path, tmp_path: Path) -> None:
    report = alexpy.repair(damaged, tmp_path / "new")
    assert report.salvage_keeps == 99
    assert str(report) == (
        "10 keys kept, 90 records lost, 1 damaged place; "
        'mode="salvage", into another directory, keeps 99 keys'
    )
    report = alexpy.repair(damaged, tmp_path / "all", mode="salvage")
    assert report.salvage_keeps is None
    assert str(report) == "99 keys kept, 1 records lost, 1 damaged place"


def test_a_repair_that_lost_something_has_a_false_report(
    damaged: Path, store_path: Path, tmp_path: Path
) -> None:
    for mode in ("point_in_time", "salvage"):
        report = alexpy.repair(damaged, tmp_path / mode, mode=mode)  # type: ignore[arg-type]
        assert (report.ok, bool(report)) == (False, False)
    assert store_path == damaged
    whole = alexpy.repair(tmp_path / "salvage", tmp_path / "again")
    assert (whole.ok, bool(whole), whole.salvage_keeps) == (True, True, None)
    assert str(whole) == "99 keys kept, 0 records lost, 0 damaged places"


def test_a_report_of_lost_records_or_of_damage_alone_is_false() -> None:
    assert alexpy.RepairReport(0, 0, ())
    assert not alexpy.RepairReport(1, 1, ())
    assert not alexpy.RepairReport(1, 0, ((Path("MANIFEST-A"), 0, 0),))


def test_salvage_works_without_a_manifest(damaged: Path, tmp_path: Path) -> None:
    (damaged / "MANIFEST-A").write_bytes(b"")
    (damaged / "MANIFEST-B").unlink()
    with pytest.raises(alexpy.AlexError):
        alexpy.open(damaged)
    assert alexpy.repair(damaged, tmp_path / "new", mode="salvage").kept == 99


def test_wrong_places_and_modes_are_refused(store_path: Path, tmp_path: Path) -> None:
    new = tmp_path / "new"
    with pytest.raises(FileNotFoundError, match=r"no store here to repair: .*nothing"):
        alexpy.repair(tmp_path / "nothing", new)
    (tmp_path / "empty").mkdir()
    with pytest.raises(alexpy.FormatError):
        alexpy.repair(tmp_path / "empty", new)
    with alexpy.open(store_path) as store:
        store[1] = b"one"
        with pytest.raises(alexpy.LockedError):
            alexpy.repair(store_path, new)
    with pytest.raises(ValueError, match="mode must be one of"):
        alexpy.repair(store_path, new, mode="best")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="not empty"):
        alexpy.repair(store_path, tmp_path)
    with pytest.raises(ValueError, match="inside"):
        alexpy.repair(store_path, store_path / "new")
    with pytest.raises(FileNotFoundError, match=r"does not exist; make that first: .*/no/new"):
        alexpy.repair(store_path, tmp_path / "no" / "new")
    assert not new.exists()
    (tmp_path / "file").write_text("x")
    with pytest.raises(NotADirectoryError):
        alexpy.repair(tmp_path / "file", new)
    with pytest.raises(NotADirectoryError):
        alexpy.repair(store_path, tmp_path / "file")


def test_progress_that_raises_leaves_nothing_behind(store_path: Path, tmp_path: Path) -> None:
    with alexpy.open(store_path) as store:
        store.put_many(range(20), [b"x" * (1 << 20)] * 20)

    def stop(*_: Any) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        alexpy.repair(store_path, tmp_path / "new", progress=stop)
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


def test_the_command_repairs(run: CommandLine, damaged: Path, tmp_path: Path) -> None:
    ended = run("repair", damaged, tmp_path / "new", "--mode", "salvage").fails(
        1, "1 record could not be kept"
    )
    assert b"99 keys kept" in ended.out
    assert b"seg-00000001.log is damaged at offset 592, 40 bytes" in ended.out
    run("verify", tmp_path / "new").succeeds()
    figures = json.loads(run("repair", damaged, tmp_path / "other", "--json").fails(1, "90 records").out)
    assert (figures["kept"], figures["lost"], figures["damaged"][0]["offset"]) == (10, 90, 592)
    assert figures["salvage_keeps"] == 99
    run("repair", damaged, tmp_path / "less").fails(
        1, "90 records could not be kept; --mode salvage, into another directory, keeps 99 keys"
    )
    assert run("repair", tmp_path / "new", tmp_path / "whole").succeeds().out.startswith(b"99 keys kept")
    for name in ("MANIFEST-A", "MANIFEST-B"):
        (tmp_path / "whole" / name).write_bytes(b"")
    run("repair", tmp_path / "whole", tmp_path / "kept", "--mode", "salvage").fails(1, "there is damage")
    run("repair", damaged, tmp_path / "new").fails(2, "not empty")
    run("repair", tmp_path / "nothing", tmp_path / "x").fails(3, "no store")


@pytest.mark.parametrize("codec", [alexpy.codecs.text, "text"], ids=["codec", "name"])
def test_the_codec_is_asked_for_only_where_no_manifest_is_left_to_name_it(
    run: CommandLine, store_path: Path, tmp_path: Path, codec: Any
) -> None:
    with alexpy.open(store_path, codec=alexpy.codecs.text) as store:
        store[1] = "one"
    with pytest.raises(alexpy.FormatError, match="values of the codec text, and json was asked for"):
        alexpy.repair(store_path, tmp_path / "no", codec="json")
    assert not (tmp_path / "no").exists()
    for name in ("MANIFEST-A", "MANIFEST-B"):
        (store_path / name).unlink()
    alexpy.repair(store_path, tmp_path / "plain", mode="salvage")
    alexpy.repair(store_path, tmp_path / "text", mode="salvage", codec=codec)
    assert run("repair", store_path, tmp_path / "cli", "--mode", "salvage", "--codec", "text").code == 0
    for name, value in {"plain": b"one", "text": "one", "cli": "one"}.items():
        with alexpy.open(tmp_path / name) as store:
            assert dict(store) == {1: value}
