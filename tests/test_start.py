"""What starting costs: programs have NumPy from `import alexpy` on, the command line does without."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

import alexpy
from alexpy._ahead import is_command_line
from command_line import command

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    "arguments", [("--help",), ("get", "{s}", "1"), ("scan", "{s}"), ("put", "{s}", "2", "v")]
)
def test_what_works_on_single_items_imports_nothing_slow(
    store_path: Path, arguments: tuple[str, ...]
) -> None:
    with alexpy.open(store_path) as store:
        store[1] = b"one"
    _, *rest = command(*(one.format(s=store_path) for one in arguments))
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *rest], capture_output=True, text=True, check=True, timeout=60
    )
    imported = set(re.findall(r"\|\s+([\w.]+)$", done.stderr, re.MULTILINE))
    assert "alexpy.cli.app" in imported
    slow = {
        "numpy",
        "pyarrow",
        "rich",
        "pandas",
        "matplotlib",
        "asyncio",
        "alexpy.compare",
        "click.shell_completion",
    }
    assert not imported & slow


def test_a_program_has_numpy_from_the_import_on() -> None:
    program = "import alexpy, sys; print('numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert done.stdout == b"True\n"


@pytest.mark.parametrize(
    ("argv", "whole", "expected"),
    [
        (["/usr/bin/alexpy", "get"], ["python", "/usr/bin/alexpy", "get"], True),
        (["-m", "get"], ["python", "-m", "alexpy", "get"], True),
        (["-m"], ["python", "-X", "dev", "-malexpy"], True),
        (["-m"], ["python", "-m", "mine"], False),
        (["-m", "-m", "alexpy"], ["python", "-m", "mine", "-m", "alexpy"], False),
        (["mine.py"], ["python", "mine.py"], False),
        (["alexpy.py"], ["python", "alexpy.py"], False),
        (["-c"], ["python", "-c", "import alexpy"], False),
        ([""], ["python"], False),
        ([], [], False),
    ],
)
def test_only_alexpy_itself_is_taken_for_the_command_line(
    argv: list[str], whole: list[str], expected: bool
) -> None:
    assert is_command_line(argv, whole) is expected


def test_a_module_that_imports_alexpy_keeps_its_ctrl_c(tmp_path: Path) -> None:
    package = tmp_path / "mine"
    package.mkdir()
    (package / "__init__.py").write_text("import alexpy\n")
    (package / "__main__.py").write_text(
        "import signal, sys\nprint(signal.getsignal(signal.SIGINT).__name__, 'numpy' in sys.modules)\n"
    )
    done = subprocess.run(
        # Whoever runs the tests may ignore Ctrl-C.
        ["env", "--default-signal=INT", sys.executable, "-m", "mine"],
        cwd=tmp_path,
        capture_output=True,
        check=True,
    )
    assert done.stdout == b"default_int_handler True\n"
