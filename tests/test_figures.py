"""Published figures are those of the published results, and `make figures` tells when they do not hold."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

import pytest

import figures

if TYPE_CHECKING:
    from pathlib import Path

PUBLISHED = figures.Published.read()


@pytest.mark.parametrize("run", PUBLISHED.runs.values(), ids=lambda run: run.name)
def test_each_run_has_figures_and_the_pages_name_the_result(run: figures.Run) -> None:
    ratios = run.ratios(figures.ROOT / run.published)
    assert ratios
    assert all(ratio > 0 for ratio in ratios.values())
    for page in run.pages:
        text = (figures.ROOT / page).read_text()
        # The pages of `make demo` and of `make bench` name the command, and the result is found by it.
        assert run.published in text or "made by `make bench`" in text, page


@pytest.mark.parametrize("sentence", PUBLISHED.sentences, ids=lambda sentence: sentence.text[:30])
def test_the_figures_in_a_sentence_are_the_published_ones(sentence: figures.Sentence) -> None:
    page = " ".join((figures.ROOT / sentence.page).read_text().split())
    assert sentence.text in page
    published = [
        PUBLISHED.runs[run].ratios(figures.ROOT / PUBLISHED.runs[run].published)[name]
        for run, names in sentence.figures.items()
        for name in names
    ]
    told = sentence.told()
    assert len(told) == len(published)
    for text, ratio in zip(told, published, strict=True):
        assert figures.shown_as(ratio, text), f"{text} is told, and {ratio} was published"


@pytest.mark.parametrize(
    ("ratio", "text", "expected"),
    [
        (19.87, "20", True),
        (19.4, "20", False),
        (0.1163, "8.6", True),
        (0.5, "2.0", True),
        (0.5, "0.5", False),
    ],
)
def test_a_rivals_lead_is_told_as_its_own(ratio: float, text: str, expected: bool) -> None:
    assert figures.shown_as(ratio, text) is expected


def made(tmp_path: Path, change: float, only: str = "load") -> Path:
    """Return the published result of the demo, with one of our times multiplied."""
    result: dict[str, Any] = json.loads((figures.ROOT / PUBLISHED.runs["demo"].published).read_text())
    result["seconds"][only]["alexpy"] = [time * change for time in result["seconds"][only]["alexpy"]]
    path = tmp_path / "found.json"
    path.write_text(json.dumps(result))
    return path


def test_a_figure_that_came_out_lower_is_named_and_fails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert figures.main(["--found", f"demo={made(tmp_path, 1.2)}"]) == 0
    assert "7 of 7 hold" in capsys.readouterr().out
    assert figures.main(["--found", f"demo={made(tmp_path, 1.5)}"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines if line.endswith("DOES NOT HOLD")] == ["load"]


def made_twice(
    monkeypatch: pytest.MonkeyPatch, name: str, results: list[Path], again: str | None = None
) -> list[str]:
    """Let `make figures` find one run, with these results one after another; the commands it gave."""
    commands: list[str] = []

    def carry_out(_run: figures.Run, command: str, _folder: Path) -> Path:
        commands.append(command)
        return results[len(commands) - 1]

    monkeypatch.setattr(figures, "_carry_out", carry_out)
    run = dataclasses.replace(PUBLISHED.runs[name], needs=[], again=again)
    published = figures.Published(PUBLISHED.share, {name: run}, [])
    monkeypatch.setattr(figures.Published, "read", lambda: published)
    return commands


@pytest.mark.parametrize(("second", "code", "told"), [(1.1, 0, "holds"), (1.5, 1, "DOES NOT HOLD")])
def test_what_has_a_low_figure_is_made_once_more(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    second: float,
    code: int,
    told: str,
) -> None:
    (tmp_path / "again").mkdir()
    results = [made(tmp_path, 1.6), made(tmp_path / "again", second)]
    commands = made_twice(monkeypatch, "demo", results)
    assert figures.main([]) == code
    assert commands == [PUBLISHED.runs["demo"].command] * 2
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "made again" in line]
    assert line.split()[0] == "load"
    assert f"{told}, made again" in line


def test_of_the_comparison_only_the_suites_with_low_figures_are_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = PUBLISHED.runs["compare"]
    assert run.again is not None
    published = figures.ROOT / run.published
    result: dict[str, Any] = json.loads(published.read_text())
    for figure in result["cells"]["get_many"]["alexpy"]["figures"]:
        figure["seconds"] *= 10
    low = tmp_path / "low.json"
    low.write_text(json.dumps(result))
    commands = made_twice(monkeypatch, "compare", [low, published], run.again)
    assert figures.main([]) == 0
    assert commands == [run.command, run.again.replace("{suites}", "--suite table")]


def test_a_figure_that_is_gone_does_not_hold() -> None:
    (verdict,) = figures.judge({"load": 4.0}, {}, 0.75)
    assert not verdict.holds


def test_a_run_that_lacks_a_package_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(figures.importlib.util, "find_spec", lambda _name: None)
    assert figures.main(["--only", "training"]) == 0
    assert "not run, since it needs pip install torch lmdb" in capsys.readouterr().out
