"""The driver: every suite on every engine, each in a process of its own, in turns, several times over.

In each repetition the engines of a suite follow one another, and another one begins each time, so that other
load on the machine affects all of them. The first repetition is always complete; a further run of a suite
begins only if it is likely to end within the given minutes. Knows engines by name only.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .cells import CELLS
from .engines import RIVALS_EXTRA, missing_package
from .machine import machine
from .suites import RAW, SUITES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .sizes import Sizes

# A worker that takes longer than this hangs.
_WORKER_SECONDS = 1800


class RunFailed(Exception):  # noqa: N818 - says what happened
    """A worker ended badly: a wrong answer, an engine that failed, or one that hangs."""


@dataclass
class Run:
    """Everything that one run found; what is written as JSON."""

    command: str
    sizes: Sizes
    machine: dict[str, object]
    started: str
    minutes: float = 0.0
    checked: int = 0
    engines: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By kind and name, as "store/sqlite": label, versions, settings, promises by mode."""
    cells: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By cell and engine: the figures of each repetition, or the reason why there are none."""
    memory: dict[str, dict[str, list[dict[str, int]]]] = field(default_factory=dict)
    """By suite and engine: growth of memory in each repetition."""

    def as_json(self) -> str:
        """Return the text of a `compare.json`, from which pages can be made anew."""
        return json.dumps(asdict(self), indent=1) + "\n"


@dataclass(frozen=True)
class Plan:
    """Which engines run which suites."""

    suites: dict[str, tuple[str, ...]]
    missing: dict[str, str]

    @classmethod
    def make(
        cls, suites: Sequence[str], only: Sequence[str] = (), more: dict[str, tuple[str, ...]] | None = None
    ) -> Plan:
        """Take the engines of each suite that are installed (and in `only`, where it names any)."""
        chosen: dict[str, tuple[str, ...]] = {}
        missing: dict[str, str] = {}
        for name in suites:
            suite = SUITES[name]
            engines = (more or {}).get(name, suite.engines)
            if only:
                engines = tuple(engine for engine in engines if engine in {*only, RAW})
            there = []
            for engine in engines:
                package = None if engine == RAW else missing_package(suite.kind, engine)
                if package is None:
                    there.append(engine)
                else:
                    missing[f"{suite.kind}/{engine}"] = (
                        f"the package {package} is not installed ({RIVALS_EXTRA})"
                    )
            chosen[name] = tuple(there)
        return cls(chosen, missing)


def run(
    plan: Plan,
    sizes: Sizes,
    *,
    command: str,
    minutes: float,
    folder: Path | None = None,
    say: Callable[[str], None] = lambda _line: None,
    keep: Callable[[Run], object] = lambda _found: None,
) -> Run:
    """Carry out a plan. Data goes below `folder` (default: the temporary directory) and is removed again.

    `keep` gets what was found so far after each engine, so that nothing measured is lost when the run ends
    early.

    Raises:
        RunFailed: a worker gave a wrong answer or failed.

    """
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="alexpy-compare-", dir=folder) as made:
        found = Run(command, sizes, machine(Path(made)), datetime.now(UTC).isoformat(timespec="seconds"))
        for key, reason in plan.missing.items():
            say(f"without {key}: {reason}")
        took: dict[str, float] = {}
        for repetition in range(sizes.repetitions):
            for suite, engines in plan.suites.items():
                if repetition and SUITES[suite].once:
                    continue
                so_far = time.monotonic() - began
                if repetition and so_far + took[suite] > minutes * 60:
                    say(f"repetition {repetition + 1} of {suite}: left out, {minutes:g} minutes are spent")
                    continue
                for engine in _turned(engines, repetition):
                    say(f"[{(time.monotonic() - began) / 60:4.1f} min] {suite}, {engine}, {repetition + 1}")
                    _note(found, suite, engine, _work(suite, engine, sizes, Path(made)))
                    found.minutes = round((time.monotonic() - began) / 60, 2)
                    keep(found)
                took[suite] = time.monotonic() - began - so_far
    for key, reason in plan.missing.items():
        _note_missing(found, plan, key, reason)
    found.minutes = round((time.monotonic() - began) / 60, 2)
    return found


def _turned(engines: tuple[str, ...], by: int) -> tuple[str, ...]:
    at = by % max(1, len(engines))
    return engines[at:] + engines[:at]


def _work(suite: str, engine: str, sizes: Sizes, folder: Path) -> dict[str, Any]:
    path = folder / f"{suite}-{engine}"
    path.mkdir()
    # Writes that the previous engine left to the disk must not slow this one.
    os.sync()
    spec = {"suite": suite, "engine": engine, "sizes": asdict(sizes), "folder": str(path)}
    try:
        done = subprocess.run(
            [sys.executable, "-m", "alexpy.compare.worker"],
            input=json.dumps(spec) + "\n",
            capture_output=True,
            text=True,
            check=False,
            timeout=_WORKER_SECONDS,
        )
    except subprocess.TimeoutExpired as hung:
        raise RunFailed(f"{engine} in suite {suite} had not ended after {_WORKER_SECONDS} s") from hung
    finally:
        shutil.rmtree(path)
    if done.returncode:
        # Of a traceback, what follows the indented lines says what happened.
        lines = done.stderr.strip().splitlines()
        traced = [place for place, line in enumerate(lines, 1) if line.startswith(" ")]
        what = "\n".join(lines[max(traced, default=0) :])
        raise RunFailed(f"{engine} in suite {suite}: {what or f'exit code {done.returncode}'}")
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def _note(found: Run, suite: str, engine: str, answer: dict[str, Any]) -> None:
    kind = SUITES[suite].kind
    about = found.engines.setdefault(
        f"{kind}/{engine}",
        {
            "label": answer["label"],
            "versions": answer["versions"],
            "settings": answer["settings"],
            "promises": {},
        },
    )
    about["promises"][answer["mode"]] = answer["promise"]
    found.checked += answer["checked"]
    for cell, figure in answer["figures"].items():
        entry = found.cells.setdefault(cell, {}).setdefault(engine, {"mode": answer["mode"], "figures": []})
        if "lacks" in figure:
            entry["lacks"] = figure["lacks"]
        else:
            entry["figures"].append(figure)
    if answer["memory"]:
        found.memory.setdefault(suite, {}).setdefault(engine, []).append(answer["memory"])


def _note_missing(found: Run, plan: Plan, key: str, reason: str) -> None:
    kind, engine = key.split("/")
    for cell in CELLS:
        if (
            cell.suite in plan.suites
            and SUITES[cell.suite].kind == kind
            and engine in SUITES[cell.suite].engines
        ):
            found.cells.setdefault(cell.id, {})[engine] = {"mode": cell.mode, "figures": [], "lacks": reason}
