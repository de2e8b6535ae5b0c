"""What the path of a store is made into before the engine sees it.

Made absolute, so that chdir() changes nothing, and nothing else: what a symbolic link or `..` means is the
system's to say, since `link/..` is not where the link is.
"""

from __future__ import annotations

import os
from pathlib import Path


def absolute(path: str | os.PathLike[str]) -> str:
    """Return the path in full; ValueError for what can be none."""
    text = os.fsdecode(path)
    if not text:
        raise ValueError('the path of a store is empty; "." is the current directory')
    if "\0" in text:
        raise ValueError(f"the path {text!r} holds a NUL character, which no path can")
    return os.fspath(Path(text).absolute())
