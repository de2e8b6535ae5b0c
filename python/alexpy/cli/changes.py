"""`alexpy changes`: what was committed, in order, and what goes on being committed."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import click

import alexpy

from . import keys, output, text
from .meaning import Meaning, meaning_of
from .opening import reader
from .options import as_json, examples, store_path

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@click.command(
    "changes",
    short_help="Show what was committed, in order.",
    epilog=examples(
        "alexpy changes flights",
        "alexpy changes flights --since 2 --json",
        "timeout 1 alexpy changes flights --follow   # those of the next second",
    ),
)
@store_path
@click.option(
    "--since",
    type=click.IntRange(min=0, max=2**64 - 1),
    help="Only changes after this sequence number. [default: all, or with --follow those from now on]",
)
@click.option("--follow", is_flag=True, help="Go on with what is committed meanwhile, until Ctrl-C.")
@as_json
def changes(store: str, since: int | None, *, follow: bool, json: bool) -> None:
    r"""Show the committed changes of STORE in their order, a line each, also while it is written.

    A line is the sequence number, tab, "put", tab, key, tab, value as `scan` shows it; or "delete" with the
    key, or with the first and the last of a range of keys. With --json it is
    {"seq": ..., "key": ..., "value": ...} (or "value_base64"), or {"seq": ..., "key": ..., "deleted": true},
    with "start" and "stop" in place of "key" for a range from "start" up to, not including, "stop"; or, where
    keys are times or UUIDs, "first" and "last", both included. Changes that compaction has freed are refused
    (exit code 3).
    """
    with reader(store) as opened:
        line = functools.partial(_json if json else _line, meaning_of(opened))
        seen = opened.refresh()
        since = (seen if follow else 0) if since is None else since
        for lines in _rounds(opened, since, seen, line, follow=follow):
            output.write_lines(lines)


def _rounds(
    opened: alexpy.Store[Any, bytes],
    since: int,
    seen: int,
    line: Callable[[alexpy.Change[Any]], bytes],
    *,
    follow: bool,
) -> Iterator[Iterator[bytes]]:
    last = since

    def lines() -> Iterator[bytes]:
        nonlocal last
        for change in opened.changes(last):
            yield line(change)
            last = change.seq

    yield lines()
    while follow:
        seen = opened.wait(seen + 1)
        yield lines()


def _line(meaning: Meaning, change: alexpy.Change[Any]) -> bytes:
    seq, key, value = change
    if isinstance(key, range):
        return f"{seq}\tdelete\t{key.start}\t{key.stop - 1}\n".encode()
    if isinstance(key, alexpy.KeyRange):
        return f"{seq}\tdelete\t{keys.to_text(key.first)}\t{keys.to_text(key.last)}\n".encode()
    if value is None:
        return f"{seq}\tdelete\t{keys.to_text(key)}\n".encode()
    return f"{seq}\tput\t".encode() + meaning.line(key, value)


def _json(meaning: Meaning, change: alexpy.Change[Any]) -> bytes:
    seq, key, value = change
    if isinstance(key, range):
        return text.json_line({"seq": seq, "start": key.start, "stop": key.stop, "deleted": True})
    if isinstance(key, alexpy.KeyRange):
        ends = {"first": keys.to_json(key.first), "last": keys.to_json(key.last)}
        return text.json_line({"seq": seq, **ends, "deleted": True})
    if value is None:
        return text.json_line({"seq": seq, "key": keys.to_json(key), "deleted": True})
    return text.json_line({"seq": seq, "key": keys.to_json(key), **meaning.fields(value)})
