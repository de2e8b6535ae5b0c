"""`make figures`: make the published figures again, and say of each whether it still holds.

Reads docs/figures.toml. A figure is how many times better alexpy is than what it is measured beside, within
one run, so that runs of different machines can be compared. Of two hundred some are low by chance: what has
those is carried out once more, and both results are shown. Ends with 1 if a figure is low in both. Times by
themselves are not judged: they are the machine's.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import re
import statistics
import subprocess
import sys
import tempfile
import tomllib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from alexpy.compare import summary
from alexpy.compare.cells import BY_ID

ROOT = Path(__file__).resolve().parent.parent
_RIVALS = ("BTreeMap", "congee", "scry-index")
# Which of a rival's rows is beside which of ours; the others are beside the row of their own name.
_BESIDE = {"get_many": "get"}
# Openings after the kill of a writer that never pauses: what there is to replay depends on the moment of it.
_BY_CHANCE = re.compile(r"growth_\w+_opening")
_NUMBER = re.compile(r"\d+(?:\.\d+)?")


@dataclass(frozen=True)
class Run:
    """A command, and the result of it that was published."""

    name: str
    command: str
    result: str
    published: str
    pages: list[str]
    needs: list[str] = field(default_factory=list)
    again: str | None = None
    """The command for a part of it, named by options in place of {suites}. None: it has no parts."""

    def ratios(self, result: Path) -> dict[str, float]:
        """Return the figures of a result of this run, by name."""
        return RATIOS[self.name](json.loads(result.read_text(encoding="utf-8")))


@dataclass(frozen=True)
class Sentence:
    """A text with figures in it, in the order of their names."""

    page: str
    text: str
    figures: dict[str, list[str]]

    def told(self) -> list[str]:
        """Return the numbers in it that are figures: the first ones."""
        return _NUMBER.findall(self.text)[: sum(map(len, self.figures.values()))]


@dataclass(frozen=True)
class Published:
    """What docs/figures.toml says."""

    share: float
    runs: dict[str, Run]
    sentences: list[Sentence]

    @classmethod
    def read(cls, path: Path = ROOT / "docs/figures.toml") -> Published:
        """Read the file."""
        told = tomllib.loads(path.read_text(encoding="utf-8"))
        runs = {name: Run(name, **entry) for name, entry in told["runs"].items()}
        return cls(told["share"], runs, [Sentence(**entry) for entry in told["sentences"]])


@dataclass(frozen=True)
class Verdict:
    """One figure: what was published, what came out, and what when it was made again. None: not there."""

    name: str
    published: float
    found: float | None
    share: float
    again: float | None = None

    @property
    def holds(self) -> bool:
        """Whether it came out as large as it must, the first time or the second."""
        return max(self.found or 0, self.again or 0) >= self.published * self.share


def shown_as(ratio: float, text: str) -> bool:
    """Whether `text`, a number, is a ratio as pages print it: of a rival that wins, its own lead."""
    lead = ratio if ratio >= 1 else 1 / ratio
    decimals = len(text.partition(".")[2])
    return f"{lead:.{decimals}f}" == text


def judge(published: dict[str, float], found: dict[str, float], share: float) -> list[Verdict]:
    """Hold the figures of a run against the published ones."""
    return [Verdict(name, ratio, found.get(name), share) for name, ratio in published.items()]


def _compare(result: dict[str, Any]) -> dict[str, float]:
    """Return each row's ratio to its best rival."""
    rows = [row for row in summary.rows(result) if not _BY_CHANCE.fullmatch(row.id)]
    return {row.id: row.ratio for row in rows if row.ratio is not None}


def _demo(result: dict[str, Any]) -> dict[str, float]:
    medians = {
        name: {side: statistics.median(times) for side, times in sides.items()}
        for name, sides in result["seconds"].items()
    }
    ratios = {name: sides["SQLite"] / sides["alexpy"] for name, sides in medians.items()}
    return ratios | {"disk": result["disk_bytes"]["SQLite"] / result["disk_bytes"]["alexpy"]}


