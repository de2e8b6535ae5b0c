"""`alexpy compare`: measures alexpy beside its rivals, and makes pages of the results.

alexpy.compare does the work. It is imported only when one of these commands runs, so that the other commands
start fast.
"""

from __future__ import annotations

import json as json_module
import math
import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from . import output
from .options import BAD_INPUT, WRONG_ANSWER, Stopped, as_json, examples

if TYPE_CHECKING:
    from collections.abc import Mapping

    from alexpy.compare.run import Run

_HELP = """Measure alexpy beside SQLite, LMDB, RocksDB, LevelDB and what Python has in memory.

Every engine runs in a process of its own, under a durability promise that is named; every answer is checked.
RocksDB runs as it comes and tuned for reads; only tuned in suite squeezed, and only as it comes in growth,
zstd, versions and followers.

`pip install 'alexpy[compare]'` brings the rivals; those that are not there are left out and named.

OUTPUT gets compare.json (every raw figure), compare.html (a page with everything in it), compare.md and
plots.
Exit code 4: an engine gave a wrong answer, failed, or hung. What was measured before that, or before Ctrl-C,
is in compare-unfinished.json.
"""


def _minutes(_ctx: click.Context, _param: click.Parameter, minutes: float) -> float:
    if math.isnan(minutes):
        raise click.BadParameter("nan is no number of minutes")
    return minutes


@click.group(
    "compare",
    invoke_without_command=True,
    short_help="Measure alexpy beside its rivals.",
    help=_HELP,
    epilog=examples(
        "alexpy compare --quick",
        "alexpy compare --suite small --keys 1000 --output small",
    ),
)
@click.option("--quick", is_flag=True, help="A tenth of the sizes, in about 5 minutes.")
@click.option("--scale", is_flag=True, help="Only the 10M-key cycle: load, close, open, SIGKILL, reopen.")
@click.option(
    "--keys", type=click.IntRange(min=1), help="Instead of a million; all other sizes go in proportion."
)
@click.option("--repetitions", type=click.IntRange(min=1), default=3, show_default=True)
@click.option(
    "--minutes",
    type=click.FloatRange(min=0),
    callback=_minutes,
    default=45.0,
    show_default=True,
    help="No repetition begins after this.",
)
@click.option("--suite", "suites", multiple=True, help="Only this suite; may be repeated.")
@click.option("--engine", "engines", multiple=True, help="Only this engine; may be repeated.")
@click.option(
    "--folder", type=click.Path(file_okay=False, exists=True), help="Where data goes. [default: /tmp]"
)
@click.option(
    "--output", "to", type=click.Path(file_okay=False), default="compare-results", show_default=True
)
@as_json
@click.pass_context
def compare(  # noqa: PLR0913 - an option each
    ctx: click.Context,
    *,
    quick: bool,
    scale: bool,
    keys: int | None,
    repetitions: int,
    minutes: float,
    suites: tuple[str, ...],
    engines: tuple[str, ...],
    folder: str | None,
    to: str,
    json: bool,
) -> None:
    """Run the command."""
    if ctx.invoked_subcommand is not None:
        return
    from dataclasses import replace  # noqa: PLC0415

    from alexpy.compare.run import Plan, RunFailed, run  # noqa: PLC0415
    from alexpy.compare.sizes import FULL, QUICK  # noqa: PLC0415
    from alexpy.compare.suites import COMPARED, SCALE_ENGINES, SUITES  # noqa: PLC0415

    if quick and keys:
        raise click.UsageError("--quick and --keys both say how much; give one of them")
    if scale and suites:
        raise click.UsageError("--scale is a suite of its own; give it, or --suite")
    unknown = [name for name in suites if name not in SUITES]
    if unknown:
        raise Stopped(f"there is no suite {unknown[0]!r}; there are {', '.join(SUITES)}", BAD_INPUT)
    known = sorted({engine for suite in SUITES.values() for engine in suite.engines} | set(SCALE_ENGINES))
    unknown = [name for name in engines if name not in known]
    if unknown:
        raise Stopped(f"there is no engine {unknown[0]!r}; there are {', '.join(known)}", BAD_INPUT)
    sizes = replace(FULL.scaled(keys) if keys else QUICK if quick else FULL, repetitions=repetitions)
    chosen = suites or (("large",) if scale else COMPARED)
    plan = Plan.make(chosen, engines, {"large": SCALE_ENGINES} if scale else None)
    if not any(plan.suites.values()):
        raise Stopped(f"no engine of {', '.join(engines)} is in suite {', '.join(chosen)}", BAD_INPUT)
    folder_of_results = _made(to)
    unfinished = folder_of_results / "compare-unfinished.json"
    kept: list[Path] = []

    def keep(so_far: Run) -> None:
        beginning = unfinished.with_suffix(".json.beginning")
        beginning.write_text(so_far.as_json(), encoding="utf-8")
        beginning.replace(unfinished)
        kept[:] = [unfinished]

    try:
        found = run(
            plan,
            sizes,
            command=shlex.join(["alexpy", *sys.argv[1:]]) if sys.argv[1:] else "alexpy compare",
            minutes=minutes,
            folder=Path(folder) if folder else None,
            say=lambda line: click.echo(line, err=True),
            keep=keep,
        )
    except RunFailed as failed:
        where = f"; what was measured before is in {unfinished}" if kept else ""
        raise Stopped(f"{failed}{where}", WRONG_ANSWER) from failed
    _write(found, folder_of_results, json=json)
    unfinished.unlink(missing_ok=True)


