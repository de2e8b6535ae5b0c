"""What the command line says of itself: help, examples, completion, `--json`, exit codes; and how fast."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest

import alexpy
from alexpy.cli.app import cli
from command_line import CommandLine, run_process

if TYPE_CHECKING:
    from collections.abc import Iterator


def _commands(group: click.Group, *path: str) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    for name, member in group.commands.items():
        yield (*path, name), member
        if isinstance(member, click.Group):
            yield from _commands(member, *path, name)


COMMANDS = dict(_commands(cli))
NAMES = [" ".join(path) for path in COMMANDS]
# Their examples measure for minutes, or need an interactive shell.
NOT_TRIED = re.compile(r"alexpy (compare|bench|completion) |eval ")


def examples(of: click.Command) -> list[str]:
    found = re.search(r"Examples:\n((?:  .*\n?)+)", of.epilog or "")
    return [] if found is None else [line.strip() for line in found[1].splitlines()]


@pytest.fixture
def shell_path(tmp_path: Path) -> str:
    """A PATH on which `alexpy` is this one."""
    folder = tmp_path / "bin"
    folder.mkdir()
    script = folder / "alexpy"
    script.write_text(f'#!/bin/sh\nexec {sys.executable} -m alexpy "$@"\n')
    script.chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"


def in_shell(
    line: str, path: str, *, shell: str = "bash", folder: Path | None = None
) -> tuple[int, str, str]:
    done = subprocess.run(
        [shell, "-c", line],
        cwd=folder,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return done.returncode, done.stdout, done.stderr


# --- help -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["", *NAMES])
def test_every_command_has_help_by_both_names_with_an_example(run: CommandLine, name: str) -> None:
    short = run(*name.split(), "-h").succeeds().out.decode()
    assert short == run(*name.split(), "--help").succeeds().out.decode()
    assert f"Usage: alexpy {name}".rstrip() in short
    assert "Examples:" in short
    assert "-h, --help" in short
    shown = [line for line in examples(COMMANDS.get(tuple(name.split()), cli)) if f"alexpy {name}" in line]
    assert shown
    assert all(line in short for line in shown), "an example is one line"
    assert max(map(len, short.splitlines())) <= 80


def test_the_help_names_every_command_and_every_exit_code(run: CommandLine) -> None:
    told = run().succeeds().out.decode()
    assert {name for (name, *rest) in COMMANDS if not rest} == set(
        re.findall(r"^  ([a-z]+)  +\S", told.split("Commands:")[1].split("Examples:")[0], re.MULTILINE)
    )
    codes = re.findall(r"^    (\d+)  +\S", told.split("Exit codes:")[1], re.MULTILINE)
    assert codes == ["0", "1", "2", "3", "4", "5", "130", "141"]


@pytest.mark.slow
def test_every_example_of_the_help_works(tmp_path: Path, shell_path: str) -> None:
    folder = tmp_path / "work"
    folder.mkdir()
    first = [cli, *(COMMANDS[(name,)] for name in ("changes", "export", "load"))]
    lines = [line for member in (*first, *COMMANDS.values()) for line in examples(member)]
    tried = [line for line in dict.fromkeys(lines) if not NOT_TRIED.match(line)]
    assert len(tried) > 25
    for line in tried:
        code, _, error = in_shell(line, shell_path, folder=folder)
        # `timeout` says 124 of what it ends, and `head` may leave first.
        assert code == (124 if line.startswith("timeout") else 0), (line, error)
        assert "alexpy:" not in error, (line, error)


# --- for programs ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in NAMES if name not in {"bench", "completion", "ship"}])
def test_every_command_has_json(name: str) -> None:
    assert any(option.name == "json" for option in COMMANDS[tuple(name.split())].params)


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (["get", "{s}", 1], ["key", "value"]),
        (["put", "{s}", 1, "v"], ["key", "bytes", "replaced"]),
        (["delete", "{s}", 1], ["deleted", "absent"]),
        (["scan", "{s}"], ["key", "value"]),
        (["changes", "{s}"], ["seq", "key", "value"]),
        (["checkpoint", "{s}"], ["tail_bytes_before", "tail_bytes"]),
        (["backup", "{s}", "{s}-copy"], ["keys", "last_seq", "dest"]),
        (["repair", "{s}", "{s}-new"], ["kept", "lost", "damaged", "salvage_keeps"]),
        (["verify", "{s}"], ["ok", "records", "bytes", "errors"]),
        (["export", "{s}", "{s}.csv"], ["rows", "bytes", "file", "seconds"]),
        (
            ["compact", "{s}"],
            ["freed_segments", "freed_bytes", "moved_bytes", "disk_bytes_before", "disk_bytes"],
        ),
    ],
)
def test_json_is_one_object_with_the_documented_names(
    run: CommandLine, store_path: Path, arguments: list[object], names: list[str]
) -> None:
    with alexpy.open(store_path) as store:
        store[1] = b"one"
    ended = run(*(str(one).format(s=store_path) for one in arguments), "--json").succeeds()
    (figures,) = ended.json_lines()
    assert list(figures) == names


def test_report_as_json_names_the_pages_and_refuses_what_is_no_run(run: CommandLine, tmp_path: Path) -> None:
    for text in ("", "{}", "[1]", "\ufeff", '{"cells": []}', '{"cells": {}}', "[" * 100_000):
        (tmp_path / "raw.json").write_text(text)
        run("compare", "report", tmp_path / "raw.json", "--html", tmp_path / "p").fails(
            2, "raw.json is not the compare.json of a run"
        )


# --- completion -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("alexpy exp", {"export"}),
        ("alexpy sc", {"scan"}),
        ("alexpy scan s --re", {"--reverse"}),
        ("alexpy load s f --format ", {"csv", "tsv", "jsonl", "parquet"}),
        ("alexpy completion ", {"bash", "zsh", "fish"}),
    ],
)
def test_bash_completes_commands_options_and_choices(shell_path: str, words: str, expected: set[str]) -> None:
    count = len(words.split(" ")) - 1
    line = (
        f'eval "$(alexpy completion bash)"; COMP_WORDS=({words} ""); COMP_CWORD={count}; '
        '_alexpy_completion alexpy; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    code, out, error = in_shell(line, shell_path)
    assert (code, error) == (0, "")
    assert set(out.split()) == expected


@pytest.mark.parametrize(
    ("words", "count", "kind"), [("alexpy scan ", 2, "dir"), ("alexpy load s ", 3, "file")]
)
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_paths_are_left_to_the_shell(shell: str, words: str, count: int, kind: str) -> None:
    word = str(count) if shell != "fish" else ""
    ended = run_process(_ALEXPY_COMPLETE=f"{shell}_complete", COMP_WORDS=words, COMP_CWORD=word)
    assert ended.succeeds().out.split(b",")[0].split()[0] == kind.encode()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_each_shell_is_printed(run: CommandLine, shell: str) -> None:
    script = run("completion", shell).succeeds().out.decode()
    assert f"_ALEXPY_COMPLETE={shell}_complete" in script
    if shutil.which(shell):
        assert in_shell(
            script if shell != "zsh" else f"compdef() {{ :; }}\n{script}", os.environ["PATH"], shell=shell
        )[0] == (0)


def test_a_shell_that_is_not_known_is_refused(run: CommandLine) -> None:
    run("completion", "tcsh").fails(2, "tcsh", "completion --help")


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed")
def test_fish_completes(shell_path: str) -> None:
    line = 'alexpy completion fish | source; complete -C "alexpy exp"'
    code, out, _ = in_shell(line, shell_path, shell="fish")
    assert (code, out.split()[0]) == (0, "export")


# --- the document ---------------------------------------------------------------------------------------


def test_the_document_has_every_command_and_the_exit_codes_of_the_help() -> None:
    page = (Path(__file__).parents[1] / "docs" / "command-line.md").read_text()
    listed = set(re.findall(r"`([a-z]+)[` ]", page.split("## Files")[0].split("|---|---|")[1]))
    assert {name for (name, *rest) in COMMANDS if not rest} <= listed
    codes = re.findall(r"^\| (\d+) \|", page.split("## Exit codes")[1], re.MULTILINE)
    assert codes == re.findall(r"^  (\d+) ", cli.epilog or "", re.MULTILINE)
    lines = [line.split("  ")[0] for line in examples(COMMANDS[("completion",)])]
    assert len(lines) == 3
    assert all(f"`{line}`" in page.replace("\\|", "|") for line in lines)
