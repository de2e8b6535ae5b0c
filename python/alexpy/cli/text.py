"""How keys and values look on the terminal and as JSON; knows no store and no file."""

from __future__ import annotations

import base64
import json


def item_line(key: int, value: bytes) -> bytes:
    """Return one line for people: key, tab, value; as Python bytes if the value is not one line of text."""
    try:
        text = value.decode()
    except UnicodeDecodeError:
        text = repr(value)
    else:
        if not text.isprintable():
            text = repr(value)
    return f"{key}\t{text}\n".encode()


def item_json(key: int, value: bytes) -> bytes:
    """Return one JSON line for programs, of `item`."""
    return json_line(item(key, value))


def item(key: int, value: bytes) -> dict[str, object]:
    """Return key and value for JSON: `value` as text if it is UTF-8, else `value_base64`."""
    try:
        return {"key": key, "value": value.decode()}
    except UnicodeDecodeError:
        return {"key": key, "value_base64": base64.b64encode(value).decode()}


def json_line(what: object) -> bytes:
    """Return compact JSON and a line end."""
    return json.dumps(what, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def byte_count(count: int) -> str:
    """Return a size for people: 1536 is '1.5 KiB'."""
    size = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:  # noqa: PLR2004
            return f"{count} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"
