"""The examples and commands of README.md work."""

from __future__ import annotations

import re
import shlex
import subprocess
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

import alexpy
from alexpy import ship

if TYPE_CHECKING:
    from command_line import CommandLine

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def section(title: str) -> str:
    return README.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]


def test_the_example_runs_and_prints_what_its_comments_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    program = re.search(r"```python\n(.*?)```", section("Quick start"), re.DOTALL)
    assert program is not None
    exec(compile(program[1], "README.md", "exec"), {})
    assert f"# {capsys.readouterr().out.strip()}\n" in program[1]
    with alexpy.open("events") as store:
        assert store.floor(1_380_000_000) == (1_372_896_000, b"fireworks")
        assert len(list(store.scan(1_372_000_000, 1_389_000_000))) == 2


def test_the_examples_of_values_run_and_return_what_their_comments_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    program = re.search(r"```python\n(.*?)```", (ROOT / "docs/values.md").read_text(), re.DOTALL)
    assert program is not None
    exec(compile(program[1], "docs/values.md", "exec"), {})
    with alexpy.open("names") as names, alexpy.open("documents") as documents:
        assert names.get_many([3, 9]) == ["Edsger", None]
        assert names.first() == (1, "Ada")
        assert documents[1]["tags"] == ["a", "b"]
    with alexpy.open("vectors") as vectors, alexpy.open("trades") as trades:
        assert vectors.get_many([5, 6]).tolist() == [[1, 2, 3], [0, 0, 0]]
        assert trades.get_many([1])["f1"].tolist() == [9.5]


def test_the_example_of_shards_runs_and_returns_what_its_comments_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    program = re.search(r"```python\n(.*?)```", (ROOT / "docs/distributed.md").read_text(), re.DOTALL)
    assert program is not None
    exec(compile(program[1], "docs/distributed.md", "exec"), {})
    with alexpy.ShardedStore.open("events") as store:
        assert store.get_many([2_000_005, 7, 5]) == [b"five", None, b"five"]
        assert store.floor(1_999_999) == (1_000_005, b"five")
        assert len(store) == 3


def test_the_examples_of_keys_run_and_return_what_their_comments_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    first, copy = re.findall(r"```python\n(.*?)```", (ROOT / "docs/keys.md").read_text(), re.DOTALL)
    exec(compile(first, "docs/keys.md", "exec"), {})
    with alexpy.open("events") as store:
        store.put_many([0, 1_000], [b"a", b"b"])
    exec(compile("import alexpy\n" + copy, "docs/keys.md", "exec"), {})
    with alexpy.open("moments") as store:
        assert [str(key) for key in store] == ["1970-01-01T00:00:00.000", "1970-01-01T00:00:01.000"]
    with alexpy.open("readings", key="datetime64[us]") as readings:
        start = np.datetime64("2026-11-29T12:00:00.000000")
        assert readings.first() == (start, b"21.3")
        assert readings.floor(np.datetime64("2026-11-29T12:29")) == (start + np.timedelta64(59, "s"), b"21.3")
        assert readings.count(start, np.datetime64("2026-11-29T12:00:30")) == 30
        assert readings.keys_array().dtype == "datetime64[us]"
    with alexpy.open("people") as people, alexpy.open("hashes") as hashes:
        ada = uuid.UUID("550e8400-e29b-41d4-a716-446655440000")
        assert people.key_kind == "uuid"
        assert people[ada.bytes] == people[ada.int] == b"Ada"
        numbers = [int.from_bytes(key, "big") for key in people.keys_array().tolist()]
        assert numbers == [(1 << 64) + 2, (1 << 64) + 3, ada.int]
        assert list(hashes) == [5, 2**63, 2**64 - 1]


def test_the_example_of_shipping_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("obstore", reason="obstore is not installed: pip install 'alexpy[ship]'")
    monkeypatch.chdir(tmp_path)
    program, place = re.findall(r"```python\n(.*?)```", (ROOT / "docs/shipping.md").read_text(), re.DOTALL)
    exec(compile(program, "docs/shipping.md", "exec"), {})
    assert "another copy of this store has shipped" in capsys.readouterr().out
    assert ship.shipments("shipped")[-1].epoch == 1
    assert len(ship.shipments("shipped")) == 2
    with alexpy.open("events-before") as store:
        assert store[5] == b"event"
    exec(compile(place, "docs/shipping.md", "exec"), {})


def test_the_commands_run_one_after_another_as_they_are_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: CommandLine
) -> None:
    monkeypatch.chdir(tmp_path)
    page = (ROOT / "docs/command-line.md").read_text()
    block = re.search(r"```console\n(\$ printf.*?)```", page, re.DOTALL)
    assert block is not None
    lines = [line.removeprefix("$ ") for line in block[1].splitlines()]
    subprocess.run(lines[0], shell=True, check=True)
    commands = [shlex.split(line, comments=True) for line in lines[1:]]
    assert len(commands) > 5
    for program, *arguments in commands:
        assert program == "alexpy"
        run(*arguments).succeeds()
    assert run("get", "rescued", 2).succeeds().out == run("get", "flights", 2).succeeds().out != b""


def test_the_make_targets_shown_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"(?:`|^\$ )make ([a-z-]+)", README, re.MULTILINE))
    assert named
    assert named <= targets


def test_every_documented_lack_is_real() -> None:
    text = section("What is not there yet")
    assert "wheels on PyPI" in text
    named = re.findall(r"`(\w+)(?:\(\))?`", text)
    assert not [name for name in named if name in alexpy.Config.__dataclass_fields__]
    calls = set(named)
    assert [name for name in sorted(calls) if hasattr(alexpy.Store, name) or hasattr(alexpy, name)] == []
