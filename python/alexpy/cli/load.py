"""`alexpy load`: rows of a file into a store, batch by batch, in bounded memory.

Each batch is one atomic `put_many`: after a kill the store holds whole batches, in file order, and at least
those that were reported. Memory is bounded by one batch: BATCH_BYTES of values, or fewer.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

import alexpy
from alexpy import codecs

from . import keys, output, text
from .batches import Batch, batched
from .inputs import Rows, open_rows
from .interrupt import CtrlC
from .meaning import meaning_named
from .messages import told
from .opening import made_with, writer_of_new
from .options import (
    BAD_INPUT,
    INTERRUPTED,
    STORE_ERROR,
    Stopped,
    as_json,
    completed_as,
    config_from_env,
    examples,
    key_kind_option,
    store_path,
)
from .progress import load_progress
from .rows import FORMATS, InputError, Row

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BATCH_ROWS = 10_000

_HELP = """Put the rows of FILE (csv, tsv or jsonl, also gzipped, or parquet; "-" is standard input) into the
store STORE.

The store is made if there is none, with keys of the kind --key-kind, values of --codec, and --compression.
One column holds the key: a plain integer from -2**63 to 2**63 - 1, or for other kinds of keys what
`alexpy get` takes. The value is the text of another column (--value), or without it the whole row as compact
JSON, its columns in file order. A key that is there already gets the new value: the last row with a key wins.

Rows are committed in batches, each all or nothing. With --json, each commit prints {"committed": n}, n being
the rows committed so far: they survive a kill of this process from then on. The command ends by flushing,
after which all rows survive a power cut too.

A field in double quotes may hold commas, tabs and quotes (""), and in CSV line ends. In TSV a row ends with
its line: a quote that is not closed there is a bad row.

In Parquet the key column is of integers, timestamps or dates, 16 bytes, or text, as the keys of the store
are. A value is the bytes of a binary column, the text of a string or the JSON of anything else; dates, times
and decimals are text in JSON. Needs pip install 'alexpy[arrow]'.