@compare.command(
    "report",
    short_help="Make the pages anew from raw figures.",
    epilog=examples("alexpy compare report small/compare.json --html small.html"),
)
@click.argument("raw", type=click.Path(dir_okay=False, exists=True))
@click.option("--html", type=click.Path(dir_okay=False), help="The page to write.")
@click.option("--markdown", type=click.Path(dir_okay=False), help="The Markdown file to write.")
@click.option("--plots", type=click.Path(file_okay=False), help="Where the Markdown file's plots go.")
@as_json
def report(raw: str, html: str | None, markdown: str | None, plots: str | None, *, json: bool) -> None:
    """Make pages from RAW, the compare.json of a run. With --json their names are printed."""
    if not (html or markdown or plots):
        raise click.UsageError("name what to make: --html, --markdown or --plots")
    for page in filter(None, (html, markdown)):
        if not Path(page).parent.is_dir():
            raise Stopped(
                f"{page}: the directory {Path(page).parent} does not exist; make that first", BAD_INPUT
            )
    found = _read(raw)
    beside = Path(plots) if plots else Path(markdown or html or raw).parent
    _pages(found, raw, Path(html) if html else None, Path(markdown) if markdown else None, beside)
    if json:
        output.report_json({"html": html, "markdown": markdown})


@compare.command(
    "decide",
    short_help="What the gates for RocksDB and own storage say on this machine.",
    epilog=examples("alexpy compare decide --keys 100000 --output decision"),
)
@click.option("--keys", type=click.IntRange(min=1), default=1_000_000, show_default=True)
@click.option("--repetitions", type=click.IntRange(min=1), default=3, show_default=True)
@click.option(
    "--folder", type=click.Path(file_okay=False, exists=True), help="Where data goes. [default: /tmp]"
)
@click.option(
    "--output", "to", type=click.Path(file_okay=False), help="Also write decide.json and decision.md there."
)
@as_json
def decide(keys: int, repetitions: int, folder: str | None, to: str | None, *, json: bool) -> None:
    """Measure phase 1 (ALEX over a tuned RocksDB) and phase 2 (own storage) beside SQLite, and judge."""
    from dataclasses import replace  # noqa: PLC0415

    from alexpy.compare import decide as judge  # noqa: PLC0415
    from alexpy.compare.run import Plan, RunFailed, run  # noqa: PLC0415
    from alexpy.compare.sizes import FULL  # noqa: PLC0415

    plan = Plan.make(tuple(judge.PLAN), (), judge.PLAN)
    if plan.missing:
        raise Stopped("; ".join(f"{name}: {reason}" for name, reason in plan.missing.items()), BAD_INPUT)
    sizes = replace(FULL.scaled(keys), repetitions=repetitions)
    results = None if to is None else _made(to)
    try:
        found = run(
            plan,
            sizes,
            command=shlex.join(["alexpy", *sys.argv[1:]]),
            minutes=60.0,
            folder=Path(folder) if folder else None,
            say=lambda line: click.echo(line, err=True),
        )
    except RunFailed as failed:
        raise Stopped(str(failed), WRONG_ANSWER) from failed
    raw = "decide.json"
    page = judge.report(json_module.loads(found.as_json()), raw)
    if results is not None:
        (results / raw).write_text(found.as_json(), encoding="utf-8")
        (results / "decision.md").write_text(page, encoding="utf-8")
    if json:
        output.report_json(json_module.loads(found.as_json()))
    else:
        output.report(page)


def _read(raw: str) -> Mapping[str, Any]:
    """Return the figures of a run, of which the text of a page can be made."""
    from alexpy.compare.text import markdown  # noqa: PLC0415

    try:
        found: Mapping[str, Any] = json_module.loads(Path(raw).read_text(encoding="utf-8"))
        markdown(found, [], raw)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise Stopped(f"{raw} is not the compare.json of a run; nothing was written", BAD_INPUT) from error
    return found


def _made(to: str) -> Path:
    """Make the directory of the results, before the hour of measuring rather than after it."""
    Path(to).mkdir(parents=True, exist_ok=True)
    return Path(to)


def _write(found: Run, to: Path, *, json: bool) -> None:
    raw = to / "compare.json"
    raw.write_text(found.as_json(), encoding="utf-8")
    _pages(json_module.loads(found.as_json()), str(raw), to / "compare.html", to / "compare.md", to)
    page = to / "compare.html"
    if json:
        output.report_json(
            {"answers_checked": found.checked, "minutes": found.minutes, "raw": str(raw), "html": str(page)}
        )
    else:
        output.report(f"{found.checked:,} answers checked in {found.minutes:.1f} minutes; {page}")


def _pages(
    found: Mapping[str, Any], raw: str, html: Path | None, markdown: Path | None, plots_to: Path
) -> None:
    from importlib.util import find_spec  # noqa: PLC0415

    from alexpy.compare.page import page  # noqa: PLC0415
    from alexpy.compare.text import markdown as as_markdown  # noqa: PLC0415

    drawn: list[tuple[Path, str]] = []
    if find_spec("matplotlib"):
        from alexpy.compare.plots import plots  # noqa: PLC0415

        drawn = plots(found, plots_to)
    else:
        click.echo("without plots: the package matplotlib is not installed", err=True)
    if html is not None:
        html.write_text(page(found, drawn, raw), encoding="utf-8")
    if markdown is not None:
        linked = [(_link(path, markdown), caption) for path, caption in drawn]
        markdown.write_text(as_markdown(found, linked, raw), encoding="utf-8")


def _link(path: Path, page: Path) -> str:
    # `Path.relative_to` walks up only from Python 3.12 on.
    return Path(os.path.relpath(path, page.parent)).as_posix()
