"""The examples run, find their own answers right, and print what their page shows; wrong answers end them."""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import examples_page

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[1]
SHOWN = examples_page.shown()
# Each starts programs.
pytestmark = pytest.mark.slow


def shape(output: str) -> str:
    """The output without its numbers, of which some differ from run to run."""
    return re.sub(r"\d[\d,.]*", "N", output)


def test_the_page_shows_every_example() -> None:
    there = {path.relative_to(ROOT).as_posix() for path in (ROOT / "examples").glob("*.py")}
    assert set(SHOWN) == there


@pytest.mark.parametrize("example", SHOWN)
def test_an_example_runs_and_prints_what_the_page_shows(example: str) -> None:
    output = examples_page.printed(example)
    # How many jobs fail for good is up to the moment of the kill.
    shown = re.sub(r"tries: \[.*\]", "tries: []", SHOWN[example])
    assert shape(re.sub(r"tries: \[.*\]", "tries: []", output)) == shape(shown)
    OUTCOMES[example.removeprefix("examples/").removesuffix(".py")](output)


def recorder(output: str) -> None:
    assert "864,000 readings written, 259,200 kept, from 2026-11-08T00:00:00 on\n" in output


def features(output: str) -> None:
    answers = [int(number.replace(",", "")) for number in re.findall(r"([\d,]+) answers", output)]
    assert len(answers) == 3
    assert min(answers) > 0


def embeddings(output: str) -> None:
    nearest, *others = re.findall(r"\((\d\.\d{3})\)", output)
    assert float(nearest) > 0.8
    assert all(float(cosine) < 0.5 for cosine in others)


def jobs(output: str) -> None:
    ended, running = map(int, re.findall(r"(\d+) jobs had ended, (\d+) were running", output)[0])
    assert 100 <= ended < 400
    assert 0 <= running <= 8
    done = int(re.findall(r"went on: (\d+) of 400", output)[0])
    failed = ast.literal_eval(output.rpartition(": ")[2])
    assert 13 in failed
    assert done + len(failed) == 400


def follower(output: str) -> None:
    assert "compaction has freed changes that it had not seen" in output
    assert "after four kills the totals of 50 customers are right" in output


OUTCOMES: dict[str, Callable[[str], None]] = {
    one.__name__: one for one in (recorder, features, embeddings, jobs, follower)
}


@pytest.mark.parametrize(
    ("name", "part", "wrong"),
    [
        ("recorder", "celsius", lambda moments: (moments - moments.min()).astype(float).astype("f4")),
        ("embeddings", "same", lambda *_: False),
        ("jobs", "work", lambda number, _: number + 1),
        ("follower", "wait_for", lambda *_: {}),
    ],
)
def test_an_example_that_finds_a_wrong_answer_says_so_and_fails(
    monkeypatch: pytest.MonkeyPatch, name: str, part: str, wrong: Any
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    example = importlib.import_module(name)
    monkeypatch.setattr(example, part, wrong)
    with pytest.raises(SystemExit, match=r"^WRONG: "):
        example.main()
