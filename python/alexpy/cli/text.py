"""How keys, numbers and messages look on the terminal and as JSON; knows no store and no file."""

from __future__ import annotations

import json
from typing import Any

_SHOWN_KEYS = 10
SHOWN_CHARS = 60


def json_line(what: object) -> bytes:
    """Return compact JSON and a line end; what of a path is not UTF-8 as JSON's escapes of its bytes."""
    # Only such bytes have no encoding: `\\udcff` stands for 0xff, in JSON as in Python.
    text = json.dumps(what, ensure_ascii=False, separators=(",", ":"))
    return text.encode(errors="backslashreplace") + b"\n"


def one_line(message: str) -> str:
    """Return a message as one line that is safe on a terminal, whatever a file name or a value holds."""
    return "".join(map(_visible, " ".join(message.splitlines())))


def _visible(character: str) -> str:
    """Return a character as it is if a terminal shows it, else its bytes as escapes."""
    if character.isprintable():
        return character
    return "".join(f"\\x{byte:02x}" for byte in character.encode(errors="surrogateescape"))


def count(number: int, noun: str) -> str:
    """Return a number with its noun: '1 key', '2,000 keys'."""
    return f"1 {noun}" if number == 1 else f"{number:,} {noun}s"


def keys(given: list[Any]) -> str:
    """Return the keys of a message: 'key 7', 'keys 7, 8', and how many there are if they are many."""
    shown = ", ".join(map(str, given[:_SHOWN_KEYS]))
    if len(given) > _SHOWN_KEYS:
        return f"keys {shown} and {len(given) - _SHOWN_KEYS:,} more"
    return f"key {shown}" if len(given) == 1 else f"keys {shown}"


def byte_count(count: int) -> str:
    """Return a size for people: 1536 is '1.5 KiB'."""
    size = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:  # noqa: PLR2004
            return f"{count} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"


def shown(value: str | int) -> str:
    """Return text as Python would write it and a number as it is, cut to what fits in a message."""
    text = str(value)
    shown = text[:SHOWN_CHARS] if isinstance(value, int) else repr(text[:SHOWN_CHARS])
    return shown if len(text) <= SHOWN_CHARS else f"{shown}..."
