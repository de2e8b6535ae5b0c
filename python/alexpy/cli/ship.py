"""`alexpy ship`: copies of a store in object storage or another directory, and stores made of them.

alexpy.ship does the work. It is imported only when one of these commands runs, so that the other commands
start fast.
"""

from __future__ import annotations

import math
import re
import time
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from alexpy.errors import CorruptionError, FencedError, FormatError, LockedError

from . import output, text
from .messages import told
from .opening import no_directory_for, reader
from .options import BAD_INPUT, STORE_ERROR, Stopped, as_json, completed_as, examples, store_path
from .progress import progress

if TYPE_CHECKING:
    from collections.abc import Iterator

    from alexpy.ship import Shipment

_HELP = """Copy a store to object storage or another directory, and back.

PLACE is a directory, or a URL: s3://BUCKET/FOLDER, gs://BUCKET/FOLDER, az://ACCOUNT/CONTAINER/FOLDER.
Credentials come from the environment, as in AWS_ACCESS_KEY_ID. Needs pip install 'alexpy[ship]'.
"""
_FILES = ("seg-", "img-", "MANIFEST-")

place_argument = click.argument("place", shell_complete=completed_as("dir"))


@click.group(
    "ship",
    invoke_without_command=True,
    short_help="Copy a store to object storage or another directory, and back.",
    help=_HELP,
    epilog=examples("alexpy ship push flights shipped", "alexpy ship restore shipped flights-again"),
)
@click.pass_context
def ship(ctx: click.Context) -> None:
    """Show the help, if no command is named."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


@ship.command(
    "push",
    short_help="Ship what a store holds now.",
    epilog=examples("alexpy ship push flights shipped", "alexpy ship push flights shipped --json"),
)
@store_path
@place_argument
@click.option("--fork", is_flag=True, help="Begin a new epoch where another copy of STORE has shipped.")
@click.option("--quiet", is_flag=True, help="No progress.")
@as_json
def push(store: str, place: str, *, fork: bool, quiet: bool, json: bool) -> None:
    """Ship what STORE holds now to PLACE, also while it is written. Only what is not there yet is sent.

    Of several copies of a store only one may ship to a place: the others are refused (exit code 3).
    """
    from alexpy import ship as shipping  # noqa: PLC0415 - as above

    # Says what is wrong, where there is no store.
    reader(store).close()
    with _in_words(reads_store=True), progress("shipping", "bytes", quiet=quiet or json) as show:
        shipment = shipping.push(store, place, fork=fork, progress=show)
    if json:
        output.report_json({**_figures(shipment), "place": place})
    else:
        output.report(
            f"{place} holds {store} as of sequence {shipment.seq} (generation {shipment.generation}, epoch "
            f"{shipment.epoch}, {text.count(shipment.bytes, 'byte')})"
        )


@ship.command(
    "list",
    short_help="Show what was shipped.",
    epilog=examples("alexpy ship list shipped", "alexpy ship list shipped --json"),
)
@place_argument
@as_json
def list_shipments(place: str, *, json: bool) -> None:
    """Show all shipments in PLACE that can be restored, oldest first.

    Columns: generation, epoch, sequence, when it was shipped, and bytes. Exit code 3 says that some are
    damaged.
    """
    from alexpy.ship import _objects, _shipment  # noqa: PLC0415 - as above

    with _in_words():
        objects = _objects.connect(place, make=False)
        found = _shipment.survey(objects)
        if not found.newest:
            raise _shipment.nothing_at(objects)
    for one in found.whole:
        if json:
            output.write(text.json_line({**_figures(one), "made_at": one.made_at}))
        else:
            output.write_text(
                f"{one.generation}\t{one.epoch}\t{one.seq}\t{one.made_at}\t{text.count(one.bytes, 'byte')}"
            )
    if found.damaged:
        damaged = "; ".join(str(error) for error in found.damaged.values())
        raise Stopped(damaged, STORE_ERROR)


@ship.command(
    "restore",
    short_help="Make a store of what was shipped.",
    epilog=examples("alexpy ship restore shipped flights-restored", "alexpy verify flights-restored"),
)
@place_argument
@click.argument("dest", shell_complete=completed_as("dir"))
@click.option("--at", type=click.IntRange(min=0), help="The sequence that was shipped. [default: the newest]")
@click.option("--epoch", type=click.IntRange(min=1), help="In the history of an epoch. [default: the newest]")
@click.option("--quiet", is_flag=True, help="No progress.")
@as_json
def restore(place: str, dest: str, *, at: int | None, epoch: int | None, quiet: bool, json: bool) -> None:
    """Make a store in the new directory DEST of what was shipped to PLACE.

    Everything is checked before DEST is there. Made of the newest shipment, it may be pushed there again.
    """
    from alexpy import ship as shipping  # noqa: PLC0415 - as above

    if not Path(dest).absolute().parent.is_dir():
        raise no_directory_for(dest)
    with _in_words(), progress("restoring", "bytes", quiet=quiet or json) as show:
        shipment = shipping.restore(place, dest, at=at, epoch=epoch, progress=show)
    if json:
        output.report_json({**_figures(shipment), "dest": dest})
    else:
        output.report(f"{dest} holds what was shipped to {place} as of sequence {shipment.seq}")


@ship.command(
    "follow",
    short_help="Keep a directory for readers up to date with what is shipped.",
    epilog=examples(
        "alexpy ship follow shipped flights-mirror",
        "timeout 1 alexpy ship follow shipped flights-mirror --interval 0.5",
    ),
)
@place_argument
@click.argument("dest", shell_complete=completed_as("dir"))
@click.option(
    "--interval",
    type=click.FloatRange(min=0),
    help="Go on until Ctrl-C, with a look every so many seconds. [default: once]",
)
@click.option("--quiet", is_flag=True, help="No progress.")
@as_json
def follow(place: str, dest: str, *, interval: float | None, quiet: bool, json: bool) -> None:
    """Bring the directory DEST up to what was shipped to PLACE last; the first time, it is made.

    Commands that read may use DEST meanwhile: they see one shipment or the next, never an older one. Nothing
    can be written there (`alexpy backup` makes a store of it). An epoch of PLACE that begins without what
    DEST shows is refused (exit code 3).
    """
    from alexpy import ship as shipping  # noqa: PLC0415 - as above

    if interval is not None and math.isnan(interval):
        raise click.BadParameter("it is no number of seconds", param_hint="--interval")
    if not Path(dest).absolute().parent.is_dir():
        raise no_directory_for(dest)
    show = _Shown(place, dest, json=json)
    with _in_words():
        if interval is None:
            with progress("following", "bytes", quiet=quiet or json) as told:
                show.report(shipping.follow(place, dest, progress=told))
        else:
            _go_on(place, dest, interval, show)


class _Shown:
    """Tells of each shipment once."""

    def __init__(self, place: str, dest: str, *, json: bool) -> None:
        self._place, self._dest, self._json = place, dest, json
        self._last = 0

    def report(self, shipment: Shipment) -> None:
        if shipment.generation == self._last:
            return
        self._last = shipment.generation
        if self._json:
            output.report_json({**_figures(shipment), "dest": self._dest})
        else:
            output.report(
                f"{self._dest} shows what was shipped to {self._place} as of sequence {shipment.seq} "
                f"(generation {shipment.generation}, epoch {shipment.epoch})"
            )


def _go_on(place: str, dest: str, interval: float, show: _Shown) -> None:
    """Follow until somebody ends it; a place that refuses is asked again, less and less often."""
    from alexpy.ship._follow import Following  # noqa: PLC0415 - as above
    from alexpy.ship._waiting import after_failure, bounded  # noqa: PLC0415

    with closing(Following(place, dest)) as following:
        show.report(following.refresh())
        wait = interval
        while True:
            time.sleep(bounded(wait))
            try:
                show.report(following.refresh())
                wait = interval
            except BlockingIOError:
                raise
            except OSError as error:
                click.echo(f"alexpy: {told(error)}; this goes on", err=True)
                wait = after_failure(wait)


@ship.command(
    "expire",
    short_help="Remove old shipments.",
    epilog=examples("alexpy ship expire shipped --keep 5", "alexpy ship expire shipped --days 30"),
)
@place_argument
@click.option("--keep", type=click.IntRange(min=1), default=10, show_default=True, help="So many stay.")
@click.option("--days", type=click.FloatRange(min=0), default=0.0, help="Those of so many days stay, too.")
@as_json
def expire(place: str, *, keep: int, days: float, json: bool) -> None:
    """Remove old shipments from PLACE, and what only they need, also beside pushes and restores."""
    from alexpy import ship as shipping  # noqa: PLC0415 - as above

    with _in_words():
        report = shipping.expire(place, keep=keep, days=days)
    if json:
        figures = {"shipments": report.shipments, "objects": report.objects, "bytes": report.bytes}
        output.report_json(figures)
    else:
        output.report(
            f"{text.count(report.shipments, 'shipment')} removed from {place}, and "
            f"{text.count(report.objects, 'object')} of {text.count(report.bytes, 'byte')}"
        )


def _figures(shipment: Shipment) -> dict[str, int]:
    return {
        "generation": shipment.generation,
        "epoch": shipment.epoch,
        "seq": shipment.seq,
        "bytes": shipment.bytes,
    }


@contextmanager
def _in_words(*, reads_store: bool = False) -> Iterator[None]:
    """Tell errors of shipping in the words of the command line."""
    try:
        yield
    except (ImportError, ValueError) as error:
        raise Stopped(_words(error), BAD_INPUT) from error
    except (FencedError, FormatError, LockedError) as error:
        raise Stopped(_words(error), STORE_ERROR) from error
    except CorruptionError as error:
        # That of the store itself is told with what mends it; a mirror is none.
        if reads_store and error.path is not None and Path(error.path).name.startswith(_FILES):
            raise
        raise Stopped(_words(error), STORE_ERROR) from error


def _words(error: Exception) -> str:
    return re.sub(r"\b(at|epoch)=(SEQ|\d+)", r"--\1 \2", str(error).replace("fork=True", "--fork"))
