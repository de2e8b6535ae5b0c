"""What README.md shows is so."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import alexpy

if TYPE_CHECKING:
    import pytest

    from command_line import CommandLine

README = (Path(__file__).parents[1] / "README.md").read_text()


def section(title: str) -> str:
    return README.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]


def test_the_example_runs_and_gives_what_its_comments_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    program = re.search(r"```python\n(.*?)```", section("Use it"), re.DOTALL)
    assert program is not None
    exec(compile(program[1], "README.md", "exec"), {})
    assert f"# {capsys.readouterr().out.strip()}\n" in program[1]
    with alexpy.open("events") as store:
        assert store.floor(1_380_000_000) == (1_372_896_000, b"fireworks")
        assert len(list(store.scan(1_372_000_000, 1_389_000_000))) == 2


def test_the_commands_shown_exist(run: CommandLine) -> None:
    commands = set(re.findall(r"^\$ alexpy (\w+)", README, re.MULTILINE))
    assert commands
    for command in commands:
        run(command, "--help").succeeds()


def test_what_is_said_to_be_missing_is_missing() -> None:
    named = re.findall(r"`(\w+)(?:\(\))?`", section("What is not there yet"))
    assert not [name for name in named if name in alexpy.Config.__dataclass_fields__]
    calls = set(named)
    assert {"snapshot", "refresh"} <= calls
    assert [name for name in sorted(calls) if hasattr(alexpy.Store, name) or hasattr(alexpy, name)] == []
