"""Runs the examples that examples/README.md shows, and puts what they print into the page.

    python tools/examples_page.py

A block of the page that begins with `$ python examples/NAME.py` is replaced by that line and the output.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).parents[1] / "examples" / "README.md"
BLOCK = re.compile(
    r"(?<=^```console\n)\$ python (examples/\w+\.py)\n(.*?)(?=^```$)", re.MULTILINE | re.DOTALL
)


def shown() -> dict[str, str]:
    """Return the examples of the page, and what it says that they print."""
    return dict(BLOCK.findall(PAGE.read_text()))


def printed(example: str) -> str:
    """Run an example; return what it prints. Raises CalledProcessError if it fails."""
    command = [sys.executable, "-W", "error", PAGE.parents[1] / example]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=100).stdout


def main() -> None:
    """Run all of them and write the page."""
    outputs = {example: printed(example) for example in shown()}
    page = BLOCK.sub(lambda block: f"$ python {block[1]}\n{outputs[block[1]]}", PAGE.read_text())
    PAGE.write_text(page)


if __name__ == "__main__":
    main()