def _index(result: dict[str, Any]) -> dict[str, float]:
    """Return ratios to the best rival in Rust, by set and row, and of each SIMD kernel to its scalar twin."""
    medians = {name: statistics.median(samples) for name, samples in result["samples"].items()}
    ratios = {}
    for name, nanoseconds in medians.items():
        kind, row = name.rsplit("/", 1)
        beside = [f"{kind}/{_BESIDE.get(row, row)}@{rival}" for rival in _RIVALS]
        there = [medians[other] for other in beside if other in medians]
        if there and "@" not in row:
            ratios[name] = min(there) / nanoseconds
    for kernel, errors in result["scalar beside SIMD, in turn"].items():
        ratios[f"search {kernel}"] = errors["8-45"]
    return ratios


def _training(result: dict[str, Any]) -> dict[str, float]:
    """Return ratios to the best loader over LMDB, with the same workers."""
    ratios = {}
    for workers, rates in result["rates"].items():
        rivals = [rate for loader, rate in rates.items() if loader.startswith("LMDB")]
        for loader, rate in rates.items():
            # What workers take of memory is there, too.
            if rivals and not loader.startswith("LMDB"):
                ratios[f"{workers}: {loader}"] = rate / max(rivals)
    return ratios


RATIOS = {
    "compare": _compare,
    "demo": _demo,
    "index": _index,
    "training": _training,
}


def _carry_out(run: Run, command: str, folder: Path) -> Path:
    """Carry out a command of a run; the result."""
    folder.mkdir(parents=True, exist_ok=True)
    command = command.replace("{to}", str(folder))
    print(f"{run.name}: {command}", flush=True)
    subprocess.run(["sh", "-c", command], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return folder / run.result


def _made(run: Run, to: Path, share: float) -> list[Verdict] | None:
    """Judge a run, of which what has low figures is made twice; None where what it needs is not installed."""
    missing = [name for name in run.needs if importlib.util.find_spec(name) is None]
    if missing:
        print(f"{run.name}: not run, since it needs pip install {' '.join(missing)}\n")
        return None
    published = run.ratios(ROOT / run.published)
    verdicts = judge(published, run.ratios(_carry_out(run, run.command, to / run.name)), share)
    low = [verdict.name for verdict in verdicts if verdict.found is not None and not verdict.holds]
    if not low:
        return verdicts
    print(f"{run.name}: once more for {', '.join(low)}", flush=True)
    command = run.command
    if run.again is not None:
        suites = sorted({BY_ID[name].suite for name in low})
        command = run.again.replace("{suites}", " ".join(f"--suite {suite}" for suite in suites))
    again = run.ratios(_carry_out(run, command, to / f"{run.name}-again"))
    return [replace(one, again=again.get(one.name)) if one.name in low else one for one in verdicts]


def report(run: Run, verdicts: list[Verdict]) -> bool:
    """Print a line for each figure; whether all hold."""
    failed = [verdict for verdict in verdicts if not verdict.holds]
    width = max(len(verdict.name) for verdict in verdicts)
    print(f"\n{run.name}: of {', '.join(run.pages)}, published in {run.published}")
    for verdict in verdicts:
        found = "      gone" if verdict.found is None else f"{verdict.found:9.2f}x"
        again = "" if verdict.again is None else f", made again {verdict.again:.2f}x"
        print(
            f"  {verdict.name:{width}}{verdict.published:9.2f}x{found}"
            f"  {'holds' if verdict.holds else 'DOES NOT HOLD'}{again}"
        )
    print(f"  {len(verdicts) - len(failed)} of {len(verdicts)} hold")
    return not failed


def main(argv: list[str] | None = None) -> int:
    """Make the figures again and print the verdicts; the exit code."""
    published = Published.read()
    parser = argparse.ArgumentParser(prog="make figures", description=__doc__)
    parser.add_argument("--only", action="append", choices=list(published.runs), help="only this run")
    parser.add_argument(
        "--found", action="append", metavar="RUN=FILE", default=[], help="a result that is there already"
    )
    parser.add_argument("--to", type=Path, help="where results go; they are removed if it is not given")
    arguments = parser.parse_args(argv)
    there = dict(entry.split("=", 1) for entry in arguments.found)
    chosen = arguments.only or list(there) or list(published.runs)
    holds = True
    with tempfile.TemporaryDirectory(prefix="alexpy-figures-") as temporary:
        for name in chosen:
            run = published.runs[name]
            if name in there:
                ratios = run.ratios(Path(there[name]))
                verdicts: list[Verdict] | None = judge(
                    run.ratios(ROOT / run.published), ratios, published.share
                )
            else:
                verdicts = _made(run, arguments.to or Path(temporary), published.share)
            if verdicts is not None:
                holds = report(run, verdicts) and holds
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