A missing column is refused before anything is written. A bad row (a key that is none, too few fields,
broken JSON or UTF-8) stops the load and names file, line and value; batches committed before it stay. Load
the corrected file again from its beginning: rows that are there already replace themselves.
"""


@dataclass(frozen=True, slots=True)
class Summary:
    """The counts of a load. `rows` is always the sum of `keys_new` and `keys_replaced`."""

    rows: int
    keys_new: int
    keys_replaced: int
    seconds: float


class Loading:
    """One load into one store: counts what is committed, for a report however the load ends."""

    def __init__(self, store: alexpy.Store[Any, bytes], *, json: bool) -> None:
        self._store = store
        self._kind = store.key_kind
        self.json = json
        self._keys_before = len(store)
        self._began = time.perf_counter()
        self.rows = 0

    def commit(self, batch: Batch) -> None:
        """Write one batch, and report it once it is committed."""
        self._store.put_many(keys.gathered(batch.keys, self._kind), batch.values)
        self.rows += len(batch.keys)
        if self.json:
            output.write(text.json_line({"committed": self.rows}))

    def finish(self) -> Summary:
        """Flush and count: after the call, every committed row survives a power cut."""
        self._store.flush()
        new = len(self._store) - self._keys_before
        return Summary(self.rows, new, self.rows - new, round(time.perf_counter() - self._began, 3))


@click.command(
    "load",
    short_help="Load the rows of a CSV, TSV, JSON lines or Parquet file.",
    help=_HELP,
    epilog=examples(
        "alexpy load flights flights.csv --key id",
        "alexpy load flights copy.parquet --key key --value value",
        "alexpy load flights all.jsonl.gz --key key --value value_base64 --base64",
        "printf 'at,celsius\\n2026-11-29T12:00,21.3\\n' > temperatures.csv",
        "alexpy load readings temperatures.csv --key at --key-kind 'datetime64[s]'",
        "gzip -dc all.jsonl.gz | alexpy load all - --format jsonl --key key --json",
    ),
)
@store_path
@click.argument("file", shell_complete=completed_as("file"))
@click.option("--key", required=True, metavar="COLUMN", help="The column that holds the key.")
@click.option("--value", metavar="COLUMN", help="The column that holds the value. [default: the row as JSON]")
@click.option("--format", "file_format", type=click.Choice(FORMATS), help="[default: by the name of FILE]")
@click.option("--base64", is_flag=True, help="The values of that column are base64, to be decoded.")
@key_kind_option
@click.option(
    "--codec",
    metavar="NAME",
    help="What the values are, if the store is made: text, json, numpy('f8'), struct('<id') ...",
)
@click.option(
    "--compression",
    type=click.Choice(("zstd",)),
    help="How values are compressed, if the store is made. [default: not at all]",
)
@click.option(
    "--batch-rows",
    type=click.IntRange(min=1),
    default=BATCH_ROWS,
    show_default=True,
    help="Most rows in a batch.",
)
@click.option(
    "--durability",
    type=click.Choice(("sync", "interval", "os")),
    help="What each commit survives: sync a power cut, interval and os a kill. [default: interval]",
)
@as_json
def load(  # noqa: PLR0913, PLR0917 - one parameter an option
    store: str,
    file: str,
    key: str,
    value: str | None,
    file_format: str | None,
    key_kind: str | None,
    codec: str | None,
    compression: str | None,
    batch_rows: int,
    durability: str | None,
    *,
    base64: bool,
    json: bool,
) -> None:
    """Run the command."""
    if base64 and value is None:
        raise click.UsageError("--base64 needs --value, the column to decode")
    config_from_env(durability)
    asked = _codec(codec)
    kind, name = made_with(store, key_kind, asked)
    with (
        _before_writing(),
        # JSON lines tell text from numbers, which in a store of JSON must not be lost.
        open_rows(
            file, file_format, key, value, kind=kind, base64=base64, as_json=meaning_named(name).is_json
        ) as rows,
    ):
        batches = batched(_stored(rows, name), batch_rows, kind)
        # The store is opened, and made, only once the first batch is known to be good.
        first = next(batches, None)
        with writer_of_new(store, durability, kind=kind, codec=asked, compression=compression) as opened:
            loading = Loading(opened, json=json)
            try:
                with (
                    CtrlC() as ctrl_c,
                    load_progress(f"loading {Path(rows.name).name}", rows.bytes_total, quiet=json) as show,
                ):
                    for batch in _chained(first, batches):
                        with ctrl_c.held():
                            loading.commit(batch)
                        show(loading.rows, rows.bytes_read)
            except InputError as error:
                _stop(loading, f"{error}", BAD_INPUT)
            except KeyboardInterrupt:
                _stop(loading, "interrupted", INTERRUPTED)
            except BrokenPipeError:
                raise
            except Stopped as end:
                raise Stopped(f"{end}; {_kept(loading.rows)}", end.exit_code) from end
            except (alexpy.AlexError, OSError, MemoryError) as error:
                # The store may be unable to flush or count now, so only the committed rows are reported.
                raise Stopped(f"{told(error)}; {_kept(loading.rows)}", STORE_ERROR) from error
            _report(loading.finish(), rows, store, json=json)


def _codec(name: str | None) -> codecs.Codec[Any] | None:
    try:
        return None if name is None else codecs.called(name)
    except (alexpy.FormatError, TypeError, ValueError) as error:
        raise click.BadParameter(
            f"{name!r} is no codec; give text, json, or a call of alexpy.codecs: "
            "numpy('f8'), numpy('f4', 3) or struct('<id')",
            param_hint="--codec",
        ) from error


def _stored(rows: Rows, codec: str | None) -> Iterator[Row]:
    """Make of the values of the file what is stored."""
    if codec is None:
        return iter(rows)
    meaning = meaning_named(codec)
    return _converted(rows, meaning.checked if rows.raw else meaning.stored)


def _converted(rows: Rows, convert: Callable[[bytes], bytes]) -> Iterator[Row]:
    for line, key, value in rows:
        try:
            made = convert(value)
        except ValueError as error:
            rows.bad(line, f"the value of key {keys.to_text(key)}: {error}")
        yield line, key, made


@contextmanager
def _before_writing() -> Iterator[None]:
    """Say that nothing was written, if a file cannot be loaded at all; later errors say what is kept."""
    try:
        yield
    except InputError as error:
        raise Stopped(f"{error}; nothing was written", BAD_INPUT) from error


def _chained(first: Batch | None, rest: Iterator[Batch]) -> Iterator[Batch]:
    if first is not None:
        yield first
    yield from rest


def _report(summary: Summary, rows: Rows, store: str, *, json: bool) -> None:
    if json:
        output.report_json(asdict(summary))
        return
    output.report(
        f"{text.count(summary.rows, 'row')} read from {rows.name} into {store} in {summary.seconds:.1f} s: "
        f"{_counted(summary)}; all flushed to the device"
    )


def _stop(loading: Loading, problem: str, exit_code: int) -> NoReturn:
    """End a load early, saying what is kept."""
    summary = loading.finish()
    if loading.json:
        output.write(text.json_line({**asdict(summary), "error": problem}))
    raise Stopped(f"{problem}; {_kept(summary.rows)} ({_counted(summary)})", exit_code)


def _counted(summary: Summary) -> str:
    return f"{text.count(summary.keys_new, 'key')} new, {summary.keys_replaced:,} replaced"


def _kept(rows: int) -> str:
    return f"the {text.count(rows, 'row')} of the batches before {'is' if rows == 1 else 'are'} kept"
