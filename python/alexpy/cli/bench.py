"""`alexpy bench`: measurements of this machine, which alexpy.compare implements."""

from __future__ import annotations

import json as json_module
import shlex
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from . import output
from .files import new_file
from .options import as_json, examples

if TYPE_CHECKING:
    from alexpy.compare.breakdown import Breakdown

_HELP = """Show where the time of a million inserts and reads goes, sequential and random.

For alexpy's own store, and for an ALEX index over RocksDB (pip install 'alexpy[rocksdb]'), which is where
this project began: there its engine took 1,612 ms, 77.1 % of it storage, 20.6 % index, 2.3 % the rest.

Nothing is timed inside the engines. The whole is timed, then each part alone on the same data; overhead is
what no part explains. Parts alone have the caches to themselves: they are lower bounds, the overhead an upper
one.
"""


@click.group(
    "bench",
    short_help="Measure where time goes.",
    epilog=examples("alexpy bench profile --keys 10000 --repetitions 1"),
)
def bench() -> None:
    """Measure this machine."""


@bench.command(
    "profile",
    short_help="Where the time of inserts and reads goes.",
    help=_HELP,
    epilog=examples("alexpy bench profile --keys 10000 --repetitions 1"),
)
@click.option("--keys", type=click.IntRange(min=1), default=1_000_000, show_default=True)
@click.option("--value-bytes", type=click.IntRange(min=1), default=100, show_default=True)
@click.option("--repetitions", type=click.IntRange(min=1), default=3, show_default=True)
@click.option("--output", "to", metavar="FILE", help="Also write the figures there, as JSON.")
@as_json
def profile(keys: int, value_bytes: int, repetitions: int, to: str | None, *, json: bool) -> None:
    """Run the command."""
    if to is None:
        _measured(keys, value_bytes, repetitions, json=json)
        return
    # Opened first: a file that cannot be written should not be found out after all the measuring.
    with new_file(to, replace=True) as sink:
        figures = _measured(keys, value_bytes, repetitions, json=json)
        sink.write(json_module.dumps(figures, indent=1).encode() + b"\n")


def _measured(keys: int, value_bytes: int, repetitions: int, *, json: bool) -> dict[str, object]:
    """Measure, print and return the figures."""
    from alexpy.compare.breakdown import ENGINES, breakdowns, missing  # noqa: PLC0415 - only this command
    from alexpy.compare.machine import machine  # noqa: PLC0415 - as above

    reason = missing()
    if reason:
        click.echo(f"without RocksDB: {reason}", err=True)
    engines = ENGINES if reason is None else ("alexpy",)
    found = []
    for one in breakdowns(keys, value_bytes, repetitions, engines):
        found.append(one)
        if not json:
            output.write_text(_table(one))
    figures: dict[str, object] = {
        "command": shlex.join(["alexpy", *sys.argv[1:]]),
        "machine": machine(Path.cwd()),
        "value_bytes": value_bytes,
        "repetitions": repetitions,
        "breakdowns": [asdict(one) | {"overhead": one.overhead} for one in found],
    }
    if json:
        output.write_text(json_module.dumps(figures))
    else:
        output.write_text(
            f"Medians of {repetitions}; values of {value_bytes} bytes; inserts in batches of 10,000, then a "
            "flush; reads in one batch call. Each part was measured alone on the same data (--help)."
        )
    return figures


def _table(one: Breakdown) -> str:
    lines = [f"{one.engine}: {one.work}: {one.whole * 1e3:,.0f} ms"]
    for name, seconds in [*one.parts.items(), ("overhead", one.overhead)]:
        lines.append(f"  {name:<11}{seconds * 1e3:>9,.1f} ms {seconds / one.whole:>7.1%}")
    return "\n".join(lines) + "\n"
