"""The programs and commands on the guides' pages run, and give what stands beside them.

The Python blocks of a page are one program, run in an empty folder. Where a comment beside an expression is
an expression itself, the two must be equal; other comments are prose. Then its commands run, one by one, and
print what the page shows.
"""

from __future__ import annotations

import ast
import io
import os
import re
import shelve
import shutil
import sqlite3
import subprocess
import sys
import tokenize
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import alexpy
from alexpy.aio import AsyncStore

ROOT = Path(__file__).parents[1]
# Pages, and what they need beside alexpy.
PAGES = {
    "docs/migrating/index.md": (),
    "docs/migrating/sqlite3.md": (),
    "docs/migrating/lmdb.md": ("lmdb",),
    "docs/migrating/rocksdict.md": ("rocksdict",),
    "docs/migrating/plyvel.md": ("plyvel",),
    "docs/migrating/shelve.md": (),
    "docs/migrating/diskcache.md": ("diskcache",),
    "docs/troubleshooting.md": (),
    "docs/arrays.md": ("pandas", "polars", "pyarrow"),
    "docs/asyncio.md": (),
}
# What a block may import that is in no list of packages for tests: without it the block is left out.
SELDOM = ("duckdb",)
# The programs that pages call, as those of these tests.
PRELUDE = f"""set -e -o pipefail
python() {{ "{sys.executable}" "$@"; }}
alexpy() {{ python -m alexpy "$@"; }}
"""
BLOCK = re.compile(r"^```(python|console)\n(.*?)^```", re.MULTILINE | re.DOTALL)


class Told(ast.NodeTransformer):
    """Puts a call around each expression that has a comment, which gets the value and the comment."""

    def __init__(self, program: str) -> None:
        tokens = tokenize.generate_tokens(io.StringIO(program).readline)
        self.comments = {
            token.start[0]: token.string[1:].strip() for token in tokens if token.type == tokenize.COMMENT
        }

    def visit_Expr(self, node: ast.Expr) -> ast.Expr:
        comment = self.comments.get(node.end_lineno or 0)
        if comment is not None:
            call = ast.Call(ast.Name("told", ast.Load()), [node.value, ast.Constant(comment)], [])
            node.value = ast.copy_location(call, node.value)
        return node


def run(program: str, name: str) -> int:
    """Run the program of a page; return how many of its comments were compared."""
    compared = 0

    def told(value: Any, comment: str) -> Any:
        nonlocal compared
        try:
            said = eval(comment, namespace)
        except (SyntaxError, NameError):
            # Prose.
            return value
        same = np.array_equal(value, said) if isinstance(value, np.ndarray) else value == said
        assert same, f"{name}: {value!r} is told to be {comment}"
        compared += 1
        return value

    namespace: dict[str, Any] = {"__name__": "page", "told": told}
    tree = ast.fix_missing_locations(Told(program).visit(ast.parse(program)))
    exec(compile(tree, name, "exec"), namespace)
    return compared


def blocks(page: str) -> list[tuple[str, str, int]]:
    """The blocks of a page: python or console, the text, and how many lines lie before it."""
    text = (ROOT / page).read_text()
    return [(one[1], one[2], text.count("\n", 0, one.start(2))) for one in BLOCK.finditer(text)]


def program(page: str) -> str:
    """The program of a page, each line where it stands there."""
    lines: list[str] = []
    for kind, block, before in blocks(page):
        lacking = [name for name in SELDOM if f"import {name}\n" in block and find_spec(name) is None]
        if lacking:
            print(f"{page}: a block is left out: pip install {lacking[0]}")
        elif kind == "python":
            lines += [""] * (before - len(lines)) + block.splitlines()
    return "\n".join(lines)


@pytest.mark.parametrize("page", PAGES)
def test_the_program_of_a_page_runs_and_gives_what_its_comments_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, page: str
) -> None:
    for package in PAGES[page]:
        pytest.importorskip(package, reason=f"{package} is not installed: pip install {package}")
    monkeypatch.chdir(tmp_path)
    compared = run(program(page), page)
    assert compared > 1
    for kind, block, _ in blocks(page):
        if kind == "console":
            commands(block)


def commands(block: str) -> None:
    """Run the commands of a block and compare what they print with what it shows."""
    shown = re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]
    assert shown
    for one in shown:
        command, _, printed = one.partition("\n")
        if command.startswith("sqlite3 ") and shutil.which("sqlite3") is None:
            # Those that follow need its file.
            return
        command = command.replace(" examples/", f" {ROOT}/examples/")
        done = subprocess.run(
            ["bash", "-c", PRELUDE + command],
            capture_output=True,
            text=True,
            check=False,
            env=os.environ | {"PYTHONPATH": str(Path(alexpy.__file__).parents[1])},
        )
        assert done.returncode == 0, done
        assert not printed or done.stdout == printed, done


@pytest.mark.parametrize(
    ("program", "told"),
    [("1 + 1  # 3", "2 is told to be 3"), ("with open('x', 'w'):\n    [1, 2]  # [1]", r"\[1, 2\] is told")],
)
def test_a_comment_that_is_not_what_comes_out_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str, told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(AssertionError, match=told):
        run(program, "a page")


def receivers() -> dict[str, dict[str, Any]]:
    """Objects, by page and by the names that they have there."""
    made: dict[str, dict[str, Any]] = {
        "sqlite3": {"connection": sqlite3.Connection},
        "shelve": {"shelf": shelve.Shelf},
    }
    for name, attributes in {
        "lmdb": {"env": "Environment", "txn": "Transaction", "cursor": "Cursor"},
        "plyvel": {},
        "rocksdict": {"db": "Rdict", "batch": "WriteBatch"},
        "diskcache": {"cache": "Cache"},
    }.items():
        module = pytest.importorskip(name, reason=f"{name} is not installed: pip install {name}")
        made[name] = {receiver: getattr(module, attribute) for receiver, attribute in attributes.items()}
        if name == "plyvel":
            made[name] = {"db": module.DB("level", create_if_missing=True)}
    return made


def test_the_calls_in_the_tables_of_two_libraries_exist(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, known in receivers().items():
        known |= {"store": alexpy.Store, "alexpy": alexpy}
        if name not in {"lmdb", "rocksdict"}:
            known["batch"] = alexpy.WriteBatch
        page = (ROOT / f"docs/migrating/{name}.md").read_text()
        rows = [line for line in page.splitlines() if line.startswith("|")]
        calls = re.findall(r"\b([a-z]+)\.([a-z_]+)\(", "\n".join(rows))
        assert len(calls) > 15
        lost = [call for call in calls if call[0] in known and not hasattr(known[call[0]], call[1])]
        assert not lost, name
        assert {call[0] for call in calls} - set(known) <= {name, "struct", "pandas"}, name


def test_the_calls_that_asyncio_lacks_are_those_that_its_page_names() -> None:
    page = (ROOT / "docs" / "asyncio.md").read_text()
    [row] = [line for line in page.splitlines() if "asyncio.to_thread" in line]
    named = re.findall(r"`(\w+)`", row.split("|")[1])
    assert len(named) > 3
    assert [name for name in named if hasattr(AsyncStore, name) or not hasattr(alexpy.Store, name)] == []
