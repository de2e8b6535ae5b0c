"""What notebooks show of a mapping: its `repr`, and a table of its first and last items.

Knows `repr`, `scan` and the lengths of values, nothing of stores. O(1): at most ten items are read.
"""

from __future__ import annotations

from html import escape
from typing import Any

# Items shown from each end, and characters of a value.
_ITEMS = 5
_CHARACTERS = 60


def table(mapping: Any) -> str:
    """Return `mapping` as HTML: its `repr`, and its first and last items in key order unless it is closed.

    Example:
        >>> print(table(alexpy.AlexIndex({1: 10})))
        <table>
        <caption>&lt;alexpy.AlexIndex of 1 keys&gt;</caption>
        <tr><th>key</th><th>value</th></tr>
        <tr><td>1</td><td>10</td></tr>
        </table>

    """
    if getattr(mapping, "closed", False):
        return f"<p>{escape(repr(mapping))}</p>"
    # One more than fits tells whether any are left out.
    first = list(mapping.scan(limit=2 * _ITEMS + 1))
    rows = [_row(*item) for item in first]
    if len(first) > 2 * _ITEMS:
        last = list(mapping.scan(reverse=True, limit=_ITEMS))[::-1]
        rows = [*rows[:_ITEMS], "<tr><td>...</td><td>...</td></tr>", *(_row(*item) for item in last)]
    head = [f"<caption>{escape(repr(mapping))}</caption>", "<tr><th>key</th><th>value</th></tr>"]
    return "\n".join(["<table>", *head, *rows, "</table>"])


def _row(key: Any, value: Any) -> str:
    return f"<tr><td>{escape(str(key))}</td><td>{escape(_shown(value))}</td></tr>"


def _shown(value: Any) -> str:
    """Return the beginning of a value, and the length of one that is longer than that."""
    if not isinstance(value, bytes):
        # Of an array in several lines only the spaces differ.
        shown = " ".join(repr(value).split()) if hasattr(value, "dtype") else repr(value)
        return shown if len(shown) <= _CHARACTERS else f"{shown[:_CHARACTERS]}..."
    # Each byte takes at least one character.
    shown = repr(value[:_CHARACTERS])
    if len(value) <= _CHARACTERS and len(shown) <= _CHARACTERS:
        return shown
    return f"{shown[:_CHARACTERS]}... ({len(value):,} bytes)"
